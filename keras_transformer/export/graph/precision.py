"""How an export's folder holds a weight, and what comes of it: float32, half precision, or 8-bit integers."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
ROWS = ("embeddings", "table")  # matrices of a vector a row; of every other the channels are the columns
STEPS = 127  # of int8 either side of 0


class Stored:
    """Some weights in the precision of the folder.

    Vectors, which are small and matter much, stay in float32 whatever the precision. In int8 each
    channel of a matrix, a row of an embedding and a column of every other, has a float32 scale, its
    largest magnitude / 127, and the weight is the integer times the scale. Other precisions than float32
    have all matrices in one variable, which makes for a smaller folder than many.

    Args:
        weights: {key: Keras variable}.
        precision: of `PRECISIONS`.

    Attributes:
        variables: a list of `tf.Variable`, all that is stored.

    Raises:
        ValueError: an unknown precision; a weight that is not finite, or has no place in float16.
    """

    def __init__(self, weights, precision):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}.")
        self._alone, self._places = {}, {}
        self._numbers = self._scales = None
        numbers, scales = _Row(), _Row()
        for key, weight in weights.items():
            value = _checked(weight, precision)
            if value.ndim == 1 or precision == "float32":
                self._alone[key] = tf.Variable(value, trainable=False)
                continue
            shape = None
            if precision == "int8":
                value, scale = quantised(value, axis=1 if weight.name in ROWS else 0)
                shape = scales.append(scale)
            self._places[key] = numbers.append(value), shape
        if self._places:
            self._numbers = tf.Variable(tf.cast(numbers.joined(), precision), trainable=False)
        if scales.size:
            self._scales = tf.Variable(scales.joined(), trainable=False)
        packed = [variable for variable in (self._numbers, self._scales) if variable is not None]
        self.variables = [*self._alone.values(), *packed]

    def is_packed(self, key):
        """Whether a weight's `value` takes computing."""
        return key in self._places

    def value(self, key):
        """A weight in float32, read where this is called."""
        if key in self._alone:
            return self._alone[key].read_value()
        numbers, scales = self._places[key]
        value = tf.cast(numbers.read(self._numbers), tf.float32)
        return value if scales is None else value * scales.read(self._scales)


def quantised(value, axis):
    """Integers of -127 ... 127, and the scales along `axis` that make them `value` again; float32."""
    largest = np.abs(value).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / STEPS, 1).astype(np.float32)
    return np.clip(np.rint(value / scale), -STEPS, STEPS), scale


def _checked(weight, precision):
    """The value of a Keras variable, float32."""
    value = np.asarray(weight.numpy(), np.float32)
    if not np.isfinite(value).all():
        raise ValueError(f"the weight {weight.path} is not finite. Was its training stopped by NaN?")
    highest = np.abs(value).max(initial=0)
    if precision == "float16" and value.ndim > 1 and highest > np.finfo(np.float16).max:
        raise ValueError(f"the weight {weight.path} reaches {highest:g}, which float16 cannot hold; bfloat16 can.")
    return value


class _Row:
    """Arrays one behind the other."""

    def __init__(self):
        self._arrays, self.size = [], 0

    def append(self, array):
        """The `_Place` that `array` gets."""
        self._arrays.append(array.ravel())
        self.size += array.size
        return _Place(self.size - array.size, array.shape)

    def joined(self):
        return np.concatenate(self._arrays)


class _Place(NamedTuple):
    """Where an array stands in a row."""

    start: int
    shape: tuple

    def read(self, row):
        return tf.reshape(row[self.start : self.start + math.prod(self.shape)], self.shape)
