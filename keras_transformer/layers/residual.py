"""The residual connection around each sub-layer, section 5.4 (dropout) and 3.1 (normalisation)."""

import keras

from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.normalization import LayerNormalization

NORM_PLACES = ("post", "pre")


def check_norm(norm):
    """Raise ValueError for a place of the normalisation that does not exist."""
    if norm not in NORM_PLACES:
        raise ValueError(f"norm must be one of {NORM_PLACES}, got {norm!r}.")


@keras.saving.register_keras_serializable(package="keras_transformer")
class Residual(keras.layers.Layer):
    """LayerNorm(x + Dropout(Sublayer(x))), around any sub-layer.

    The sub-layer is run by the caller between the two halves:

        h = residual.enter(x)
        x = residual.leave(x, sublayer(h))

    Differs from the paper only where asked: `norm="pre"` is x + Dropout(Sublayer(LayerNorm(x))), which
    wants a final normalisation after the stack (tensor2tensor since its version 2, fairseq by option).

    Args:
        dropout: rate on the sub-layer's output, before the addition.
        norm: "post" (the paper) or "pre".
        layer_norm_epsilon: added to the variance.
    """

    def __init__(self, dropout=0.1, norm="post", layer_norm_epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        check_norm(norm)
        self.dropout = dropout
        self.norm = norm
        self.layer_norm_epsilon = layer_norm_epsilon

    def build(self, input_shape):
        self.layer_norm = LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name="layer_norm"
        )
        self.layer_norm.build(input_shape)
        self.output_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="output_dropout")
        self.built = True

    def enter(self, x):
        """What the sub-layer sees: (B, T, D) -> (B, T, D)."""
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
