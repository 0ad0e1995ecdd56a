"""Products in 8-bit integers, with scales as in Keras' quantized `Dense`."""

import gc

import keras
import numpy as np
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.backend.integer_constants import constant_product, sums_of_products
from keras_transformer.backend.kernels import in_float32, take_rows, tensorflow_backend

EXPECTED_SUM = 4 * 127  # of `sums_of_ones`
SMALLEST = 2**16  # weights of the smallest layer that is quantized; files of quantized models rely on this number


NEEDS_ONEDNN = (
    "8-bit products need TensorFlow with oneDNN, which is off on processors without VNNI, outside x86-64, and with "
    "TF_ENABLE_ONEDNN_OPTS=0. Compute in floating point here, for example under the dtype policy 'float32'."
)


class IntegersNotExact(RuntimeError):
    """TensorFlow cannot add up products of 8-bit integers exactly on this machine."""


def floating_policy(policy):
    """The name of the dtype policy that a quantized policy was made from."""
    return policy.name.partition("_from_")[2]


def is_plain(mode, config):
    """Whether Keras was asked for "int8" with its default quantizers, which are the only ones here."""
    if mode != "int8" or config is None:
        return mode == "int8"
    rows, plain = config.activation_quantizer, keras.quantizers.AbsMaxQuantizer()
    return config.weight_quantizer is None and type(rows) is type(plain) and rows.get_config() == plain.get_config()


class IntegerRows:
    """The matrix of a quantized `TokenEmbedding`: 8-bit integers with a scale for each row. See `FloatRows`.

    Args:
        values: a variable of integers (V, D) int8.
        scales: a variable (V,) float32; the matrix is `values` / `scales`.
        dtype: the compute dtype.
    """

    def __init__(self, values, scales, dtype):
        self.values, self.scales, self.dtype = values, scales, dtype

    def lookup(self, ids):
        """The vectors of ids: (...) int -> (..., D) in the compute dtype."""
        vectors = ops.cast(take_rows(self.values, ids), "float32") / take_rows(self.scales, ids)[..., None]
        return ops.cast(vectors, self.dtype)

    def logits(self, x, prepared=None):
        """The product with the transposed matrix: (..., D) -> (..., V) float32.

        Args:
            x: the vectors.
            prepared: `choose(ids)`, for the logits of these ids only.
        """
        rows = ops.reshape(x, (-1, x.shape[-1]))
        if prepared:
            logits, size = product_of_chosen(rows, *prepared), ops.shape(prepared[0])[1]
        else:
            logits, size = int8_product(rows, self.values, self.scales, transposed=True), self.values.shape[0]
        return ops.reshape(logits, (*ops.shape(x)[:-1], size))

    def prepare(self):
        """Integers are constants of a graph. There is nothing to prepare."""
        return ()

    def choose(self, ids):
        """The arguments of `product_of_chosen` for some ids (U,) int32."""
        values = ops.transpose(take_rows(self.values, ids))  # (D, U)
        offsets = -128 * ops.sum(ops.cast(values, "int32"), axis=0)
        return values, offsets, 1.0 / take_rows(self.scales, ids)

    def matrices(self):
        """There is no matrix of floating-point numbers."""
        return []


def int8_product(x, values, scales, transposed=False):
    """x·W in 8-bit integers, with a scale for each row of x and each column of W, as in Keras' `Dense`.

    Each row of x is rounded to multiples of 1/127 of its largest magnitude; halves are rounded up. In a TensorFlow
    graph W is a constant, which oneDNN packs once. A variable would be packed again at each call.

    Args:
        x: (R, K), any floating dtype.
        values: a variable of integers from -127 to 127, (K, N) int8, or (N, K) if `transposed`.
        scales: a variable (N,) float32; W is `values` / `scales`.

    Returns:
        (R, N) float32. The sums of integers are exact. On TensorFlow they are converted to float32 while they still
        contain an offset of 128 for each of the K inputs.
    """
    shifted, unit = _in_steps(x)
    tf = tensorflow_backend()
    if tf is None:
        values = ops.transpose(values) if transposed else ops.convert_to_tensor(values)
        sums = ops.matmul(ops.cast(ops.floor(shifted) - 128.0, "int8"), values)
        return ops.cast(sums, "float32") * unit / scales
    return constant_product(tf.cast(shifted, tf.uint8), values, scales, transposed) * unit


