"""Check the arguments of callbacks when they are made, long before they are used."""

import operator


def whole_number(name, value):
    """Return a whole number of at least 1 as Python's int. NumPy's integers are whole numbers too.

    Raises:
        ValueError: another value. The message names the argument.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return operator.index(value)
