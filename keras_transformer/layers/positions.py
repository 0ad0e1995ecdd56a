"""Positional encoding, section 3.5."""

from typing import Any

import keras
from keras import ops

from keras_transformer.backend.kernels import at_most
from keras_transformer.layers.arguments import choice, plain
from keras_transformer.layers.call_checks import ChecksInputs

POSITION_KINDS = ("sinusoidal", "sinusoidal_halves", "learned")


def sinusoids(positions, d_model, halves=False):
    """PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos(the same): section 3.5.

    Args:
        positions: (T,), any numeric dtype.
        d_model: D. If it is odd, the last sine has no cosine.
        halves: order the numbers as Marian does: all sines, then all cosines.

    Returns:
        (T, D) float32, sines and cosines interleaved unless `halves`.
    """
    pairs = (d_model + 1) // 2
    exponents = ops.arange(pairs, dtype="float32") * (2.0 / d_model)
    angles = ops.cast(positions, "float32")[:, None] * ops.power(10000.0, -exponents)[None, :]  # (T, pairs)
    if halves:
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)[:, :d_model]  # (T, D)
    interleaved = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)  # (T, pairs, 2)
    return ops.reshape(interleaved, (-1, 2 * pairs))[:, :d_model]  # (T, D)


@keras.saving.register_keras_serializable(package="keras_transformer")
class PositionalEncoding(ChecksInputs, keras.layers.Layer):
    """Adds a vector for each position to the embeddings, section 3.5.

    Sinusoids are computed in float32, for any length, and added in the compute dtype. Learned positions (Table 3,
    row E) are one trained matrix of `max_length` rows, drawn from N(0, 1/d_model).

    Example:
        ```python
        import numpy as np
        from keras_transformer import PositionalEncoding

        x = np.zeros((2, 7, 16), "float32")  # (B, T, D)
        y = PositionalEncoding()(x)
        assert y.shape == (2, 7, 16)
        ```

    Args:
        kind: "sinusoidal", "sinusoidal_halves" (all sines, then all cosines, as in Marian) or "learned".
        max_length: rows of the learned matrix. Sinusoids do not need it.

    Call arguments:
        x: (B, T, D).

    Returns:
        (B, T, D), in the layer's compute dtype.

    Raises:
        ValueError: another kind; learned positions without `max_length`; an input longer than `max_length`, or of
            another shape or dtype.
        TypeError: an input that is no array.
    """

    input_shapes = {"x": "(B, T, D)"}

    def __init__(self, kind: str = "sinusoidal", max_length: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = choice("kind of positions", kind, POSITION_KINDS)
        [self.max_length] = plain(max_length=max_length)
        if self.kind == "learned" and self.max_length is None:
            raise ValueError("learned positions need max_length, a positive number of rows, got None.")
        self.supports_masking = True

    def build(self, input_shape):
        self.d_model = input_shape[-1]
        self.input_widths = (self.d_model,)
        if self.kind == "learned":
            self.table = self.add_weight(
                name="table",
                shape=(self.max_length, self.d_model),
                initializer=keras.initializers.RandomNormal(stddev=self.d_model**-0.5),
            )
        self.built = True

    def at(self, positions):
        """The vectors of some positions: (T,) int -> (T, D) in the compute dtype."""
        if self.kind == "learned":
            return ops.take(ops.cast(self.table, self.compute_dtype), positions, axis=0)
        halves = self.kind == "sinusoidal_halves"
        return ops.cast(sinusoids(positions, self.d_model, halves), self.compute_dtype)

    def call(self, x: Any) -> Any:
        length = ops.shape(x)[1]
        if self.kind == "learned":
            length = at_most(length, self.max_length, "learned positions")
        return x + self.at(ops.arange(length, dtype="int32"))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "max_length": self.max_length}
