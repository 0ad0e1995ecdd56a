"""The position-wise feed-forward network, section 3.3."""

from collections.abc import Callable
from typing import Any

import keras

from keras_transformer.backend.xla import relu
from keras_transformer.layers.arguments import plain
from keras_transformer.layers.call_checks import ChecksInputs
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.initializers import glorot
from keras_transformer.layers.parts import LayerOfParts
from keras_transformer.layers.projection import Projection


@keras.saving.register_keras_serializable(package="keras_transformer")
class FeedForward(ChecksInputs, LayerOfParts):
    """FFN(x) = max(0, xW_1 + b_1)W_2 + b_2, equation 2.

    It differs from the paper only by option: another `activation`, `dropout` after it.

    Example:
        ```python
        import numpy as np
        from keras_transformer import FeedForward

        x = np.ones((2, 5, 16), "float32")  # (B, T, D)
        y = FeedForward(d_ff=64)(x)
        assert y.shape == (2, 5, 16)
        ```

    Args:
        d_ff: inner width F.
        activation: a Keras activation, by name or as a function.
        dropout: rate on the inner activations.
        initial_gain: a factor for the initial values of W_1 and W_2; see `residual_gain`.

    Call arguments:
        x: (B, T, D).

    Returns:
        (B, T, D), in the layer's compute dtype.

    Raises:
        ValueError: an argument of another kind or range, or an unknown activation; an input of another shape or dtype.
        TypeError: an input that is no array.
    """

    input_shapes = {"x": "(B, ..., D)"}

    def __init__(
        self,
        d_ff: int,
        activation: str | Callable[..., Any] = "relu",
        dropout: float = 0.0,
        initial_gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.d_ff, self.activation = plain(d_ff=d_ff, activation=activation)
        self.dropout, self.initial_gain = plain(dropout=dropout, initial_gain=initial_gain)
        self.supports_masking = True

    def build(self, input_shape):
        d_model = input_shape[-1]
        self.input_widths = (d_model,)
        options = {"kernel_initializer": glorot(self.initial_gain), "dtype": self.dtype_policy}
        options["trainable"] = self.trainable
        activation = relu if self.activation is keras.activations.relu else self.activation
        self.inner = Projection(self.d_ff, activation, **options, name="inner")
        self.inner.build((None, d_model))
        self.inner_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="inner_dropout")
        self.outer = Projection(d_model, **options, name="outer")
        self.outer.build((None, self.d_ff))
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.outer(self.inner_dropout(self.inner(x), training=training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "d_ff": self.d_ff,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "initial_gain": self.initial_gain,
        }
