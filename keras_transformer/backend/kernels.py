"""TensorFlow kernels that decoding and training need and that `keras.ops` does not reach.

On other backends each function is what `keras.ops` offers, or what XLA runs best under JAX. On TensorFlow,
`ops.scatter_update` copies the whole tensor, `ops.take` needs five ops for negative indices, and the batched product
and softmax of oneDNN have a fixed cost for each call that is far higher than the arithmetic of one sentence.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from keras_transformer.backend import compat

# Below this number of multiplications in QKᵀ the plain kernels are faster than oneDNN's (measured). The first limit is
# for one query a head in float32. Otherwise half precision must be converted and matrices packed: the second limit.
FEW_PRODUCTS, FEW_OTHER_PRODUCTS = 5_000_000, 500_000
# Above this size of one matrix the plain kernel splits each matrix instead of the batch, which is much slower.
FEW_IN_A_MATRIX = 128 * 128
WIDE = 512  # columns


class Kernels(NamedTuple):
    """The functions that attention is computed with."""

    product: Callable  # (..., T, K), (..., K, N) -> (..., T, N)
    product_transposed: Callable  # (..., T, K), (..., N, K) -> (..., T, N)
    softmax: Callable  # over the last axis


STANDARD = Kernels(ops.matmul, lambda a, b: ops.matmul(a, ops.swapaxes(b, -1, -2)), ops.softmax)


def tensorflow_backend():
    """The module `tensorflow` if it is Keras' backend, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf


def by_size(heads, queries, keys, size, dtype, compute):
    """`compute(kernels)`, with the kernels that suit the amount of work.

    Args:
        heads: B·H, the number of matrices of scores; known now or only at run time.
        queries: W, the rows of such a matrix, an int.
        keys: N, its columns; as `heads`.
        size: d_k, an int.
        dtype: the compute dtype.
        compute: a function of `Kernels`.
    """
    tf = tensorflow_backend()
    if tf is None:
        return compute(STANDARD)

    def product(a, b, transposed=False):
        # oneDNN does not take over this op. Its own arithmetic in half precision is slow, so it works in float32.
        x, y = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
        return tf.cast(tf.raw_ops.BatchMatMulV3(x=x, y=y, Tout=tf.float32, adj_y=transposed), a.dtype)

    few = Kernels(product, lambda a, b: product(a, b, True), lambda x: tf.exp(tf.nn.log_softmax(x)))
    limit = FEW_PRODUCTS if queries == 1 and dtype == "float32" else FEW_OTHER_PRODUCTS
    is_few = heads * keys < limit // (queries * size)
    if queries > 1:
        is_few = is_few & (keys <= FEW_IN_A_MATRIX // (queries * size))
    if isinstance(is_few, bool):
        return compute(few if is_few else STANDARD)
    return tf.cond(is_few, lambda: compute(few), lambda: compute(STANDARD))


def in_float32(x):
    """`x` in float32, converted once, however often it is reshaped afterwards."""
    tf = tensorflow_backend()
    if tf is None or tf.executing_eagerly() or x.dtype == tf.float32:
        return ops.cast(x, "float32")
    return tf.ensure_shape(tf.cast(x, tf.float32), x.shape)  # else TensorFlow converts again after each reshape


def at_most(length, limit, name):
    """`length`, an int or () int32, if it is not more than `limit`.

    On TensorFlow a length that is known only at run time is checked at run time, but not in what XLA compiles.

    Raises:
        ValueError: a length that is known now and is more than the `limit` of `name`.
    """
    if isinstance(length, int) and length > limit:
        raise compat.in_one_line(ValueError(f"a sequence of {length} tokens is longer than the {limit} {name}."))
    tf = tensorflow_backend()
    if tf is None or isinstance(length, int):
        return length
    message = f"a sequence is longer than the {limit} {name}"
    with tf.control_dependencies([tf.debugging.assert_less_equal(length, limit, message)]):
        return tf.identity(length)


def take_rows(x, rows):
    """x[rows] along the first axis: (R, ...), int (n, ...) in [0, R) -> (n, ..., ...)."""
    tf = tensorflow_backend()
    return ops.take(x, rows, axis=0) if tf is None else tf.gather(x, rows)


def pick(x, indices):
    """x[b, indices[b]]: (B, W, ...), int (B, n) -> (B, n, ...)."""
    tf = tensorflow_backend()
    if tf is not None:  # one op in place of ten, so that the graph of a search is made sooner
        return tf.gather(x, indices, axis=1, batch_dims=1)
    shape = ops.shape(x)
    rows = ops.arange(ops.shape(indices)[0], dtype="int32")[:, None] * shape[1] + indices  # of (B·W, ...)
    return take_rows(ops.reshape(x, (-1, *shape[2:])), rows)


def empty_rows(count, width, dtype):
    """A buffer (count, width) of zeros, for `write_rows`."""
    tf = tensorflow_backend()
    if tf is None or tf.executing_eagerly():
        return ops.zeros((count, width), dtype)
    return compat.unset_rows(count, width, dtype)


def write_rows(x, rows, values):
    """`x` (R, N) with `values` (n, N) at `rows` (n,).

    A TensorFlow graph writes to the buffer of `x` itself: nothing else may read `x` afterwards.
    """
    tf = tensorflow_backend()
    if tf is None or tf.executing_eagerly():
        return ops.scatter_update(x, rows[:, None], values)
    return compat.write_rows_in_place(x, rows, values)


def after(first, x):
    """`x`, which a TensorFlow graph computes after all tensors of the nest `first`.

    A result that is computed from `x` can then reuse the memory of an array that `first` had to read.
    """
    tf = tensorflow_backend()
    if tf is None or tf.executing_eagerly():
        return x
    with tf.control_dependencies(tf.nest.flatten(first)):
        return tf.identity(x)


def random_bits(shape, generator):
    """Uniformly random int32 of `shape`, from the next seed of a `keras.random.SeedGenerator`."""
    tf = tensorflow_backend()
    if tf is None:
        return keras.random.randint(shape, -(2**31), 2**31 - 1, dtype="int32", seed=generator)
    seed = ops.cast(generator.next(), "int32")
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int32)


