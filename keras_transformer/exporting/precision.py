"""How an export's folder holds a weight, and what comes of it: float32, half precision, or 8-bit integers."""

import numpy as np
import tensorflow as tf

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
ROWS = ("embeddings", "table")  # matrices of a vector a row; of every other the channels are the columns
STEPS = 127  # of int8 either side of 0


class Stored(tf.Module):
    """One weight in the precision of the folder.

    Vectors, which are small and matter much, stay in float32 whatever the precision. In int8 each
    channel of a matrix, a row of an embedding and a column of every other, has a float32 scale, its
    largest magnitude / 127, and the weight is the integer times the scale.

    Args:
        weight: a Keras variable.
        precision: of `PRECISIONS`.

    Raises:
        ValueError: an unknown precision; a weight that is not finite, or has no place in float16.
    """

    def __init__(self, weight, precision):
        super().__init__()
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}.")
        value = np.asarray(weight.numpy(), np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"the weight {weight.path} is not finite. Was its training stopped by NaN?")
        self.is_matrix = value.ndim > 1
        precision = precision if self.is_matrix else "float32"
        highest = np.abs(value).max(initial=0)
        if precision == "float16" and highest > np.finfo(np.float16).max:
            raise ValueError(f"the weight {weight.path} reaches {highest:g}, which float16 cannot hold; bfloat16 can.")
        self.scale = None
        if precision == "int8":
            largest = np.abs(value).max(axis=1 if weight.name in ROWS else 0, keepdims=True)
            scale = np.where(largest > 0, largest / STEPS, 1).astype(np.float32)
            self.scale = tf.Variable(scale, trainable=False)
            value = np.clip(np.rint(value / scale), -STEPS, STEPS)
        self.number = tf.Variable(tf.cast(value, precision), trainable=False)

    def value(self):
        """The weight in float32, read where this is called."""
        number = tf.cast(self.number.read_value(), tf.float32)
        return number if self.scale is None else number * self.scale.read_value()
