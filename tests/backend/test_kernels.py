"""Kernels are compared with NumPy, and so are their graphs of unknown sizes and those that XLA compiles."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.backend.kernels import pick

pytestmark = pytest.mark.core

CASES = [((3, 5), 7), ((3, 5, 2), 4), ((2, 3, 5, 2), 1), ((3, 5), 0)]
if keras.backend.backend() == "tensorflow":  # an export gets empty batches; on JAX, Keras loses an axis of them
    CASES.append(((0, 5, 2), 4))


@pytest.mark.each_case
@pytest.mark.parametrize(("shape", "count"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_each_sentence_picks_its_own_hypotheses(shape, count, dtype):
    rng = np.random.default_rng(3)
    x = (10 * rng.normal(size=shape)).astype(dtype)
    indices = rng.integers(0, shape[1], (shape[0], count)).astype("int32")
    expected = np.array([row[chosen] for row, chosen in zip(x, indices, strict=True)], dtype)
    expected = expected.reshape(shape[0], count, *shape[2:])
    for picked in ways(len(shape), dtype):
        found = ops.convert_to_numpy(picked(ops.convert_to_tensor(x), ops.convert_to_tensor(indices)))
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def ways(rank, dtype):
    """`pick`, and on TensorFlow its graph for arrays of unknown sizes, with and without XLA."""
    if keras.backend.backend() != "tensorflow":
        return [pick]
    import tensorflow as tf

    given = [tf.TensorSpec([None] * rank, dtype), tf.TensorSpec([None, None], tf.int32)]
    return [pick, *(tf.function(pick, given, jit_compile=compiled, autograph=False) for compiled in (False, True))]
