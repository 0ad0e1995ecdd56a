"""Functions that are written for XLA are compared with their definitions."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import gradients, values

from keras_transformer.backend import xla
from keras_transformer.backend.kernels import random_bits, transposed_product

pytestmark = pytest.mark.core

RNG = np.random.default_rng(0)
X, UPSTREAM = RNG.normal(size=(2, 3, 5, 7)).astype("float32")
X[0, 0, 0] = 0


def test_relu_and_its_gradient():
    np.testing.assert_array_equal(values(xla.relu(X)), np.maximum(X, 0))
    [found] = gradients(lambda x: ops.sum(xla.relu(x) * ops.convert_to_tensor(UPSTREAM)), X)
    np.testing.assert_array_equal(values(found), UPSTREAM * (X > 0))


@pytest.mark.each_case
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scale_or_zero_and_its_gradient(dtype):
    keep = UPSTREAM > 0
    x, kept = ops.cast(X, dtype), ops.convert_to_tensor(keep)
    found = xla.scale_or_zero(x, kept, ops.cast(4, dtype))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    np.testing.assert_array_equal(values(ops.cast(found, "float32")), values(ops.cast(x, "float32")) * keep * 4)
    upstream, scale = ops.convert_to_tensor(UPSTREAM), ops.cast(4, "float32")
    [towards] = gradients(lambda x: ops.sum(xla.scale_or_zero(x, kept, scale) * upstream), X)
    np.testing.assert_array_equal(values(towards), UPSTREAM * keep * 4)


def test_sizes_are_aligned_only_on_a_gpu(monkeypatch):
    sizes = 1, 63, 64, 65, 37_000
    for on_gpu, expected in {False: sizes, True: (64, 64, 64, 128, 37_056)}.items():
        monkeypatch.setattr(xla, "on_gpu", lambda: on_gpu)  # noqa: B023
        assert tuple(xla.aligned(size) for size in sizes) == expected


def test_random_bits_are_32_fair_coins():
    bits = values(random_bits((1000, 100), keras.random.SeedGenerator(1))).astype("int32").view("uint32")
    for place in range(32):
        assert abs((bits >> place & 1).mean() - 0.5) < 5 * 0.5 / 100_000**0.5  # five standard deviations
    again = keras.random.SeedGenerator(1)
    np.testing.assert_array_equal(values(random_bits((1000, 100), again)).astype("int32").view("uint32"), bits)
    assert (values(random_bits((1000, 100), again)).astype("int32").view("uint32") != bits).mean() > 0.99


def test_a_transposed_product_of_halves_is_in_float32():
    x, y = (ops.cast(each.reshape(15, 7), "bfloat16") for each in (X, UPSTREAM))
    found = transposed_product(x, y)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = values(ops.cast(x, "float32")).T @ values(ops.cast(y, "float32"))
    rounding = 1e-6 if keras.backend.backend() == "jax" else 2**-8  # TensorFlow rounds the product, too
    np.testing.assert_allclose(values(found), exact, rtol=0, atol=rounding * abs(exact).max())
