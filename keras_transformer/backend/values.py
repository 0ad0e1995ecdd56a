"""The values of tensors that are known now. A graph that is being traced knows none."""

import sys

import keras
import numpy as np

from keras_transformer.backend.kernels import tensorflow_backend


def known(x):
    """The values of an array or tensor as a NumPy array; None if they are not known before the graph runs."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, keras.KerasTensor) or not keras.ops.is_tensor(x):
        return None
    tf = tensorflow_backend()
    if tf is not None:
        is_known = tf.executing_eagerly() and isinstance(x, tf.Tensor)
    elif keras.backend.backend() == "jax":
        is_known = not isinstance(x, sys.modules["jax"].core.Tracer)
    else:
        is_known = not x.is_meta  # torch's tensors without values, with which Keras finds shapes
    return keras.ops.convert_to_numpy(x) if is_known else None


def shape_of(x):
    """The shape of an array or tensor, with None for sizes that are not known now; None if its rank is not known."""
    return None if getattr(x.shape, "rank", 0) is None else tuple(x.shape)


def kind_of_numbers(x):
    """The dtype of an array or tensor, and whether it is "float", "int" or something else, both as str."""
    try:
        dtype = keras.backend.standardize_dtype(x.dtype)
    except ValueError:  # NumPy's strings and objects
        return str(x.dtype), "other"
    if keras.backend.is_float_dtype(dtype):
        return dtype, "float"
    return dtype, "int" if keras.backend.is_int_dtype(dtype) else "other"


def first_unknown_id(ids, size):
    """The first of some NumPy numbers that is no whole number in [0, size): its value and place, or None."""
    wrong = ~((ids >= 0) & (ids < size)) | (ids != np.floor(ids))
    if not wrong.any():
        return None
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    return ids[place], place
