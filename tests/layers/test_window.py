"""Restricted self-attention equals attention over all positions under a mask of the band."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from layer_contract import check_layer, gradients, reloaded, values

from keras_transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, MultiHeadAttention, Transformer
from keras_transformer.layers import window as window_module

pytestmark = pytest.mark.core

OPTIONS = {"num_heads": 2, "d_k": 3, "d_v": 5}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks as small as one side of the window, so that short sequences have several."""
    monkeypatch.setattr(window_module, "FEWEST", 2)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make_pair(x, **options):
    """Attention in windows, and attention over all positions with the same weights."""
    layer, full = MultiHeadAttention(**OPTIONS, **options), MultiHeadAttention(**OPTIONS)
    layer.build(x.shape), full.build(x.shape)
    full.set_weights(layer.get_weights())
    return layer, full


def mask_of(kind, length, band):
    """A mask for attention in windows, and the mask that means the same without windows."""
    rng = np.random.default_rng(length)
    if kind == "none":
        return None, band[None]
    if kind == "padding":  # in the second row whole windows are padding
        mask = np.arange(length)[None] < np.array([[length], [max(length // 4, 1)]])
        return mask, mask[:, None] & band
    mask = rng.random((2, 1, length, length) if kind == "rows" else (2, 2, length, 1)) < 0.6
    return mask, mask & band


@pytest.mark.parametrize("mask_kind", ["none", "padding", "rows", "columns of one"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("window", "length"),
    [
        pytest.param(5, 13, marks=pytest.mark.each_case),  # seven blocks, the last one not full
        (5, 14),  # seven full blocks
        (3, 7),  # blocks that are larger than a side of the window
        (1, 7),  # each position by itself
        (9, 10),
        (9, 4),  # shorter than the window
    ],
)
def test_equals_attention_under_a_mask_of_the_band(window, length, causal, mask_kind):
    x = numbers(2, length, 6)
    layer, full = make_pair(x, window=window, causal=causal)
    mask, whole = mask_of(mask_kind, length, reference.band(length, window, causal))
    found, expected = layer.call_with_weights(x, mask=mask), full.call_with_weights(x, mask=whole)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(values(one), values(other), atol=1e-6)
    np.testing.assert_array_equal(values(layer(x, mask=mask)), values(found[0]))


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_under_a_mask_of_the_band(causal):
    x, upstream = numbers(2, 13, 6), numbers(2, 13, 6, seed=1)
    layer, full = make_pair(x, window=5, causal=causal)
    mask, whole = mask_of("padding", 13, reference.band(13, 5, causal))
    query = [values(layer.project_query(x)), *map(values, layer.project_memory(x))]  # and keys, values

    def loss(layer, mask):
        mask = ops.convert_to_tensor(mask)
        return lambda *heads: ops.sum(layer.attend(*heads, mask)[0] * ops.convert_to_tensor(upstream))

    found = gradients(loss(layer, mask[:, None, None]), *query)
    expected = gradients(loss(full, whole[:, None]), *query)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(values(one), values(other), atol=1e-5)
        assert np.abs(values(one)).max() > 0.1


def test_causal_without_a_window_is_a_causal_mask():
    x = numbers(2, 5, 6)
    layer, full = make_pair(x, causal=True)
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    expected = full(x, mask=mask[:, None] & np.tril(np.ones((5, 5), bool)))
    np.testing.assert_allclose(values(layer(x, mask=mask)), values(expected), atol=1e-6)


def test_half_precision_is_near():
    x = numbers(2, 13, 6)
    layer = MultiHeadAttention(**OPTIONS, window=5)
    expected = values(layer(x))
    for policy in ("mixed_bfloat16", "mixed_float16"):
        half = MultiHeadAttention(**OPTIONS, window=5, dtype=policy)
        half.build(x.shape)
        half.set_weights(layer.get_weights())
        found = half(x, mask=np.ones((2, 13), bool))
        assert keras.backend.standardize_dtype(found.dtype) == half.compute_dtype
        np.testing.assert_allclose(values(ops.cast(found, "float32")), expected, atol=0.03)


def test_dropout_is_on_the_weights_in_the_window():
    x = numbers(2, 13, 6)
    layer = MultiHeadAttention(**OPTIONS, window=5, dropout=0.5)
    assert (values(layer(x, training=True)) != values(layer(x))).any()
    np.testing.assert_array_equal(values(layer(x, training=False)), values(layer(x)))


def test_no_array_has_the_square_of_the_length():
    """The largest array of a graph of 256 positions, in numbers: less than half of one of n·n for each head."""
    x = numbers(1, 256, 6)
    layer = MultiHeadAttention(**OPTIONS, window=9, causal=True)
    layer.build(x.shape)
    sizes = sizes_in_graph(lambda x, mask: layer(x, mask=mask), x, np.ones((1, 256), bool))
    assert 256 * 9 * 2 < max(sizes) < 256 * 256 / 2


def sizes_in_graph(function, *arguments):
    """The number of elements of each array that a compiled function computes."""
    if keras.backend.backend() == "torch":
        pytest.skip("torch has no graph here")
    if keras.backend.backend() == "jax":
        import jax

        equations = jax.make_jaxpr(function)(*arguments).eqns
        return [variable.aval.size for equation in equations for variable in equation.outvars]
    import tensorflow as tf

    graph = tf.function(function, autograph=False).get_concrete_function(*map(tf.constant, arguments)).graph
    shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
    return [shape.num_elements() or 0 for shape in shapes]


def compiled_by_xla(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch has no XLA")
def test_compiled_by_xla_it_is_the_same():
    x, mask = numbers(2, 13, 6), np.array([[True] * 13, [True] * 3 + [False] * 10])
    layer = MultiHeadAttention(**OPTIONS, window=5)
    layer.build(x.shape)
    compiled = compiled_by_xla(lambda x, mask: layer(x, mask=mask))
    np.testing.assert_allclose(values(compiled(x, mask)), values(layer(x, mask=mask)), atol=1e-6)


def test_lengths_may_be_unknown_and_the_window_is_saved(tmp_path):
    inputs = keras.Input((None, 6))
    layer = Encoder(1, num_heads=2, d_ff=5, window=3)
    model = keras.Model(inputs, layer.call_with_weights(inputs))
    assert model.outputs[1].shape == (None, 2, None, None)
    again = reloaded(model, tmp_path)
    for length in (1, 2, 8):
        x = numbers(2, length, 6)
        for one, other in zip(*map(keras.tree.flatten, (again(x), layer.call_with_weights(x))), strict=True):
            np.testing.assert_allclose(values(one), values(other), atol=1e-6)
    assert again.layers[-1].layers[0].self_attention.window == 3


def test_layers_keep_the_contract():
    options = {"num_heads": 3, "d_ff": 5, "window": 3, "dropout": 0.0}
    check_layer(lambda **names: EncoderLayer(**options, **names), numbers(2, 7, 6), num_weights=12)
    check_layer(lambda **names: DecoderLayer(**options, **names), numbers(2, 7, 6), numbers(2, 4, 6), num_weights=18)


def make_model(**changes):
    options = {"num_encoder_layers": 2, "num_decoder_layers": 2, "d_model": 12, "num_heads": 3, "d_ff": 7}
    return Transformer(**{"vocabulary_size": 11, **options, **changes})


SOURCE = np.array([[5, 7, 3, 4, 8, 9, 3], [6, 3, 0, 0, 0, 0, 0]])
TARGET = np.array([[2, 8, 6, 4, 5, 9, 7, 10, 4], [2, 7, 4, 0, 0, 0, 0, 0, 0]])


def test_a_model_is_the_formula_and_sees_the_whole_source():
    model = make_model(window=5)
    np.testing.assert_allclose(
        values(model({"source": SOURCE, "target": TARGET})), reference.transformer(model, SOURCE, TARGET), atol=1e-4
    )
    weights = {name: values(each) for name, each in model.attention_weights(SOURCE, TARGET).items()}
    assert {name: each.shape for name, each in weights.items()} == {
        "encoder": (2, 2, 3, 7, 7),
        "decoder": (2, 2, 3, 9, 9),
        "cross": (2, 2, 3, 9, 7),
    }
    seen = {
        "encoder": reference.band(7, 5),
        "decoder": reference.band(9, 5, causal=True),
        "cross": np.ones((9, 7), bool),
    }
    for name, each in weights.items():  # of the sentence without padding
        np.testing.assert_array_equal(each[:, 0] > 0, np.broadcast_to(seen[name], each[:, 0].shape))


def test_a_mask_inside_the_target_is_used():
    x, memory = numbers(2, 7, 6), numbers(2, 4, 6, seed=1)
    mask = np.array([[True, False, True, True, True, True, True]] * 2)
    layer = Decoder(1, num_heads=2, d_ff=5, window=3)
    before, changed = values(layer(x, memory, x_mask=mask)), x.copy()
    changed[:, 1] += 3
    after = values(layer(changed, memory, x_mask=mask))
    np.testing.assert_allclose(np.delete(after, 1, axis=1), np.delete(before, 1, axis=1), atol=1e-6)
    with pytest.raises(ValueError, match=r"^x_mask does not fit: it has 6 positions, but x has 7\.$"):
        layer(x, memory, x_mask=mask[:, :6])


def test_a_model_keeps_its_window(tmp_path):
    model, batch = make_model(window=3), {"source": SOURCE, "target": TARGET}
    again = reloaded(model, tmp_path)
    assert again.get_config()["window"] == 3
    np.testing.assert_array_equal(values(again(batch)), values(model(batch)))


@pytest.mark.parametrize(
    ("window", "rule"),
    [
        (4, "must be odd, a position and as many on each side of it, got 4. Choose 3 or 5."),
        (0, "must be a whole number of at least 1, got 0."),
        (-3, "must be a whole number of at least 1, got -3."),
        (True, "must be a whole number of at least 1, got True."),
        (3.0, "must be a whole number of at least 1, got 3.0."),
        ("31", "must be a whole number of at least 1, got '31'."),
    ],
)
def test_other_windows_are_refused(window, rule):
    for make in (lambda **options: MultiHeadAttention(2, **options), Encoder, Decoder, make_model):
        with pytest.raises(ValueError) as error:
            make(window=window)
        assert str(error.value) == f"window {rule}"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"window": 3}, "window=3 and causal=False are"), ({"causal": True}, "window=None and causal=True are")],
)
def test_a_memory_is_refused(options, words):
    with pytest.raises(ValueError) as error:
        MultiHeadAttention(2, **options)(numbers(2, 3, 6), numbers(2, 4, 6))
    rule = "for self-attention, got a memory. Leave out the memory, or these options."
    assert f"{words} {rule}" in str(error.value)
