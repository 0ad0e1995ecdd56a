"""Products in 8-bit integers, with scales as in Keras' quantised `Dense`."""

import contextlib
import gc

import keras
import numpy as np
from keras import ops

from keras_transformer.backend.kernels import in_float32, tensorflow_backend

SMALLEST = 2**16  # weights of a layer that is worth it; files of quantised models rely on the number


class IntegersNotExact(RuntimeError):
    """TensorFlow cannot add up products of 8-bit integers exactly here."""


def policy_before(policy):
    """The name of the dtype policy that a quantised one was made from."""
    return policy.name.partition("_from_")[2]


def is_plain(mode, config):
    """Whether Keras was asked for 8-bit integers with the quantisers that it takes by itself, the only ones here."""
    if mode != "int8" or config is None:
        return mode == "int8"
    rows, plain = config.activation_quantizer, keras.quantizers.AbsMaxQuantizer()
    return config.weight_quantizer is None and type(rows) is type(plain) and rows.get_config() == plain.get_config()


def int8_product(x, values, scales, transposed=False):
    """x·W in 8-bit integers, with a scale for each row of x and each column of W, as in Keras' `Dense`.

    A row is rounded to multiples of 1/127 of its largest number, upwards from halfway. In a TensorFlow graph W is a
    constant, which oneDNN packs once: read from a variable at each call, it takes 1.3 to 10 times the time.

    Args:
        x: (R, K), any floating dtype.
        values: a variable of integers from -127 to 127, (K, N) int8, or (N, K) if `transposed`.
        scales: a variable (N,) float32; W is `values` / `scales`.

    Returns:
        (R, N) float32. The sums of integers are exact; on TensorFlow they are rounded to float32 with what 128 more in
        each of K adds, before that is taken out.
    """
    x = in_float32(x)
    unit = (ops.max(ops.abs(x), axis=-1, keepdims=True) + keras.config.epsilon()) / 127.0  # (R, 1)
    shifted = x * (1.0 / unit) + 128.5  # to be rounded down to integers from 1 to 255
    tf = tensorflow_backend()
    if tf is None:
        values = ops.transpose(values) if transposed else ops.convert_to_tensor(values)
        sums = ops.matmul(ops.cast(ops.floor(shifted) - 128.0, "int8"), values)
        return ops.cast(sums, "float32") * unit / scales
    with tf.init_scope():
        values, scales = ops.convert_to_numpy(values), ops.convert_to_numpy(scales)
    values = np.ascontiguousarray(values.T) if transposed else values
    # The kernel wants integers without a sign: what is 128 too much in each of K, the bias takes out again.
    sums = tf.raw_ops.QuantizedMatMulWithBiasAndDequantize(
        a=tf.bitcast(tf.cast(shifted, tf.uint8), tf.quint8),
        b=tf.bitcast(tf.constant(values), tf.qint8),
        bias=tf.constant(-128.0 * values.sum(axis=0, dtype="int64"), tf.float32),
        min_a=0.0,  # these make 1 of one: the unit of all is a whole number
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        min_freezed_output=-1.0,
        max_freezed_output=1.0,
        Toutput=tf.float32,
        input_quant_mode="SCALED",
    )
    return tf.ensure_shape(sums, [x.shape[0], values.shape[1]]) * tf.constant(1 / scales) * unit


def check_int8():
    """Raise where TensorFlow's `int8_product` is not exact.

    Raises:
        IntegersNotExact: TensorFlow runs without oneDNN here, or the processor without the instructions (VNNI) that
            add up products of 8-bit integers exactly.
    """
    tf = tensorflow_backend()
    if tf is None:
        return
    ones = [tf.fill([4, 4], tf.constant(127, tf.int8)), tf.ones([4])]  # sums beyond 16 bits on the way
    try:
        sums = tf.function(lambda: int8_product(tf.ones([1, 4]), *ones), autograph=False)().numpy()
    except tf.errors.OpError as error:
        raise IntegersNotExact(
            "8-bit products need TensorFlow with oneDNN, on x86-64 and not switched off by TF_ENABLE_ONEDNN_OPTS=0: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not np.allclose(sums, 4 * 127, rtol=1e-5):
        raise IntegersNotExact(
            f"8-bit products are not exact on this processor, which lacks VNNI: 4 · 127 came out as {sums[0, 0]:.6g}."
        )


@contextlib.contextmanager
def keras_deletes_fast():
    """Inside it Keras deletes a layer's variable without looking through all objects there are, 0.2 s each time."""
    if gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()
