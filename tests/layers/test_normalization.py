"""Layer normalization is compared with its formula, and dropped elements are counted."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import check_layer, gradients, values

from keras_transformer.layers.dropout import Dropout, threshold
from keras_transformer.layers.normalization import LayerNormalization, layer_norm

pytestmark = pytest.mark.core

rng = np.random.default_rng(0)
X, UPSTREAM = rng.normal(size=(2, 2, 3, 7)).astype("float32") + 2
GAMMA, BETA = rng.normal(size=(2, 7)).astype("float32")


def reference(x, gamma, beta, epsilon):
    """The formula in NumPy float64."""
    x = x.astype("float64")
    variance = ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True)
    return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + epsilon) + beta


def weighted(function):
    """Σ UPSTREAM · function."""
    return lambda *arguments: ops.sum(function(*arguments) * ops.convert_to_tensor(UPSTREAM))


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_layer_norm_and_its_three_gradients(epsilon):
    np.testing.assert_allclose(
        values(layer_norm(X, GAMMA, BETA, epsilon)), reference(X, GAMMA, BETA, epsilon), atol=2e-6
    )
    found = gradients(weighted(lambda *a: layer_norm(*a, epsilon)), X, GAMMA, BETA)
    for number, argument in enumerate((X, GAMMA, BETA)):  # compared with finite differences of the formula
        expected = np.zeros(argument.shape)
        for place in np.ndindex(argument.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = [a.astype("float64") for a in (X, GAMMA, BETA)]
                moved[number][place] += step
                sides.append((reference(*moved, epsilon) * UPSTREAM).sum())
            expected[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(values(found[number]), expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_is_the_same_in_training():
    layer = LayerNormalization(epsilon=1e-6)
    check_layer(lambda **options: LayerNormalization(epsilon=1e-6, **options), X, num_weights=2)
    layer.build(X.shape)
    layer.gamma.assign(GAMMA)
    layer.beta.assign(BETA)
    np.testing.assert_allclose(values(layer(X, training=True)), values(layer(X)), atol=2e-6)
    half = LayerNormalization(epsilon=1e-6, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(half(X, training=True).dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.1, (26, 256)),  # 0.1016
        (0.2, (51, 256)),
        (0.3, (77, 256)),
        (0.5, (128, 256)),
        (0.001, (66, 65536)),  # 1/256 is four times too large
        (0.999, (65470, 65536)),
        (1 - 1e-9, (65535, 65536)),  # at least one level is kept
    ],
)
def test_how_many_levels_are_dropped(rate, expected):
    assert threshold(rate) == expected


@pytest.mark.each_case
@pytest.mark.parametrize(("rate", "exact"), [(0.3, 77 / 256), (0.01, 655 / 65536)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_dropout_by_count(rate, exact, dtype):
    """The share of zeros is the rate, within 4 standard deviations. Two draws are independent."""
    layer = Dropout(rate, seed=1, dtype=dtype)
    x = np.ones((2, 101, 211), "float32")
    first, second = (values(ops.cast(layer(x, training=True), "float32")) for _ in range(2))
    for drawn in (first, second):
        assert abs((drawn == 0).mean() - exact) < 4 * (exact * (1 - exact) / x.size) ** 0.5
        np.testing.assert_allclose(drawn[drawn != 0], 1 / (1 - exact), rtol=1e-6 if dtype == "float32" else 4e-3)
    both = ((first == 0) & (second == 0)).mean()
    assert abs(both - exact**2) < 4 * (exact**2 / x.size) ** 0.5
    along = first[:, :, 1:] == 0  # neighbors are independent, although they share 32 bits
    both = (along & (first[:, :, :-1] == 0)).mean()
    assert abs(both - exact**2) < 4 * (exact**2 / along.size) ** 0.5
    np.testing.assert_array_equal(values(layer(x)), x)


def test_dropout_passes_the_gradient_of_the_elements_that_it_keeps():
    layer = Dropout(0.5, seed=1)
    kept = None

    def drop(x):
        nonlocal kept
        dropped = layer(x, training=True)
        kept = ops.stop_gradient(ops.not_equal(dropped, 0))
        return dropped

    if keras.backend.backend() == "jax":
        pytest.skip("the mask is a tracer there")
    (found,) = gradients(weighted(drop), X)
    np.testing.assert_allclose(values(found), 2 * UPSTREAM * values(kept), rtol=1e-6)