def product_of_chosen(x, values, offsets, factors):
    """As `int8_product`, with integers that are no constants: some columns that were chosen at run time.

    Args:
        x: (R, K), any floating dtype.
        values: (K, U) int8, from -127 to 127.
        offsets: (U,) int32, -128 times the sums of the columns.
        factors: (U,) float32; W is `values` times these.

    Returns:
        (R, U) float32.
    """
    shifted, unit = _in_steps(x)
    tf = tensorflow_backend()
    if tf is None:
        sums = ops.cast(ops.matmul(ops.cast(ops.floor(shifted) - 128.0, "int8"), values), "float32")
    else:
        sums = sums_of_products(tf.cast(shifted, tf.uint8), values, offsets)
    return sums * factors * unit


def _in_steps(x):
    """x (R, K) as numbers that round down to integers from 1 to 255, and the size of a step (R, 1); zero is 128."""
    x = in_float32(x)
    unit = (ops.max(ops.abs(x), axis=-1, keepdims=True) + keras.config.epsilon()) / 127.0
    return x * (1.0 / unit) + 128.5, unit


def sums_of_ones():
    """Sums that need more than 16 bits, (1, 4) float32: all are `EXPECTED_SUM` where integers are exact."""
    return int8_product(ops.ones((1, 4)), np.full((4, 4), 127, "int8"), np.ones(4, "float32"))


def check_int8():
    """Raise an error if TensorFlow's `int8_product` is not exact on this machine.

    Raises:
        IntegersNotExact: TensorFlow runs without oneDNN, or the processor lacks the instructions (VNNI) that add up
            products of 8-bit integers exactly.
    """
    tf = tensorflow_backend()
    if tf is None:
        return
    try:
        sums = tf.function(sums_of_ones, autograph=False)().numpy()
    except tf.errors.OpError as error:
        raise IntegersNotExact(NEEDS_ONEDNN) from error
    if not np.allclose(sums, EXPECTED_SUM, rtol=1e-5):
        raise IntegersNotExact(
            f"8-bit products are not exact on this processor, which lacks VNNI: 4 · 127 gave {sums[0, 0]:.6g}. "
            "Compute in floating point here, for example under the dtype policy 'float32'."
        )


def recast(model, dtype):
    """A copy of a `Transformer`, with the same weights, under a Keras dtype policy."""
    copy = type(model).from_config({**model.get_config(), "dtype": dtype})
    copy.set_weights(model.get_weights())
    return copy


def integer_copy(model):
    """A copy of a `Transformer` whose matrices are 8-bit integers, or the model itself if it is quantized already."""
    if model.quantized:
        return model
    copy = recast(model, model.dtype_policy)
    copy.quantize("int8")
    return copy


def quantize_model(model, mode, config=None, filters=None):
    """Turn the matrices of a model's layers into 8-bit integers; see `Transformer.quantize`."""
    if not is_plain(mode, config) or filters is not None:  # Keras turns the mode into a config and passes both on
        raise ValueError(
            f"a Transformer can be quantized as 'int8' only, without other quantizers and filters; got {mode!r}."
        )
    if model.quantized:
        raise ValueError("the model is quantized already.")
    if model.variable_dtype != "float32":
        raise ValueError(f"scales need variables in float32; those of this model are in {model.variable_dtype}.")
    layers = [layer for layer in compat.all_layers(model) if hasattr(layer, "matrices")]
    layers = [layer for layer in layers if layer.count_params() >= SMALLEST]
    if not layers:
        reason = "Smaller ones are not faster in integers. Leave the model in floating point."
        raise ValueError(f"no matrix of this model has {SMALLEST:,} weights. {reason}")
    check_int8()
    for weight in model.weights:
        if not ops.convert_to_numpy(ops.all(ops.isfinite(weight))):
            raise ValueError(f"{weight.path} is not finite: it cannot be quantized.")
    for layer in layers:
        layer.quantize(mode)
    gc.collect()  # the floating-point matrices are in reference cycles
