"""Stores the weights of an export in float32, bfloat16, float16 or 8-bit integers, and reads them as float32."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
CHANNEL_PER_ROW = ("embeddings", "table")  # weights whose channels are rows; those of other matrices are columns
INTEGERS = "int8"  # the dtype of a quantized model's matrices
STEPS = 127  # int8 reaches from -127 to 127 here


class Stored:
    """Weights in the precision of an export's folder.

    Matrices that are integers in the model are stored as they are. Vectors stay in float32 at any precision: they are
    small, and rounding them would cost quality. In int8 each channel of a matrix has a float32 scale, its largest
    magnitude / 127. The weight is the integer times the scale. The channels of an embedding are its rows; those of any
    other matrix are its columns. At every precision except float32, one variable holds all other matrices. This makes
    the folder smaller than one variable for each matrix.

    Args:
        weights: {key: Keras variable}.
        precision: one of `PRECISIONS`.

    Attributes:
        variables: a list of all `tf.Variable`s that are stored.

    Raises:
        ValueError: the precision is unknown, or a weight is not finite, or it is too large for float16.
    """

    def __init__(self, weights, precision):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}.")
        self._unpacked, self._places = {}, {}
        self._numbers = self._scales = None
        numbers, scales = _Packer(), _Packer()
        for key, weight in weights.items():
            if weight.dtype == INTEGERS:
                self._unpacked[key] = tf.Variable(weight.numpy(), trainable=False)
                continue
            value = _checked_value(weight, precision)
            if value.ndim == 1 or precision == "float32":
                self._unpacked[key] = tf.Variable(value, trainable=False)
                continue
            scale_place = None
            if precision == "int8":
                value, scale = quantize(value, axis=1 if weight.name in CHANNEL_PER_ROW else 0)
                scale_place = scales.append(scale)
            self._places[key] = numbers.append(value), scale_place
        if self._places:
            self._numbers = tf.Variable(tf.cast(numbers.joined(), precision), trainable=False)
        if scales.size:
            self._scales = tf.Variable(scales.joined(), trainable=False)
        packed = [variable for variable in (self._numbers, self._scales) if variable is not None]
        self.variables = [*self._unpacked.values(), *packed]

    def is_packed(self, key):
        """Whether `value` must compute the weight from packed numbers."""
        return key in self._places

    def value(self, key):
        """The weight in float32. It is read in the graph that calls this."""
        if key in self._unpacked:
            return self._unpacked[key].read_value()
        numbers, scales = self._places[key]
        value = tf.cast(numbers.read(self._numbers), tf.float32)
        return value if scales is None else value * scales.read(self._scales)


def quantize(value, axis):
    """Round to integers from -127 to 127, with one scale for each channel.

    Returns:
        The integers and their scales, both float32. Their product is about `value`. `axis` has size 1 in the scales.
    """
    largest = np.abs(value).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / STEPS, 1).astype(np.float32)
    return np.clip(np.rint(value / scale), -STEPS, STEPS), scale


def _checked_value(weight, precision):
    """The value of a Keras variable in float32, if the precision can hold it."""
    value = np.asarray(weight.numpy(), np.float32)
    if not np.isfinite(value).all():
        raise ValueError(f"The weight {weight.path} is not finite. Export a model from before its loss became NaN.")
    highest = np.abs(value).max(initial=0)
    if precision == "float16" and value.ndim > 1 and highest > np.finfo(np.float16).max:
        raise ValueError(f"The weight {weight.path} reaches {highest:g}. float16 cannot hold that; bfloat16 can.")
    return value


class _Packer:
    """Packs arrays one after the other into one row."""

    def __init__(self):
        self._arrays, self.size = [], 0

    def append(self, array):
        """Add an array. Return its `_Place`."""
        self._arrays.append(array.ravel())
        self.size += array.size
        return _Place(self.size - array.size, array.shape)

    def joined(self):
        return np.concatenate(self._arrays)


class _Place(NamedTuple):
    """The place of one array in the row."""

    start: int
    shape: tuple

    def read(self, row):
        return tf.reshape(row[self.start : self.start + math.prod(self.shape)], self.shape)
