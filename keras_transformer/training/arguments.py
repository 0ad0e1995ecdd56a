"""Check the arguments of callbacks when they are made, long before they are used."""

import operator
import os


def whole_number(name, value):
    """Return a whole number of at least 1 as Python's int. NumPy's integers are whole numbers too.

    Raises:
        ValueError: another value. The message names the argument.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return operator.index(value)


def list_of_texts(name, texts):
    """Return a list of strings.

    Raises:
        TypeError: `texts` is one string, a path or no list, or an entry is no string. The message names the argument
            and the index.
    """
    if isinstance(texts, str | bytes | os.PathLike) or not hasattr(texts, "__iter__"):
        raise TypeError(
            f"{name} must be a list of strings, got {texts!r}. Read a file with keras_transformer.data.read_pairs."
        )
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] must be a string, got {text!r}.")
    return texts
