"""Checks of numbers. Each becomes a plain Python value, which JSON can hold; numbers of NumPy are welcome."""

import math
import numbers
import operator


def whole(name, value, least=1):
    """An int that is not below `least`.

    Args:
        name: of the argument.
        value: its value.
        least: the smallest number that is allowed.

    Raises:
        ValueError: another value; the message names the argument, the value and the rule.
    """
    rule = f"{name} must be a whole number of at least {least}, got"
    if is_switch(value) or not hasattr(value, "__index__"):
        raise ValueError(f"{rule} {value!r}.")
    try:
        number = operator.index(value)
    except TypeError:  # arrays have the method, but only those with one whole number have an index
        raise ValueError(f"{rule} {value!r}.") from None
    if number < least:
        raise ValueError(f"{rule} {number}.")
    return number


def rate(name, value):
    """A float in [0, 1).

    Raises:
        ValueError: another value.
    """
    number = real(name, value, "a number in [0, 1)")
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}.")
    return number


def share(name, value):
    """A float in [0, 1].

    Raises:
        ValueError: another value.
    """
    number = real(name, value, "a number in [0, 1]")
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}.")
    return number


def positive(name, value):
    """A finite float above 0.

    Raises:
        ValueError: another value.
    """
    number = real(name, value, "a finite number above 0")
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}.")
    return number


def real(name, value, rule="a number"):
    """A float, from a real number of Python or NumPy that is not True or False.

    Args:
        name: of the argument.
        value: its value.
        rule: what it must be, for the message.

    Raises:
        ValueError: another value.
    """
    if is_switch(value) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be {rule}, got {value!r}.")
    return float(value)


def switch(name, value):
    """True or False.

    Raises:
        ValueError: another value.
    """
    if not is_switch(value):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def is_switch(value):
    """Whether a value is True or False, of Python or of NumPy."""
    return isinstance(value, bool) or (type(value).__name__ == "bool" and type(value).__module__ == "numpy")
