"""Checks of numbers: which values are one, what becomes of them, and what the errors say."""

import numpy as np
import pytest

from keras_transformer.inputs.numbers import positive, rate, real, switch, whole

NAN = float("nan")


@pytest.mark.parametrize(
    "check, value, plain",
    [
        (whole, np.int64(3), 3),
        (whole, np.array(3), 3),
        (rate, np.float32(0.5), 0.5),
        (rate, 0, 0.0),
        (positive, np.int32(2), 2.0),
        (real, -1, -1.0),
        (switch, np.True_, True),
    ],
)
def test_numbers_become_plain_values(check, value, plain):
    assert check("n", value) == plain and type(check("n", value)) is type(plain)


@pytest.mark.parametrize(
    "check, values, rule",
    [
        (whole, ["3", 3.0, True, None, np.bool_(1), np.array([1, 2])], "a whole number of at least 1"),
        (rate, ["0.1", None, False, [0.1]], r"a number in \[0, 1\)"),
        (positive, ["1", None, True, 0, -1, NAN, float("inf")], "a finite number above 0"),
        (real, ["2", True, None, [2]], "a number"),
        (switch, [1, 0, "yes", None], "True or False"),
    ],
)
def test_other_values_are_refused(check, values, rule):
    for value in values:
        with pytest.raises(ValueError, match=f"^n must be {rule}, got "):
            check("n", value)


def test_the_limits():
    for value in (1.0, -0.1, NAN):
        with pytest.raises(ValueError, match=r"^n must be in \[0, 1\), got "):
            rate("n", value)
    assert whole("n", 0, 0) == 0
    with pytest.raises(ValueError, match=r"^n must be a whole number of at least 1, got 0\.$"):
        whole("n", 0)
