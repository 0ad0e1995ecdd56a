"""Token embeddings and the output map that shares their matrix, section 3.4."""

from typing import Any

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.backend.int8 import IntegerRows, is_plain
from keras_transformer.backend.kernels import in_float32, product_with_transposed, take_rows, tensorflow_backend
from keras_transformer.layers.arguments import plain
from keras_transformer.layers.call_checks import MISSING, ChecksInputs, check_ids, check_vectors
from keras_transformer.layers.masks import padding_mask


class FloatRows:
    """The matrix of a `TokenEmbedding`: a vector for each id. `IntegerRows` takes its place after `quantize`.

    Args:
        matrix: a variable (V, D).
        dtype: the compute dtype.
    """

    def __init__(self, matrix, dtype):
        self.matrix, self.dtype = matrix, dtype

    def lookup(self, ids):
        """The vectors of ids: (...) int -> (..., D) in the compute dtype."""
        return ops.cast(take_rows(self.matrix, ids), self.dtype)

    def logits(self, x, prepared=None):
        """The product with the transposed matrix: (..., D) -> (..., V) float32.

        Args:
            x: the vectors.
            prepared: `prepare()`, for many calls with few vectors. Or `choose(ids)`, for the logits of these ids only.
        """
        if prepared is None:
            return in_float32(product_with_transposed(ops.cast(x, self.dtype), ops.cast(self.matrix, self.dtype)))
        logits = in_float32(ops.matmul(ops.reshape(x, (-1, x.shape[-1])), prepared))
        return ops.reshape(logits, (*ops.shape(x)[:-1], ops.shape(prepared)[1]))

    def prepare(self):
        """The transposed matrix (D, V) in the compute dtype. It does not follow later changes of the variable."""
        return ops.transpose(ops.cast(self.matrix, self.dtype))

    def choose(self, ids):
        """The columns (D, U) of `prepare` for some ids (U,) int32."""
        return ops.transpose(self.lookup(ids))

    def matrices(self):
        """The floating-point matrices: this one."""
        return [self.matrix]


@keras.saving.register_keras_serializable(package="keras_transformer")
class TokenEmbedding(ChecksInputs, keras.layers.Layer):
    """Ids to vectors × √d_model, and vectors to logits through the same matrix (section 3.4).

    The matrix is drawn from N(0, 1/d_model). So the vectors that enter the stack have unit variance, and so have the
    logits. Source, target and output share the layer, not a variable: that saves and loads safely.

    Example:
        ```python
        import numpy as np
        from keras_transformer import TokenEmbedding

        embedding = TokenEmbedding(vocabulary_size=23, d_model=16)
        vectors = embedding(np.array([[5, 7, 3]]))  # (1, 3, 16)
        logits = embedding(vectors, reverse=True)  # (1, 3, 23)
        ```

    Args:
        vocabulary_size: V.
        d_model: D.
        scale: whether `lookup` multiplies by √d_model, as in the paper.
        mask_zero: whether the vectors get a Keras mask, True where an id is not 0, as those of `keras.layers.Embedding`
            do. The layers that follow use it by default, so that no mask needs to be passed by hand.

    Call arguments:
        x: ids (B, T), whole numbers of any dtype; with `reverse=True` vectors (B, T, D).
        reverse: if True, apply the output map.

    Returns:
        `lookup(x)`, (B, T, D) in the layer's compute dtype; with `reverse=True` `logits(x)`, (B, T, V) float32.

    Raises:
        ValueError: a size that is not a whole number of at least 1; ids that are known now and are not in [0, V);
            vectors of another width or dtype.
        TypeError: an input that is no array.
    """

    def __init__(
        self, vocabulary_size: int, d_model: int, scale: bool = True, mask_zero: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.d_model, self.scale, self.mask_zero = plain(
            vocabulary_size=vocabulary_size, d_model=d_model, scale=scale, mask_zero=mask_zero
        )
        self.autocast = False  # half precision would round ids
        self.supports_masking = True

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.d_model),
            initializer=keras.initializers.RandomNormal(stddev=self.d_model**-0.5),
            autocast=False,  # `lookup` converts only the rows that it needs
        )
        self.rows = FloatRows(self.embeddings, self.compute_dtype)
        self.built = True

    def quantize(self, mode=None, type_check=True, config=None):
        """Hold the matrix in 8-bit integers with a scale for each piece, for `lookup` and for `logits`."""
        if not is_plain(mode, config):
            raise NotImplementedError(
                f"a TokenEmbedding can be quantized as 'int8' with Keras' default quantizers only, got {mode!r}."
            )
        values, scales = keras.quantizers.abs_max_quantize(self.embeddings, axis=1, to_numpy=True)
        compat.delete_variable(self, "embeddings")
        fixed = {"initializer": "zeros", "autocast": False, "trainable": False}
        self.embeddings = self.add_weight(name="embeddings", shape=values.shape, dtype="int8", **fixed)
        self.scales = self.add_weight(name="scales", shape=values.shape[:1], **fixed)
        self.embeddings.assign(values)
        self.scales.assign(ops.squeeze(scales, axis=1))
        self.rows = IntegerRows(self.embeddings, self.scales, self.compute_dtype)
        compat.mark_as_quantized(self)
        self.supports_jit = self.supports_jit and tensorflow_backend() is None  # XLA lacks the kernel

    def matrices(self):
        """The floating-point matrices of the layer: its matrix, or nothing if it is quantized."""
        return self.rows.matrices()

    def lookup(self, ids):
        """Ids to vectors: (B, T) -> (B, T, D) in the compute dtype."""
        if keras.backend.standardize_dtype(ids.dtype) not in ("int32", "int64"):  # every backend looks up these
            ids = ops.cast(ids, "int32")
        vectors = self.rows.lookup(ids)  # (B, T, D)
        return vectors * ops.cast(self.d_model**0.5, self.compute_dtype) if self.scale else vectors

    def logits(self, x, prepared=None):
        """Vectors to logits: (..., D) -> (..., V) float32; `prepared` is `rows.prepare()`, for many small calls."""
        return self.rows.logits(x, prepared)

    def check_call(self, x=MISSING, reverse=False, **_):
        if x is MISSING:
            raise TypeError("x of TokenEmbedding is missing. Give ids (B, T), or with reverse=True vectors (B, T, D).")
        if reverse:
            check_vectors("x", x, "(..., D)", self.d_model, self.name)
        else:
            check_ids("x", x, self.vocabulary_size, "vocabulary_size", self.name)

    def call(self, x: Any, reverse: bool = False) -> Any:
        return self.logits(x) if reverse else self.lookup(x)

    def compute_mask(self, x, previous_mask=None):
        """The Keras mask (B, T) of the vectors of ids, if `mask_zero` asks for it. Logits, of vectors, have none."""
        return padding_mask(x) if self.mask_zero and len(x.shape) == 2 else None

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
            "mask_zero": self.mask_zero,
        }


@keras.saving.register_keras_serializable(package="keras_transformer")
class OutputBias(keras.layers.Layer):
    """Adds a bias to the logit of each piece. The paper has no such bias.

    Call arguments:
        x: logits (B, T, V).

    Returns:
        (B, T, V) float32, whatever the dtype policy.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")
        self.built = True

    def call(self, x):
        return x + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape
