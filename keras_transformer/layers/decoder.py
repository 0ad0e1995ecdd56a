"""The decoder: causal self-attention, attention over the encoder's output, feed-forward; section 3.1."""

from typing import Any

import keras
from keras import ops

from keras_transformer.layers.attention_scores import record
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import causal_padding_mask, checked_padding


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
        return_attention_scores: whether to return the weights, too.

    Returns:
        (B, T, D), in the layer's compute dtype. With `return_attention_scores=True`, and from `call_with_weights`, also
        the weights of self-attention (B, H, T, T) and those over the memory (B, H, T, S), float32.

    Raises:
        ValueError: as for `LayerOptions`; a mask that is not boolean, or that does not fit; an input of another shape
            or dtype.
        TypeError: an input that is missing, or no array.
    """

    input_shapes = {"x": "(B, T, D)", "memory": "(B, S, D)"}

    def build(self, x_shape, memory_shape):
        self.input_widths = x_shape[-1], memory_shape[-1]
        self.self_attention = self.make_attention("self_attention", x_shape, causal=True)
        self.memory_attention = self.make_attention("memory_attention", x_shape, memory_shape)
        self.feed_forward = self.make_feed_forward("feed_forward", x_shape)
        self.self_attention_residual = self.make_residual("self_attention_residual", x_shape)
        self.memory_attention_residual = self.make_residual("memory_attention_residual", x_shape)
        self.feed_forward_residual = self.make_residual("feed_forward_residual", x_shape)
        self.built = True

    def connect(self, x, attend_to_self, attend_to_memory, training=None):
        """Connect the three sub-layers. Training and cached decoding both use this method.

        Args:
            x: (..., D).
            attend_to_self, attend_to_memory: functions from the input of an attention sub-layer to its output. They
                decide where keys and values come from.

        Returns:
            (..., D).
        """
        h = attend_to_self(self.self_attention_residual.enter(x))
        x = self.self_attention_residual.leave(x, h, training)
        h = attend_to_memory(self.memory_attention_residual.enter(x))
        x = self.memory_attention_residual.leave(x, h, training)
        h = self.feed_forward(self.feed_forward_residual.enter(x), training=training)
        return self.feed_forward_residual.leave(x, h, training)

    def call(
        self,
        x: Any,
        memory: Any,
        x_mask: Any = None,
        memory_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        if return_attention_scores:
            with record() as found:
                x = DecoderLayer.call(self, x, memory, x_mask, memory_mask, training)
            return x, *self.weights_in(found)
        if self.options["window"] is None:
            mask = causal_padding_mask(ops.shape(x)[1], x_mask)
        else:  # the attention itself is causal, so that no mask has T² elements
            mask = checked_padding(ops.shape(x)[1], x_mask)

        def attend_to_self(h):
            return self.self_attention(h, mask=mask, training=training)

        def attend_to_memory(h):
            return self.memory_attention(h, memory, memory_mask=memory_mask, training=training)

        return self.connect(x, attend_to_self, attend_to_memory, training)

    def weights_in(self, found):
        """What `call_with_weights` adds to the output, from a `Record`."""
        return found.of(self.self_attention), found.of(self.memory_attention)

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

    Call arguments and result: those of `DecoderLayer`. The attention weights are two lists, for each layer one array.

    Raises:
        ValueError: a `num_layers` that is not a whole number of at least 1, and as for `DecoderLayer`.
    """

    layer_class = DecoderLayer
    input_shapes = DecoderLayer.input_shapes

    def build(self, x_shape, memory_shape):
        self.build_layers(x_shape, memory_shape)

    def call(
        self,
        x: Any,
        memory: Any,
        x_mask: Any = None,
        memory_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        if return_attention_scores:
            with record() as found:
                x = Decoder.call(self, x, memory, x_mask, memory_mask, training)
            return x, *self.weights_in(found)
        for layer in self.layers:
            x = layer(x, memory, x_mask=x_mask, memory_mask=memory_mask, training=training)
        return self.normalize_output(x)

    def compute_output_shape(self, x_shape, memory_shape):
        return x_shape
