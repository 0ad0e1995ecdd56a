"""Values that are known now are read; those of a graph that is being traced are not."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.backend.values import first_unknown_id, kind_of_numbers, known, shape_of

pytestmark = pytest.mark.core


def test_known_outside_of_graphs_only():
    array = np.array([[3, 5]], "int32")
    assert known(array) is array
    np.testing.assert_array_equal(known(ops.convert_to_tensor(array)), array)
    assert known(keras.Input((2,))) is None and known([3]) is None
    found = []

    def look(x):
        found.append((known(x), shape_of(x), kind_of_numbers(x)))
        return x

    traced(look)(array)
    assert found == [(None, (1, 2), ("int32", "int"))]


def traced(function):
    """`function`, traced by the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return lambda x: function(ops.convert_to_tensor(x).to("meta"))


def test_kinds_and_shapes():
    kinds = {"float16": "float", "bfloat16": "float", "uint8": "int", "int64": "int", "bool": "other"}
    for dtype, kind in kinds.items():
        assert kind_of_numbers(keras.KerasTensor((2,), dtype)) == (dtype, kind)
    assert kind_of_numbers(np.array(["a"])) == ("<U1", "other")
    assert shape_of(keras.Input((None, 3))) == (None, None, 3)


def test_the_first_unknown_id():
    assert first_unknown_id(np.array([[0, 4], [2, 3]]), 5) is None
    for wrong in (5, -1, 0.5, float("nan"), float("inf")):
        value, place = first_unknown_id(np.array([[0, 4], [wrong, 9]]), 5)
        assert place == (1, 0) and (value == wrong or np.isnan([value, wrong]).all())
