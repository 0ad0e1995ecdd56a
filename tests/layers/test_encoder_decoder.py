"""Sub-layers, layers and stacks are compared with NumPy."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from keras.src.backend import get_keras_mask  # no public name
from layer_contract import check_layer, values

from keras_transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward, MultiHeadAttention
from keras_transformer.layers.residual import Residual

pytestmark = pytest.mark.core

OPTIONS = {"num_heads": 3, "d_ff": 11, "d_k": 5, "d_v": 2, "dropout": 0.0}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def shaken(layer, *inputs):
    """Build the layer and change every weight, because initial zeros and ones can hide errors."""
    layer(*inputs)
    generator = np.random.default_rng(5)
    layer.set_weights([w + generator.normal(size=w.shape, scale=0.3).astype("float32") for w in layer.get_weights()])
    return layer


X, MEMORY = numbers(2, 3, 7), numbers(2, 5, 7, seed=1)
MEMORY_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)


def test_feed_forward_is_the_formula():
    layer = shaken(FeedForward(11), X)
    np.testing.assert_allclose(values(layer(X)), reference.feed_forward(layer, X), atol=2e-6)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_encoder_layer_is_the_formula(norm):
    layer = shaken(EncoderLayer(**OPTIONS, norm=norm), MEMORY)
    expected = reference.encoder_layer(layer, MEMORY, MEMORY_MASK[:, None, :])
    np.testing.assert_allclose(values(layer(MEMORY, mask=MEMORY_MASK)), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_decoder_layer_is_the_formula(norm):
    layer = shaken(DecoderLayer(**OPTIONS, norm=norm), X, MEMORY)
    expected = reference.decoder_layer(layer, X, MEMORY, MEMORY_MASK[:, None, :])
    np.testing.assert_allclose(values(layer(X, MEMORY, memory_mask=MEMORY_MASK)), expected, atol=1e-5)


def test_later_tokens_change_nothing():
    decoder = shaken(Decoder(2, **OPTIONS), X, MEMORY)
    before = values(decoder(X, MEMORY))
    changed = X.copy()
    changed[:, 2] *= -3
    after = values(decoder(changed, MEMORY))
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-6)
    assert np.abs(after[:, 2] - before[:, 2]).max() > 0.1


def test_padding_changes_nothing():
    encoder = shaken(Encoder(2, **OPTIONS), MEMORY)
    short = values(encoder(MEMORY[1:, :2]))
    np.testing.assert_allclose(values(encoder(MEMORY, mask=MEMORY_MASK))[1:, :2], short, atol=1e-6)


def test_a_mask_inside_the_target_is_used():
    layer = shaken(DecoderLayer(**OPTIONS), X, MEMORY)
    mask = np.array([[True, False, True]] * 2)
    before = values(layer(X, MEMORY, x_mask=mask))
    changed = X.copy()
    changed[:, 1] += 3
    np.testing.assert_allclose(values(layer(changed, MEMORY, x_mask=mask))[:, [0, 2]], before[:, [0, 2]], atol=1e-6)


def test_only_pre_norm_has_a_final_norm():
    assert shaken(Encoder(1, **OPTIONS), X).final_norm is None
    encoder = shaken(Encoder(1, **OPTIONS, norm="pre"), X)
    inner = values(encoder.layers[0](X))
    np.testing.assert_allclose(values(encoder(X)), reference.final_norm(encoder.final_norm, inner), atol=1e-5)


def test_dropout_is_applied_to_the_sublayers_output():
    """If the whole output of a sub-layer is dropped, LayerNorm(x + output) is LayerNorm(x)."""
    residual = Residual(dropout=0.9999999)
    residual.build(X.shape)
    dropped = values(residual.leave(ops.convert_to_tensor(X), ops.convert_to_tensor(X), training=True))
    np.testing.assert_allclose(dropped, reference.layer_norm(residual, X), atol=1e-5)


def test_weights_on_request():
    decoder = shaken(Decoder(2, **OPTIONS), X, MEMORY)
    x, memory, mask = map(ops.convert_to_tensor, (X, MEMORY, MEMORY_MASK))
    out, to_self, to_memory = decoder.call_with_weights(x, memory, memory_mask=mask)
    np.testing.assert_array_equal(values(out), values(decoder(X, MEMORY, memory_mask=MEMORY_MASK)))
    assert [w.shape for w in to_self] == [(2, 3, 3, 3)] * 2
    assert [w.shape for w in to_memory] == [(2, 3, 3, 5)] * 2
    assert values(to_memory[0])[1, :, :, 2:].max() == 0
    assert np.triu(values(to_self[1])[0, 0], 1).max() == 0


@pytest.mark.parametrize(("norm", "gain"), [("post", 1 / 2), ("pre", 1.0)])  # (8·2)^-¼
def test_kernels_before_the_residual_start_smaller_in_a_post_norm_stack(norm, gain):
    for stack, inputs in ((Encoder, (X,)), (Decoder, (X, MEMORY))):
        stack = stack(2, num_heads=7, d_ff=53, norm=norm)
        stack(*inputs)
        for weight in stack.weights:
            if weight.path.endswith("kernel"):
                small = any(f"/{name}/" in weight.path for name in ("value", "output", "inner", "outer"))
                limit = (gain if small else 1.0) * np.sqrt(6 / sum(weight.shape))
                assert 0.85 * limit < np.abs(values(weight)).max() <= limit
        assert type(stack).from_config(stack.get_config()).layers[0].options == stack.layers[0].options


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_contract(norm):
    options = {**OPTIONS, "norm": norm, "activation": "gelu", "use_bias": True}
    check_layer(lambda **names: FeedForward(11, **names), X, num_weights=4)
    check_layer(lambda **names: EncoderLayer(**options, **names), X, num_weights=16)
    check_layer(lambda **names: DecoderLayer(**options, **names), X, MEMORY, num_weights=26)
    final = 2 * (norm == "pre")
    check_layer(lambda **names: Encoder(2, **options, **names), X, num_weights=32 + final)
    check_layer(lambda **names: Decoder(2, **options, **names), X, MEMORY, num_weights=52 + final)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout"])
def test_all_dropouts_are_used(name):
    for layer, inputs in ((EncoderLayer, (X,)), (DecoderLayer, (X, MEMORY))):
        layer = layer(**{**OPTIONS, name: 0.5})
        assert (values(layer(*inputs, training=True)) != values(layer(*inputs))).any()
        np.testing.assert_array_equal(values(layer(*inputs, training=False)), values(layer(*inputs)))


def test_a_layer_in_a_functional_model_with_a_keras_mask():
    ids = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    layer = EncoderLayer(num_heads=2, d_ff=5)
    model = keras.Model(ids, layer(embedding(ids)))
    padded, plain = model(np.array([[3, 4, 0, 0]])), model(np.array([[3, 4]]))
    np.testing.assert_allclose(values(padded)[:, :2], values(plain), atol=1e-6)


def test_a_mask_of_the_memory_is_not_passed_on():
    """Keras would pass on the `mask` of a call. A loss would then weight a target by the padding of its source."""
    attention, mask = MultiHeadAttention(1), X[..., 0] < 9
    assert get_keras_mask(attention(X, MEMORY, mask=MEMORY_MASK)) is None
    np.testing.assert_array_equal(values(get_keras_mask(EncoderLayer(**OPTIONS)(X, mask=mask))), mask)
    for layer in (EncoderLayer(**OPTIONS), Encoder(2, **OPTIONS)):
        assert get_keras_mask(layer(X, mask=np.ones((2, 3, 3), bool))) is None
    ids = np.array([[3, 4, 0, 0]])
    masked = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    np.testing.assert_array_equal(values(get_keras_mask(EncoderLayer(num_heads=2, d_ff=5)(masked))), ids != 0)
    if keras.backend.backend() == "tensorflow":  # on JAX, only Keras knows the mask of the query
        found = MultiHeadAttention(2)(masked, mask=np.ones((1, 4, 4), bool))
        np.testing.assert_array_equal(values(get_keras_mask(found)), ids != 0)


@pytest.mark.parametrize("make", [EncoderLayer, DecoderLayer, Encoder, Decoder])
def test_call_with_weights_may_be_the_first_call(make):
    layer = make(**({"num_layers": 2} if make in (Encoder, Decoder) else {}), **OPTIONS)
    inputs = (X, MEMORY) if make in (DecoderLayer, Decoder) else (X,)
    first = layer.call_with_weights(*map(ops.convert_to_tensor, inputs))[0]
    np.testing.assert_array_equal(values(layer(*inputs)), values(first))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: EncoderLayer(norm="sandwich"), "norm must be one of"),
        (lambda: EncoderLayer(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: Encoder(0), "num_layers must be a whole number of at least 1, got 0"),
        (lambda: FeedForward(0), "d_ff must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()(X)
