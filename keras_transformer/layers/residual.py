"""The residual connection around each sub-layer: sections 3.1 (normalization) and 5.4 (dropout)."""

import keras

from keras_transformer.layers.arguments import choice, plain
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.normalization import LayerNormalization
from keras_transformer.layers.parts import LayerOfParts

NORM_PLACES = ("post", "pre")


@keras.saving.register_keras_serializable(package="keras_transformer")
class Residual(LayerOfParts):
    """LayerNorm(x + Dropout(Sublayer(x))), around any sub-layer.

    The caller runs the sub-layer between the two halves:

        h = residual.enter(x)
        x = residual.leave(x, sublayer(h))

    It differs from the paper only by option: `norm="pre"` is x + Dropout(Sublayer(LayerNorm(x))), as in tensor2tensor
    since its version 2. It needs a final normalization after the stack.

    Args:
        dropout: rate on the sub-layer's output, before the addition.
        norm: "post" (the paper) or "pre".
        layer_norm_epsilon: added to the variance.

    Raises:
        ValueError: an argument of another kind or range.
    """

    def __init__(self, dropout=0.1, norm="post", layer_norm_epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.norm = choice("norm", norm, NORM_PLACES)
        self.dropout, self.layer_norm_epsilon = plain(dropout=dropout, layer_norm_epsilon=layer_norm_epsilon)

    def build(self, input_shape):
        self.layer_norm = LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, trainable=self.trainable, name="layer_norm"
        )
        self.layer_norm.build(input_shape)
        self.output_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="output_dropout")
        self.built = True

    def enter(self, x):
        """The input of the sub-layer: (B, T, D) -> (B, T, D)."""
        return self.layer_norm(x) if self.norm == "pre" else x

    def leave(self, x, output, training=None):
        """The sum of `x` and the sub-layer's `output`, both (B, T, D)."""
        x = x + self.output_dropout(output, training=training)
        return x if self.norm == "pre" else self.layer_norm(x)

    def get_config(self):
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "norm": self.norm,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }
