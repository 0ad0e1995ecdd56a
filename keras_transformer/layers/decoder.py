"""The decoder: causal self-attention, attention over the encoder's output, feed-forward; section 3.1."""

import keras
from keras import ops

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import causal_padding_mask
from keras_transformer.layers.residual import Residual


@keras.saving.register_keras_serializable(package="keras_transformer")
class DecoderLayer(LayerOptions):
    """Causal self-attention, attention over the encoder's output, then a feed-forward network.

    Example:
        ```python
        import numpy as np
        from keras_transformer import DecoderLayer

        x, memory = np.ones((2, 7, 16), "float32"), np.ones((2, 5, 16), "float32")  # (B, T, D), (B, S, D)
        mask = np.array([[True] * 5, [True] * 3 + [False] * 2])  # (B, S), True at tokens
        y = DecoderLayer(num_heads=4, d_ff=64)(x, memory, memory_mask=mask)
        assert y.shape == (2, 7, 16)
        ```

    Args: see `LayerOptions`.

    Call arguments:
        x: (B, T, D).
        memory: the encoder's output (B, S, D).
        x_mask: (B, T) bool, True at tokens. It is not needed if all padding is at the end, which no token can see.
        memory_mask: (B, S) bool, True at tokens. Without it, tokens attend to padding.

    Returns:
        (B, T, D), in the layer's compute dtype. `call_with_weights` also returns the attention weights.
    """

    def build(self, x_shape, memory_shape):
        for name in ("self_attention", "memory_attention"):
            attention = MultiHeadAttention(**self.attention_options, name=name)
            attention.build(x_shape, memory_shape if name == "memory_attention" else None)
            setattr(self, name, attention)
        self.feed_forward = FeedForward(**self.feed_forward_options, name="feed_forward")
        self.feed_forward.build(x_shape)
        for name in ("self_attention_residual", "memory_attention_residual", "feed_forward_residual"):
            residual = Residual(**self.residual_options, name=name)
            residual.build(x_shape)
            setattr(self, name, residual)
        self.built = True

    def connect(self, x, attend_to_self, attend_to_memory, training=None):
        """Connect the three sub-layers. Training and cached decoding both use this method.

        Args:
            x: (..., D).
            attend_to_self, attend_to_memory: functions from the input of an attention sub-layer to its output and its
                weights. They decide where keys and values come from.

        Returns:
            (..., D), and the weights that the two functions gave.
        """
        h, self_weights = attend_to_self(self.self_attention_residual.enter(x))
        x = self.self_attention_residual.leave(x, h, training)
        h, memory_weights = attend_to_memory(self.memory_attention_residual.enter(x))
        x = self.memory_attention_residual.leave(x, h, training)
        h = self.feed_forward(self.feed_forward_residual.enter(x), training=training)
        return self.feed_forward_residual.leave(x, h, training), self_weights, memory_weights

    def call_with_weights(self, x, memory, x_mask=None, memory_mask=None, training=None):
        """The call's output (B, T, D), and the weights (B, H, T, T) and (B, H, T, S), float32."""
        if not self.built:
            self.build(x.shape, memory.shape)
        causal = causal_padding_mask(ops.shape(x)[1], x_mask)

        def attend_to_self(h):
            return self.self_attention.call_with_weights(h, mask=causal, training=training)

        def attend_to_memory(h):
            return self.memory_attention.call_with_weights(h, memory, memory_mask=memory_mask, training=training)

        return self.connect(x, attend_to_self, attend_to_memory, training)

    def call(self, x, memory, x_mask=None, memory_mask=None, training=None):
        return self.call_with_weights(x, memory, x_mask, memory_mask, training)[0]

    def compute_output_shape(self, x_shape, memory_shape):
        return x_shape


@keras.saving.register_keras_serializable(package="keras_transformer")
class Decoder(Stack):
    """N decoder layers, with a final normalization if they are pre-norm.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Decoder

        x, memory = np.ones((2, 7, 16), "float32"), np.ones((2, 5, 16), "float32")  # (B, T, D), (B, S, D)
        y = Decoder(num_layers=2, num_heads=4, d_ff=64)(x, memory)
        assert y.shape == (2, 7, 16)
        ```

    Args:
        num_layers: N.
        **layer_options: the options of `DecoderLayer`.

    Call arguments and result: those of `DecoderLayer`.

    Raises:
        ValueError: a `num_layers` below 1, and as for `DecoderLayer`.
    """

    layer_class = DecoderLayer

    def build(self, x_shape, memory_shape):
        self.build_layers(x_shape, memory_shape)

    def call_with_weights(self, x, memory, x_mask=None, memory_mask=None, training=None):
        """The call's output (B, T, D); N weights (B, H, T, T); N weights (B, H, T, S), float32."""
        if not self.built:
            self.build(x.shape, memory.shape)
        self_weights, memory_weights = [], []
        for layer in self.layers:
            x, to_self, to_memory = layer.call_with_weights(x, memory, x_mask, memory_mask, training)
            self_weights.append(to_self)
            memory_weights.append(to_memory)
        return self.normalize_output(x), self_weights, memory_weights

    def call(self, x, memory, x_mask=None, memory_mask=None, training=None):
        return self.call_with_weights(x, memory, x_mask, memory_mask, training)[0]

    def compute_output_shape(self, x_shape, memory_shape):
        return x_shape
