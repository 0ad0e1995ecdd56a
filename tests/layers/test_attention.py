"""Attention is compared with the paper's formula in NumPy."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from layer_contract import check_layer, values

from keras_transformer import MultiHeadAttention
from keras_transformer.layers.attention import attention_weights
from keras_transformer.layers.masks import causal_mask, causal_padding_mask, padding_mask

pytestmark = pytest.mark.core


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights_of(query, key, mask=None):
    query, key = map(ops.convert_to_tensor, (query, key))
    return values(attention_weights(query, key, None if mask is None else ops.convert_to_tensor(mask)))


def test_weights_by_hand():
    # d_k = 4, so the scores are (2 · ln 3 / √4, 0) = (ln 3, 0), and their softmax is (3/4, 1/4).
    query = np.array([[[2.0, 0, 0, 0]]], "float32")
    key = np.array([[[np.log(3.0), 0, 0, 0], [0, 5, 5, 5]]], "float32")
    np.testing.assert_allclose(weights_of(query, key), [[[0.75, 0.25]]], rtol=1e-6)


def test_a_row_with_nothing_to_attend_to_is_uniform_and_not_nan():
    weights = weights_of(numbers(1, 2, 3), numbers(1, 5, 3), np.zeros((1, 2, 5), bool))
    np.testing.assert_allclose(weights, np.full((1, 2, 5), 0.2), rtol=1e-6)


def test_one_position_gets_all_the_weight():
    mask = np.array([[[True], [False]]])
    np.testing.assert_array_equal(weights_of(numbers(1, 2, 3), numbers(1, 1, 3), mask), np.ones((1, 2, 1)))


def test_masks_by_hand():
    np.testing.assert_array_equal(values(padding_mask(np.array([[7, 0, 2], [0, 0, 0]]))), [[1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(values(causal_mask(3)), [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]])
    both = values(causal_padding_mask(3, np.array([[True, False, True]])))
    np.testing.assert_array_equal(both, [[[1, 0, 0], [1, 0, 0], [1, 0, 1]]])


@pytest.mark.parametrize("d_k, d_v", [(None, None), (5, None), (5, 3)])
@pytest.mark.parametrize("cross", [False, True])
def test_equals_the_formula(cross, d_k, d_v):
    layer = MultiHeadAttention(num_heads=7, d_k=d_k, d_v=d_v)
    query = numbers(2, 3, 14)
    memory = numbers(2, 5, 11, seed=1) if cross else None
    mask = np.random.default_rng(2).random((2, 3, 5 if cross else 3)) < 0.6
    mask[:, :, 0] = True
    expected = reference.attention(build(layer, query, memory), query, query if memory is None else memory, mask)
    np.testing.assert_allclose(values(layer(query, memory, mask=mask)), expected, atol=2e-6)


def build(layer, *inputs):
    layer(*inputs)
    return layer


def test_weights_on_request_are_those_used():
    layer = MultiHeadAttention(num_heads=2)
    query = numbers(2, 3, 6)
    out, weights = build(layer, query).call_with_weights(query)
    assert weights.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(values(ops.sum(weights, -1)), np.ones((2, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(values(out), values(layer(query)))


def test_each_mask_rank_means_the_same():
    layer = MultiHeadAttention(num_heads=3)
    query, memory = numbers(2, 4, 6), numbers(2, 5, 6, seed=1)
    padding = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], bool)
    per_query = np.repeat(padding[:, None], 4, 1)
    per_head = np.repeat(per_query[:, None], 3, 1)
    results = [values(layer(query, memory, mask=mask)) for mask in (padding, per_query, per_head)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    with pytest.raises(ValueError, match="got rank 1"):
        layer(query, memory, mask=padding[0])


def test_masked_memory_changes_nothing():
    layer = MultiHeadAttention(num_heads=2)
    query, memory = numbers(1, 3, 4), numbers(1, 5, 4, seed=1)
    mask = np.array([[True, True, True, False, False]])
    before = values(layer(query, memory, mask=mask))
    memory[:, 3:] = 1e4
    np.testing.assert_array_equal(values(layer(query, memory, mask=mask)), before)


def test_a_keras_mask_is_used():
    layer = MultiHeadAttention(num_heads=2)
    ids = np.array([[3, 1, 0], [2, 0, 0]])
    embedding = keras.layers.Embedding(5, 4, mask_zero=True)
    x = values(embedding(ids))
    np.testing.assert_allclose(values(layer(embedding(ids))), values(layer(x, mask=ids != 0)), rtol=1e-6)


def test_a_keras_mask_of_the_memory_is_used():
    layer = MultiHeadAttention(num_heads=2)
    ids = np.array([[3, 1, 0], [2, 0, 0]])
    embedding = keras.layers.Embedding(5, 4, mask_zero=True)
    query, memory = numbers(2, 4, 4), values(embedding(ids))
    explicit = values(layer(query, memory, mask=ids != 0))
    np.testing.assert_allclose(values(layer(query, embedding(ids))), explicit, rtol=1e-6)
    both = layer(query, memory, mask=np.tril(np.ones((1, 4, 3), bool)), memory_mask=ids != 0)
    np.testing.assert_allclose(values(both)[:, 3], explicit[:, 3], rtol=1e-5)
    assert np.abs(values(both)[0, 0] - explicit[0, 0]).max() > 1e-3


def test_weights_of_a_layer_not_called_before():
    _, weights = MultiHeadAttention(num_heads=2).call_with_weights(numbers(2, 3, 6), numbers(2, 5, 4))
    assert weights.shape == (2, 2, 3, 5)


def test_contract():
    check_layer(
        lambda **options: MultiHeadAttention(num_heads=3, d_k=5, d_v=2, **options), numbers(2, 4, 7), num_weights=4
    )
    check_layer(
        lambda **options: MultiHeadAttention(num_heads=3, use_bias=True, **options),
        numbers(2, 4, 6),
        numbers(2, 5, 7, seed=1),
        num_weights=8,
    )


def test_kernels_are_glorot_of_whole_matrices():
    layer = build(MultiHeadAttention(num_heads=8, initial_gain=0.5), numbers(1, 2, 64))
    for name, gain in (("query", 1.0), ("key", 1.0), ("value", 0.5), ("output", 0.5)):
        limit = gain * np.sqrt(6 / 128)
        kernel = values(getattr(layer, f"{name}_projection").kernel)
        assert 0.97 * limit < np.abs(kernel).max() <= limit


def test_dropout_acts_only_in_training():
    layer = MultiHeadAttention(num_heads=2, dropout=0.5)
    x = numbers(2, 5, 4)
    np.testing.assert_array_equal(values(layer(x)), values(layer(x, training=False)))
    assert (values(layer(x, training=True)) != values(layer(x))).any()


@pytest.mark.parametrize("options, words", [({"num_heads": 0}, "num_heads"), ({"num_heads": 2, "d_v": -1}, "d_v")])
def test_wrong_sizes_are_named(options, words):
    with pytest.raises(ValueError, match=f"{words} must be a whole number of at least 1"):
        MultiHeadAttention(**options)


def test_heads_that_do_not_divide_are_named():
    with pytest.raises(ValueError, match="num_heads=3 does not divide d_model=8"):
        MultiHeadAttention(num_heads=3)(numbers(1, 2, 8))
