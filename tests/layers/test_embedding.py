"""Token embeddings and positions."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from layer_contract import check_layer, gradients, reloaded, values

from keras_transformer import Encoder, PositionalEncoding, TokenEmbedding
from keras_transformer.backend.compat import keras_mask
from keras_transformer.backend.kernels import WIDE, product_with_transposed
from keras_transformer.layers.embedding import OutputBias
from keras_transformer.layers.positions import sinusoids

pytestmark = pytest.mark.core


@pytest.mark.parametrize("d_model", [6, 7])
def test_sinusoids_are_the_papers(d_model):
    positions = np.array([0, 1, 2, 50, 997])
    expected = [[reference.sinusoid(p, i, d_model) for i in range(d_model)] for p in positions]
    np.testing.assert_allclose(values(sinusoids(positions, d_model)), expected, atol=1e-4)
    np.testing.assert_allclose(values(sinusoids(positions[:4], d_model)), expected[:4], atol=5e-6)


@pytest.mark.parametrize(
    "d_model, order", [(2, [0, 1]), (6, [0, 2, 4, 1, 3, 5]), (7, [0, 2, 4, 6, 1, 3, 5])]
)  # Marian's exponents are also 2 * (j // 2) / d_model, so its columns are the paper's columns in another order
def test_halves_are_all_sines_then_all_cosines(d_model, order):
    positions = np.array([0, 1, 13])
    expected = [[reference.sinusoid(p, i, d_model) for i in order] for p in positions]
    np.testing.assert_allclose(values(sinusoids(positions, d_model, halves=True)), expected, atol=2e-6)
    layer = PositionalEncoding("sinusoidal_halves")
    result = values(layer(np.ones((1, 14, d_model), "float32")))
    np.testing.assert_allclose(result[0, positions], 1 + np.array(expected), atol=2e-6)


def test_halves_by_hand():
    """Four dimensions at position 1: sin 1, sin 0.01, cos 1, cos 0.01."""
    expected = [[0.84147098, 0.00999983, 0.54030231, 0.99995000]]
    np.testing.assert_allclose(values(sinusoids(np.array([1]), 4, halves=True)), expected, atol=1e-7)


def test_a_shift_is_a_rotation_of_each_pair():
    """PE(pos + k) is a linear function of PE(pos). This is why section 3.5 chose sinusoids."""
    d_model, k = 8, 5
    table = values(sinusoids(np.arange(30), d_model)).astype("float64")
    for pair in range(d_model // 2):
        angle = k / 10000 ** (2 * pair / d_model)
        rotation = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        columns = slice(2 * pair, 2 * pair + 2)
        np.testing.assert_allclose(table[:-k, columns] @ np.transpose(rotation), table[k:, columns], atol=1e-5)


def test_positions_differ_in_bfloat16():
    layer = PositionalEncoding(dtype="bfloat16")
    layer.build((None, None, 4))
    first, second = values(keras.ops.cast(layer.at(np.array([256, 257])), "float32"))
    assert np.abs(first - second).max() > 0.1  # in bfloat16, 257 would be rounded to 256


def test_embedding_by_hand():
    layer = TokenEmbedding(3, 4)
    layer.build()
    table = np.arange(12, dtype="float32").reshape(3, 4)
    layer.set_weights([table])
    np.testing.assert_array_equal(values(layer(np.array([[2, 0]]))), 2 * table[[[2, 0]]])  # × √4
    vectors = np.array([[[1, 0, 0, 2.0]]], "float32")
    np.testing.assert_array_equal(values(layer(vectors, reverse=True)), vectors @ table.T)


@pytest.mark.each_case
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_ids_of_any_dtype(dtype, policy):
    layer = TokenEmbedding(256, 4, dtype=policy)
    expected = values(ops.cast(layer(np.array([[1, 0, 99]], "int32")), "float32"))
    np.testing.assert_array_equal(values(ops.cast(layer(np.array([[1, 0, 99]], dtype)), "float32")), expected)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_model_on_a_keras_input(policy):
    """The dtype of `keras.Input` is float32 by default. bfloat16 has no number 257."""
    inputs, layer = keras.Input((None,)), TokenEmbedding(300, 4, dtype=policy)
    model = keras.Model(inputs, layer(inputs))
    found, expected = (
        values(ops.cast(x, "float32")) for x in (model(np.array([[257.0, 2.0]])), layer(np.array([[257, 2]])))
    )
    np.testing.assert_array_equal(found, expected)


def test_embedding_without_the_scale():
    layer = TokenEmbedding(3, 4, scale=False)
    layer.build()
    table = values(layer.embeddings)
    np.testing.assert_array_equal(values(layer(np.array([[2, 0]]))), table[[[2, 0]]])
    np.testing.assert_array_equal(values(layer(np.eye(4, dtype="float32")[None], reverse=True))[0], table.T)


@pytest.mark.each_case
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_output_bias_is_added_in_float32(policy):
    layer = OutputBias(dtype=policy)
    logits = np.array([[[1, 2, 3.0]]], "float32")
    np.testing.assert_array_equal(values(layer(logits)), logits)  # the bias is zero at first
    layer.set_weights([np.array([1e-6, -1000, 4], "float32")])
    result = layer(logits)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    np.testing.assert_allclose(values(result), [[[1.000001, -998, 7]]], rtol=1e-7)


def test_embeddings_start_with_unit_variance():
    layer = TokenEmbedding(997, 64)
    layer.build()
    assert abs(values(layer(np.arange(997)[None])).std() - 1) < 0.02


def test_logits_are_float32_under_any_policy():
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        layer = TokenEmbedding(5, 4, dtype=policy)
        symbolic = layer(keras.Input((None,), dtype="int32"))
        logits = layer(symbolic, reverse=True)
        eager = layer(layer(np.array([[1, 2, 3]])), reverse=True)
        assert logits.dtype == keras.backend.standardize_dtype(eager.dtype) == "float32"
        assert symbolic.dtype == layer.compute_dtype


def test_tied_map_survives_saving(tmp_path):
    layer = TokenEmbedding(5, 4)
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, layer(layer(ids), reverse=True))
    again = reloaded(model, tmp_path)
    x = np.array([[1, 4]])
    np.testing.assert_array_equal(values(again(x)), values(model(x)))
    assert len(again.weights) == 1


def test_contract():
    ids = np.array([[3, 1, 0], [2, 4, 4]], "int32")
    x = np.random.default_rng(0).normal(size=(2, 5, 7)).astype("float32")
    check_layer(lambda **options: TokenEmbedding(5, 6, **options), ids, num_weights=1)
    check_layer(lambda **options: TokenEmbedding(5, 6, scale=False, **options), ids, num_weights=1)
    check_layer(lambda **options: PositionalEncoding(**options), x, num_weights=0)
    check_layer(lambda **options: PositionalEncoding("sinusoidal_halves", **options), x, num_weights=0)
    check_layer(lambda **options: PositionalEncoding("learned", max_length=5, **options), x, num_weights=1)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_mask_zero_is_the_mask_that_one_would_pass(dtype, tmp_path):
    """Padding changes nothing, as with `keras.layers.Embedding(mask_zero=True)`. Logits get no mask."""
    inputs, embedding = keras.Input((None,), dtype=dtype), TokenEmbedding(7, 4, mask_zero=True)
    encoder = Encoder(1, num_heads=2, d_ff=8)
    x = encoder(PositionalEncoding()(embedding(inputs)))
    model = keras.Model(inputs, [keras.layers.GlobalAveragePooling1D()(x), embedding(x, reverse=True)])
    padded, short = np.array([[3, 6, 0, 0], [1, 2, 3, 4]], dtype), np.array([[3, 6]], dtype)
    (mean, logits), (mean_of_short, logits_of_short) = model(padded), model(short)
    np.testing.assert_allclose(values(mean)[:1], values(mean_of_short), rtol=0, atol=1e-6)
    np.testing.assert_allclose(values(logits)[:1, :2], values(logits_of_short), rtol=0, atol=1e-6)
    assert keras_mask(logits) is None and keras_mask(embedding(padded)).shape == (2, 4)
    again = reloaded(model, tmp_path)
    np.testing.assert_array_equal(values(again(padded)[0]), values(mean))
    embedding.mask_zero = False
    assert keras_mask(embedding(padded)) is None


def test_learned_positions_are_added():
    layer = PositionalEncoding("learned", max_length=3)
    x = np.ones((2, 2, 4), "float32")
    result = values(layer(x))
    np.testing.assert_allclose(result, 1 + np.broadcast_to(values(layer.table)[None, :2], (2, 2, 4)), rtol=1e-6)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"kind": "rotary"}, "positions must be one of"),
        ({"kind": "learned"}, "learned positions need max_length"),
    ],
)
def test_wrong_positions_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        PositionalEncoding(**options)


def test_an_over_long_sequence_is_named():
    with pytest.raises(ValueError, match="a sequence of 4 tokens is longer than the 3 learned positions"):
        PositionalEncoding("learned", max_length=3)(np.ones((1, 4, 2), "float32"))


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="vocabulary_size must be a whole number of at least 1, got 0"):
        TokenEmbedding(0, 4)


@pytest.mark.parametrize("width", [WIDE - 1, WIDE], ids=["narrow", "wide"])
def test_both_products_of_the_output_map_and_their_gradients(width):
    rng = np.random.default_rng(0)
    x, matrix = (rng.normal(size=shape).astype("float32") for shape in ((2, 3, width), (5, width)))
    upstream = rng.normal(size=(2, 3, 5)).astype("float32")
    np.testing.assert_allclose(
        values(product_with_transposed(*map(ops.convert_to_tensor, (x, matrix)))), x @ matrix.T, rtol=1e-4, atol=1e-4
    )
    found = gradients(lambda *a: ops.sum(product_with_transposed(*a) * ops.convert_to_tensor(upstream)), x, matrix)
    np.testing.assert_allclose(values(found[0]), upstream @ matrix, rtol=1e-4, atol=1e-4)
    expected = upstream.reshape(-1, 5).T @ x.reshape(-1, width)
    np.testing.assert_allclose(values(found[1]), expected, rtol=1e-4, atol=1e-4)
