"""Matrices of 8-bit integers as constants of TensorFlow's graphs.

oneDNN packs a constant once. It would pack a variable at each call.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import keras
import numpy as np
from keras import ops

# Without oneDNN, TensorFlow only says that the output of this op is missing. So its name says why.
PRODUCT_NAME = "integers_need_oneDNN"
_functions = ContextVar("functions", default=None)  # of the matrices; None gives each product its own constants


@contextmanager
def one_function_each(functions):
    """A block in which all graphs that multiply by a matrix call the same function.

    So a SavedModel holds each matrix once, however many of its graphs multiply by it. Elsewhere, each product has the
    integers as constants of its own.

    Args:
        functions: a dictionary that outlives the graphs. It is filled here.
    """
    token = _functions.set(functions)
    try:
        yield
    finally:
        _functions.reset(token)


def constant_product(rows, values, scales, transposed):
    """(rows - 128)·W, a TensorFlow tensor.

    Args:
        rows: (R, K) uint8, from 1 to 255.
        values: a variable or an array of integers from -127 to 127, (K, N) int8, or (N, K) if `transposed`.
        scales: a variable or an array (N,) float32; W is `values` / `scales`.

    Returns:
        (R, N) float32.
    """
    functions = _functions.get()
    if functions is None:
        return _product(rows, *_constants(values, scales, transposed))
    key = id(values), transposed
    if key not in functions:
        # The variable is kept, too, so that no other can get its place in memory.
        functions[key] = _function(*_constants(values, scales, transposed)), values
    return functions[key][0](rows)


def _function(values, scales):
    """`_product` with these constants, as a `tf.function` of the rows."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, values.shape[0]], tf.uint8)
    return tf.function(lambda rows: _product(rows, values, scales), input_signature=[spec], autograph=False)


def _constants(values, scales, transposed):
    """The integers, (K, N) int8, and the scales, (N,) float32, as NumPy arrays."""
    import tensorflow as tf

    # The scope has no values: while an export is traced, other variables have tensors of its graph as values.
    with tf.init_scope(), keras.StatelessScope():
        values, scales = ops.convert_to_numpy(values), ops.convert_to_numpy(scales)
    return np.ascontiguousarray(values.T) if transposed else values, scales


def _product(rows, values, scales):
    """As `constant_product`, with NumPy arrays that become constants of the graph."""
    import tensorflow as tf

    offsets = tf.constant(-128 * values.sum(axis=0, dtype="int32"))
    return sums_of_products(rows, tf.constant(values), offsets) * tf.constant(1 / scales)


def sums_of_products(rows, values, offsets):
    """(rows - 128)·values, exactly, as float32.

    Args:
        rows: (R, K) uint8, from 1 to 255.
        values: (K, N) int8, from -127 to 127.
        offsets: (N,) int32, -128 times the sums of the columns of `values`.

    Returns:
        (R, N) float32.
    """
    import tensorflow as tf

    # The kernel takes unsigned integers. The bias removes the offset of 128 that makes them unsigned. It has integers:
    # TensorFlow 2.12 fails with a bias of floats.
    sums = tf.raw_ops.QuantizedMatMulWithBiasAndDequantize(
        a=tf.bitcast(rows, tf.quint8),
        b=tf.bitcast(values, tf.qint8),
        bias=tf.bitcast(offsets, tf.qint32),
        # With these ranges an integer 1 means 1.0, so that the kernel gives the plain sums.
        min_a=0.0,
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        min_freezed_output=-1.0,
        max_freezed_output=1.0,
        Toutput=tf.float32,
        input_quant_mode="SCALED",
        name=PRODUCT_NAME,
    )
    return tf.ensure_shape(sums, [rows.shape[0], values.shape[1]])