def top_k(x, k):
    """The k largest along the last axis, and their indices; of equal values the first come first."""
    if keras.backend.backend() != "torch":
        return ops.top_k(x, k)
    indices = ops.argsort(-x, axis=-1)[..., :k]  # torch's own function gives equal values in any order
    return ops.take_along_axis(x, indices, axis=-1), indices


def random_integers(rows, size, levels, generator):
    """Uniformly random integers in [0, levels), (*rows, size), from one random number for several of them.

    Args:
        rows: a tuple of sizes.
        size: the size of the last axis, known now or only at run time.
        levels: 2⁸ or 2¹⁶.
        generator: a `keras.random.SeedGenerator`.
    """
    shape = (*rows, size)
    if keras.backend.backend() == "torch":  # it has no unsigned integers of 16 bits
        return keras.random.randint(shape, 0, levels, dtype="int32", seed=generator)
    per_word = {2**8: 4, 2**16: 2}[levels]
    words = -(-size // per_word)  # in a row
    bits = random_bits((*rows, words, 1), generator)  # `view` must know the last axis, hence the 1
    integers = ops.view(bits, {2**8: "uint8", 2**16: "uint16"}[levels])
    integers = ops.reshape(integers, (*rows, words * per_word))
    return integers[..., :size] if not isinstance(size, int) or size % per_word else integers


def product_with_transposed(x, matrix):
    """x·matrixᵀ: (..., D), (V, D) -> (..., V).

    On TensorFlow the gradient of a wide matrix is computed as (V, D). For a narrow matrix, (D, V) and its transpose
    are faster (measured).
    """
    tf = tensorflow_backend()
    if tf is None or matrix.shape[1] < WIDE:
        return ops.matmul(x, ops.transpose(matrix))
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), matrix, transpose_b=True)
    return ops.reshape(rows, (*ops.shape(x)[:-1], matrix.shape[0]))


def transposed_product(x, y):
    """xᵀ·y in float32: (N, V), (N, D) -> (V, D), without a transposed copy of x."""
    tf = tensorflow_backend()
    if tf is not None:
        return tf.cast(tf.matmul(x, y, transpose_a=True), tf.float32)
    if keras.backend.backend() != "jax":
        return ops.cast(ops.matmul(ops.transpose(x), y), "float32")
    import jax  # its sums stay in float32

    return jax.lax.dot_general(x, y, (((0,), (0,)), ((), ())), preferred_element_type="float32")


def add_to_columns(x, columns, values, in_place=False):
    """`x` (R, V) with `values` (R,) added: in each row at one column, that of `columns` (R,) int32.

    Args:
        in_place: on TensorFlow, reuse the memory of `x` where nothing else needs it. XLA cannot compile this.
    """
    tf = tensorflow_backend()
    if tf is None:  # XLA computes this together with `x`
        here = ops.equal(ops.arange(x.shape[-1], dtype="int32"), columns[:, None])  # (R, V)
        return x + ops.where(here, values[:, None], 0.0)
    places = ops.stack([ops.arange(ops.shape(columns)[0], dtype="int32"), columns], axis=-1)  # (R, 2)
    if in_place:
        return compat.add_at_in_place(x, places, values)
    return ops.scatter_update(x, places, values, reduction="add")
