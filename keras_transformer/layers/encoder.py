"""The encoder: self-attention and feed-forward sub-layers, section 3.1."""

from typing import Any

import keras

from keras_transformer.layers.attention_scores import record
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import mask_of_output


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
        return_attention_scores: whether to return the weights, too.

    Returns:
        (B, S, D), in the layer's compute dtype. With `return_attention_scores=True`, and from `call_with_weights`, also
        the attention weights (B, H, S, S) float32.

    Raises:
        ValueError: as for `LayerOptions`; a mask that is not boolean, or that does not fit; an input of another shape
            or dtype.
        TypeError: an input that is no array.
    """

    input_shapes = {"x": "(B, S, D)"}

    def build(self, x_shape):
        self.input_widths = (x_shape[-1],)
        self.self_attention = self.make_attention("self_attention", x_shape)
        self.self_attention_residual = self.make_residual("self_attention_residual", x_shape)
        self.feed_forward = self.make_feed_forward("feed_forward", x_shape)
        self.feed_forward_residual = self.make_residual("feed_forward_residual", x_shape)
        self.built = True

    def call(
        self, x: Any, mask: Any = None, training: bool | None = None, return_attention_scores: bool = False
    ) -> Any:
        if return_attention_scores:
            with record() as found:
                x = EncoderLayer.call(self, x, mask, training)
            return x, *self.weights_in(found)
        h = self.self_attention(self.self_attention_residual.enter(x), mask=mask, training=training)
        x = self.self_attention_residual.leave(x, h, training)
        h = self.feed_forward(self.feed_forward_residual.enter(x), training=training)
        return self.feed_forward_residual.leave(x, h, training)

    def weights_in(self, found):
        """What `call_with_weights` adds to the output, from a `Record`."""
        return (found.of(self.self_attention),)

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

    Call arguments and result: those of `EncoderLayer`. The attention weights are a list, for each layer one array.

    Raises:
        ValueError: a `num_layers` that is not a whole number of at least 1, and as for `EncoderLayer`.
    """

    layer_class = EncoderLayer
    input_shapes = EncoderLayer.input_shapes

    def build(self, x_shape):
        self.build_layers(x_shape)

    def call(
        self, x: Any, mask: Any = None, training: bool | None = None, return_attention_scores: bool = False
    ) -> Any:
        if return_attention_scores:
            with record() as found:
                x = Encoder.call(self, x, mask, training)
            return x, *self.weights_in(found)
        for layer in self.layers:
            x = layer(x, mask=mask, training=training)
        return self.normalize_output(x)

    def compute_mask(self, x, previous_mask=None):
        return mask_of_output(x, previous_mask)

    def compute_output_shape(self, x_shape):
        return x_shape
