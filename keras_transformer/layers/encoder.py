"""The encoder: self-attention and feed-forward sub-layers, section 3.1."""

import keras

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import mask_of_output
from keras_transformer.layers.residual import Residual


@keras.saving.register_keras_serializable(package="keras_transformer")
class EncoderLayer(LayerOptions):
    """Self-attention, then a feed-forward network, each with a residual connection.

    Example:
        ```python
        import numpy as np
        from keras_transformer import EncoderLayer

        x = np.ones((2, 5, 16), "float32")  # (B, S, D)
        mask = np.array([[True] * 5, [True] * 3 + [False] * 2])  # (B, S), True at tokens
        y = EncoderLayer(num_heads=4, d_ff=64)(x, mask=mask)
        assert y.shape == (2, 5, 16)
        ```

    Args: see `LayerOptions`.

    Call arguments:
        x: (B, S, D).
        mask: (B, S) bool, True at tokens; also (B, S, S) or (B, H, S, S). Without a mask, tokens attend to padding.

    Returns:
        (B, S, D), in the layer's compute dtype. `call_with_weights` also returns the attention weights.
    """

    def build(self, x_shape):
        self.self_attention = MultiHeadAttention(**self.attention_options, name="self_attention")
        self.self_attention.build(x_shape)
        self.self_attention_residual = Residual(**self.residual_options, name="self_attention_residual")
        self.self_attention_residual.build(x_shape)
        self.feed_forward = FeedForward(**self.feed_forward_options, name="feed_forward")
        self.feed_forward.build(x_shape)
        self.feed_forward_residual = Residual(**self.residual_options, name="feed_forward_residual")
        self.feed_forward_residual.build(x_shape)
        self.built = True

    def call_with_weights(self, x, mask=None, training=None):
        """The call's output (B, S, D) and the attention weights (B, H, S, S) float32."""
        if not self.built:
            self.build(x.shape)
        h = self.self_attention_residual.enter(x)
        h, weights = self.self_attention.call_with_weights(h, mask=mask, training=training)
        x = self.self_attention_residual.leave(x, h, training)
        h = self.feed_forward(self.feed_forward_residual.enter(x), training=training)
        return self.feed_forward_residual.leave(x, h, training), weights

    def call(self, x, mask=None, training=None):
        return self.call_with_weights(x, mask, training)[0]

    def compute_mask(self, x, previous_mask=None):
        return mask_of_output(x, previous_mask)

    def compute_output_shape(self, x_shape):
        return x_shape


@keras.saving.register_keras_serializable(package="keras_transformer")
class Encoder(Stack):
    """N encoder layers, with a final normalization if they are pre-norm.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Encoder

        x = np.ones((2, 5, 16), "float32")  # (B, S, D)
        y = Encoder(num_layers=2, num_heads=4, d_ff=64)(x)
        assert y.shape == (2, 5, 16)
        ```

    Args:
        num_layers: N.
        **layer_options: the options of `EncoderLayer`.

    Call arguments and result: those of `EncoderLayer`.

    Raises:
        ValueError: a `num_layers` below 1, and as for `EncoderLayer`.
    """

    layer_class = EncoderLayer

    def build(self, x_shape):
        self.build_layers(x_shape)

    def call_with_weights(self, x, mask=None, training=None):
        """The call's output (B, S, D) and N attention weights (B, H, S, S) float32."""
        if not self.built:
            self.build(x.shape)
        weights = []
        for layer in self.layers:
            x, layer_weights = layer.call_with_weights(x, mask, training)
            weights.append(layer_weights)
        return self.normalize_output(x), weights

    def call(self, x, mask=None, training=None):
        return self.call_with_weights(x, mask, training)[0]

    def compute_mask(self, x, previous_mask=None):
        return mask_of_output(x, previous_mask)

    def compute_output_shape(self, x_shape):
        return x_shape
