"""Token embeddings with their tied output map, and positions: sections 3.4 and 3.5."""

import keras
from keras import ops

from keras_transformer.backend.int8 import int8_product, is_plain
from keras_transformer.backend.kernels import (
    at_most,
    in_float32,
    product_with_transposed,
    take_rows,
    tensorflow_backend,
)
from keras_transformer.losses.chunks import output_map_of_the_loss


def sinusoids(positions, d_model, halves=False):
    """PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos(the same): section 3.5.

    Args:
        positions: (T,), any numeric dtype.
        d_model: D; for an odd one the last sine stands alone.
        halves: the same numbers in another order, as in Marian: all sines, then all cosines.

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
class TokenEmbedding(keras.layers.Layer):
    """Ids to vectors × √d_model, and, through the same matrix, vectors to logits (section 3.4).

    Drawn from N(0, 1/d_model), so that embeddings enter the stack with unit variance and logits leave
    it with unit variance too. The sharing is of this layer, hence safe to save and load.

    Args:
        vocabulary_size: V.
        d_model: D.
        scale: False leaves out the factor √d_model on the way in, unlike the paper.

    Call arguments:
        x: ids (B, T), whole numbers of any dtype; with `reverse=True` vectors (B, T, D).
        reverse: apply the output map instead.

    Returns:
        (B, T, D) in the layer's compute dtype; with `reverse=True` logits (B, T, V) float32, or `x` where
        the output map is left to the loss, see `chunked_loss`.
    """

    def __init__(self, vocabulary_size, d_model, scale=True, **kwargs):
        super().__init__(**kwargs)
        for argument, size in {"vocabulary_size": vocabulary_size, "d_model": d_model}.items():
            if size < 1:
                raise ValueError(f"{argument} must be at least 1, got {size}.")
        self.vocabulary_size = vocabulary_size
        self.d_model = d_model
        self.scale = scale
        self.autocast = False  # half precision would round ids to others
        self.scales = None  # of the pieces' 8-bit integers, (V,) float32

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.d_model),
            initializer=keras.initializers.RandomNormal(stddev=self.d_model**-0.5),
            autocast=False,  # only what is looked up is converted
        )
        self.built = True

    def quantize(self, mode=None, type_check=True, config=None):
        """Hold the matrix in 8-bit integers with a scale for each piece, for look-up and output map, from now on."""
        if not is_plain(mode, config):
            raise NotImplementedError(f"a TokenEmbedding quantises as 'int8' with Keras' own quantisers, not {mode!r}.")
        values, scales = keras.quantizers.abs_max_quantize(self.embeddings, axis=1, to_numpy=True)
        del self.embeddings
        fixed = {"initializer": "zeros", "autocast": False, "trainable": False}
        self.embeddings = self.add_weight(name="embeddings", shape=values.shape, dtype="int8", **fixed)
        self.scales = self.add_weight(name="scales", shape=values.shape[:1], **fixed)
        self.embeddings.assign(values)
        self.scales.assign(ops.squeeze(scales, axis=1))
        self._is_quantized = True  # by which Keras refuses a second time
        self.supports_jit = self.supports_jit and tensorflow_backend() is None  # XLA lacks the kernel

    def call(self, x, reverse=False):
        if reverse and output_map_of_the_loss() is not None:
            return x
        if reverse and self.scales is not None:
            logits = int8_product(ops.reshape(x, (-1, self.d_model)), self.embeddings, self.scales, transposed=True)
            return ops.reshape(logits, (*ops.shape(x)[:-1], self.vocabulary_size))  # (B, T, V)
        if reverse:
            matrix = ops.cast(self.embeddings, self.compute_dtype)
            logits = product_with_transposed(ops.cast(x, self.compute_dtype), matrix)  # (B, T, V)
            return in_float32(logits)
        if keras.backend.standardize_dtype(x.dtype) not in ("int32", "int64"):  # what look-ups take everywhere
            x = ops.cast(x, "int32")
        vectors = take_rows(self.embeddings, x)  # (B, T, D)
        if self.scales is not None:
            vectors = ops.cast(vectors, "float32") / take_rows(self.scales, x)[..., None]
        vectors = ops.cast(vectors, self.compute_dtype)
        return vectors * ops.cast(self.d_model**0.5, self.compute_dtype) if self.scale else vectors

    def compute_output_spec(self, x, reverse=False):
        if reverse:
            return keras.KerasTensor((*x.shape[:-1], self.vocabulary_size), dtype="float32")
        return keras.KerasTensor((*x.shape, self.d_model), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "d_model": self.d_model,
            "scale": self.scale,
        }


@keras.saving.register_keras_serializable(package="keras_transformer")
class OutputBias(keras.layers.Layer):
    """Adds a bias to each piece's logit; the paper has none.

    Call arguments:
        x: logits (B, T, V).

    Returns:
        (B, T, V) float32, whatever the dtype policy; or `x` where the output map is left to the loss.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, x):
        return x + self.bias if output_map_of_the_loss() is None else x

    def compute_output_shape(self, input_shape):
        return input_shape


POSITION_KINDS = ("sinusoidal", "sinusoidal_halves", "learned")


@keras.saving.register_keras_serializable(package="keras_transformer")
class PositionalEncoding(keras.layers.Layer):
    """Adds a vector for each position to the embeddings, section 3.5.

    Sinusoids are computed in float32 for any length and added in the compute dtype. Learned positions
    (Table 3, row E) are one trained matrix of `max_length` rows, drawn from N(0, 1/d_model).

    Args:
        kind: "sinusoidal", "sinusoidal_halves" (all sines, then all cosines, as in Marian) or "learned".
        max_length: rows of the learned matrix; sinusoids need none.

    Call arguments:
        x: (B, T, D).

    Returns:
        (B, T, D), in the layer's compute dtype.

    Raises:
        ValueError: another kind, learned positions without `max_length`, an input longer than it.
    """

    def __init__(self, kind="sinusoidal", max_length=None, **kwargs):
        super().__init__(**kwargs)
        if kind not in POSITION_KINDS:
            raise ValueError(f"positions must be one of {POSITION_KINDS}, got {kind!r}.")
        if kind == "learned" and (max_length is None or max_length < 1):
            raise ValueError(f"learned positions need max_length, a positive number of rows, got {max_length}.")
        self.kind = kind
        self.max_length = max_length
        self.supports_masking = True

    def build(self, input_shape):
        self.d_model = input_shape[-1]
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

    def call(self, x):
        length = ops.shape(x)[1]
        if self.kind == "learned":
            length = at_most(length, self.max_length, "learned positions")
        return x + self.at(ops.arange(length))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "max_length": self.max_length}
