"""Ids and strings that a user gives to a tokenizer, checked."""

import numpy as np
import tensorflow as tf

from keras_transformer.inputs.kinds import SentenceError, shown


def in_python(ids):
    """Ids as Python's own values. Tensors, ragged tensors, arrays and tuples become lists."""
    if isinstance(ids, tf.RaggedTensor):
        return ids.to_list()
    if isinstance(ids, (tf.Tensor, np.ndarray, np.generic)):
        return np.asarray(ids).tolist()
    return [in_python(i) for i in ids] if isinstance(ids, (list, tuple, range)) else ids


def check_ids(ids, size):
    """Refuse a row of ids that is no list of ints, or has one outside a vocabulary of `size` pieces.

    Raises:
        TypeError, ValueError: such ids.
    """
    if not isinstance(ids, list):
        raise TypeError(f"ids must be a list of integers, got {ids!r} ({type(ids).__name__}).")
    for i in ids:
        if not isinstance(i, int) or isinstance(i, bool):
            raise TypeError(f"ids must be integers, got {i!r} ({type(i).__name__}).")
        if not 0 <= i < size:
            raise ValueError(f"id {i} is outside the vocabulary of {size} pieces (ids from 0).")


def in_utf8(texts):
    """Texts in UTF-8: list of str -> list of bytes.

    Raises:
        SentenceError: a text has half a surrogate pair. The message gives the number of the text, from 0.
    """
    encoded = []
    for number, string in enumerate(texts):
        try:
            encoded.append(string.encode())
        except UnicodeEncodeError as error:
            character = f"its character {error.start + 1}, {string[error.start]!r}"
            raise SentenceError(number, f"is not Unicode: {character}, is half a surrogate pair.", "text {}") from error
    return encoded


def given_strings(strings):
    """The string tensor that `Tokenizer.tokenize` was given.

    Raises:
        TypeError: something else than strings.
    """
    try:
        return tf.convert_to_tensor(strings, tf.string)
    except (TypeError, ValueError) as error:
        raise TypeError(f"tokenize takes strings of shape (N,), got {shown(strings)}.") from error
