"""Attention weights on request: in functional models, with Keras' masks, and through calls of subclasses."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import reloaded, values

from keras_transformer import Decoder, Encoder, EncoderLayer, MultiHeadAttention

pytestmark = pytest.mark.core

OPTIONS = {"num_heads": 2, "d_ff": 5}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


X, MEMORY = numbers(2, 3, 8), numbers(2, 4, 8, seed=1)
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)


def sequences(*names):
    return [keras.Input((None, 8), name=name) for name in names]


def assert_same(found, expected):
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(values(one), values(other), atol=1e-6)


def test_a_functional_model_gives_weights_and_loads(tmp_path):
    query, memory = sequences("query", "memory")
    attention = MultiHeadAttention(2)
    h, first = attention.call_with_weights(query, memory)
    y, second = attention(h, memory, return_attention_scores=True)  # the same layer, so the same name, twice
    assert first.shape == (None, 2, None, None) and first.dtype == "float32"
    model = keras.Model([query, memory], [y, first, second])
    h, expected = attention.call_with_weights(X, MEMORY)
    found = model([X, MEMORY])
    assert_same(found, [attention(h, MEMORY), expected, attention.call_with_weights(h, MEMORY)[1]])
    assert_same(reloaded(model, tmp_path)([X, MEMORY]), found)
    longer = numbers(2, 7, 8)
    assert model([longer, longer])[2].shape == (2, 2, 7, 7)


@pytest.mark.parametrize("stack", [Encoder, Decoder])
def test_stacks_give_a_weight_for_each_layer_in_a_functional_model(stack, tmp_path):
    inputs, arrays = (sequences("x"), [X]) if stack is Encoder else (sequences("x", "memory"), [X, MEMORY])
    layer = stack(2, **OPTIONS, dtype="mixed_bfloat16")
    outputs = layer.call_with_weights(*inputs)
    assert outputs[0].dtype == "bfloat16" and outputs[-1][1].dtype == "float32"
    model = keras.Model(inputs, outputs)
    found = model(arrays)
    assert len(keras.tree.flatten(found)) == (3 if stack is Encoder else 5)
    again = reloaded(model, tmp_path)(arrays)
    assert_same(*(keras.tree.map_structure(lambda x: ops.cast(x, "float32"), each) for each in (again, found)))


@pytest.mark.parametrize("symbolic", [False, True])
def test_the_mask_of_keras_is_honored(symbolic):
    ids, attention = np.where(MASK, 3, 0), MultiHeadAttention(2)
    embedding = keras.layers.Embedding(5, 8, mask_zero=True)
    weights = attention.call_with_weights(X, embedding(ids))[1]
    if symbolic:
        query, symbols = sequences("query")[0], keras.Input((None,))
        model = keras.Model([query, symbols], attention.call_with_weights(query, embedding(symbols))[1])
        weights = model([X, ids])
    np.testing.assert_allclose(values(weights)[..., 0].sum(), 2 * 3 * (1 / 3 + 1), rtol=1e-5)  # equal keys
    assert np.abs(values(weights)[~np.broadcast_to(MASK[:, None, None], weights.shape)]).max() == 0


def test_it_is_what_keras_gives_for_the_same_weights():
    ours, theirs = MultiHeadAttention(2), keras.layers.MultiHeadAttention(2, 4, use_bias=False)
    ours(X, MEMORY), theirs(X, MEMORY)
    for one, other in zip(theirs.weights, ours.weights, strict=True):
        one.assign(ops.reshape(other, one.shape))
    expected = theirs(X, MEMORY, attention_mask=MASK[:, None], return_attention_scores=True)
    assert_same(ours(X, MEMORY, mask=MASK, return_attention_scores=True), expected)


class Doubled(EncoderLayer):
    def call(self, x, mask=None, training=None):
        return 2 * super().call(x, mask=mask, training=training)


class DoubledWithScores(EncoderLayer):
    def call(self, x, mask=None, training=None, return_attention_scores=False):
        y, *weights = super().call(x, mask, training, return_attention_scores=True)
        return (2 * y, *weights) if return_attention_scores else 2 * y


@pytest.mark.parametrize("kind", [Doubled, DoubledWithScores])
def test_weights_come_through_a_call_of_a_subclass(kind):
    plain, own = EncoderLayer(**OPTIONS), kind(**OPTIONS)
    plain(X), own(X)
    own.set_weights(plain.get_weights())
    y, weights = plain.call_with_weights(X)
    assert_same(own.call_with_weights(X), (2 * y, weights))


def test_a_functional_model_needs_the_argument_in_an_own_call():
    [x] = sequences("x")
    weights = DoubledWithScores(**OPTIONS).call_with_weights(x)[1]
    assert weights.shape == (None, 2, None, None)
    with pytest.raises(ValueError) as error:
        Doubled(**OPTIONS).call_with_weights(x)
    assert str(error.value) == (
        "the call of Doubled must take return_attention_scores=False, and hand it on to super().call, before a "
        "functional model can have its attention weights."
    )


class Averaging(keras.layers.Layer):
    """An attention that is not ours, without weights."""

    def __init__(self, num_heads, d_k, d_v, dropout, use_bias, initial_gain, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, query, mask=None):
        return ops.broadcast_to(ops.mean(query, axis=1, keepdims=True), ops.shape(query))


class AveragingLayer(EncoderLayer):
    attention_class = Averaging


class AveragingEncoder(Encoder):
    layer_class = AveragingLayer


def test_an_own_attention_needs_no_weights_until_they_are_asked_for():
    encoder = AveragingEncoder(1, **OPTIONS)
    changed = X.copy()
    changed[:, 2] = numbers(2, 8, seed=2)
    assert np.abs(values(encoder(changed) - encoder(X))[:, 0]).max() > 1e-3
    with pytest.raises(ValueError) as error:
        encoder.call_with_weights(X)
    assert str(error.value) == (
        f"{encoder.name}/layer_0/self_attention (Averaging) gives no attention weights. Its call must call that of "
        "MultiHeadAttention, or keras_transformer.layers.attention_scores.note(self, weights)."
    )
