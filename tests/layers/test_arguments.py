"""Every argument of every layer and of the model: plain values from NumPy's, and one line for what cannot be meant."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PositionalEncoding,
    TokenEmbedding,
    Transformer,
)
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.residual import Residual

pytestmark = pytest.mark.core

SIZES = {"num_heads": 2, "d_ff": 5, "d_k": 3, "d_v": 2}
RATES = {"dropout": 0.25, "attention_dropout": 0.125, "activation_dropout": 0.5}
LAYER = {**SIZES, **RATES, "use_bias": True, "layer_norm_epsilon": 1e-5, "window": 3}
STACK = {"num_layers": 1, **LAYER, "initial_gain": 0.5}
MODEL = {
    **{"vocabulary_size": 7, "target_vocabulary_size": 5, "num_encoder_layers": 1, "num_decoder_layers": 1},
    **{"d_model": 4, **LAYER, "scale_embeddings": True, "output_bias": False, "max_length": 3},
    "tie_embeddings": "none",
}
ARGUMENTS = [
    (
        MultiHeadAttention,
        {**SIZES, "dropout": 0.25, "use_bias": True, "initial_gain": 0.5, "window": 3, "causal": True},
    ),
    (FeedForward, {"d_ff": 5, "dropout": 0.25, "initial_gain": 0.5}),
    (TokenEmbedding, {"vocabulary_size": 7, "d_model": 4, "scale": False}),
    (PositionalEncoding, {"kind": "learned", "max_length": 3}),
    (EncoderLayer, {**LAYER, "initial_gain": 0.5}),
    (DecoderLayer, {**LAYER, "initial_gain": 0.5}),
    (Encoder, STACK),
    (Decoder, STACK),
    (Residual, {"dropout": 0.25, "layer_norm_epsilon": 1e-5}),
    (Dropout, {"rate": 0.25}),
    (Transformer, MODEL),
]
ARGUMENTS = [
    (kind, {name: value for name, value in arguments.items() if kind is not MultiHeadAttention or name != "d_ff"})
    for kind, arguments in ARGUMENTS
]
of_NUMPY = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
FRACTION = "must be a number in [0, 1), got "
WRONG = {  # by the kind of a right value: wrong values with the rule that the message says
    int: [
        ("128", "must be a whole number of at least 1, got '128'."),
        (True, "must be a whole number of at least 1, got True."),
        (np.True_, "must be a whole number of at least 1, got np.True_."),
        (2.0, "must be a whole number of at least 1, got 2.0."),
        (float("nan"), "must be a whole number of at least 1, got nan."),
        (np.array([2, 2]), "must be a whole number of at least 1, got array([2, 2])."),
        (0, "must be a whole number of at least 1, got 0."),
        (np.int32(-3), "must be a whole number of at least 1, got -3."),
    ],
    bool: [(1, "must be True or False, got 1."), ("no", "must be True or False, got 'no'.")],
}
RATE = [
    ("0.1", "must be a number in [0, 1), got '0.1'."),
    (True, "must be a number in [0, 1), got True."),
    (None, "must be a number in [0, 1), got None."),
    (1.0, "must be in [0, 1), got 1.0."),
    (np.float32(-0.5), "must be in [0, 1), got -0.5."),
    (float("nan"), "must be in [0, 1), got nan."),
]
POSITIVE = [
    ("small", "must be a finite number above 0, got 'small'."),
    (False, "must be a finite number above 0, got False."),
    (0, "must be a finite number above 0, got 0."),
    (-1e-6, "must be a finite number above 0, got -1e-06."),
    (float("inf"), "must be a finite number above 0, got inf."),
    (float("nan"), "must be a finite number above 0, got nan."),
]


def wrong_values(name, value):
    if name in ("layer_norm_epsilon", "initial_gain"):
        return POSITIVE
    return RATE if isinstance(value, float) else WRONG.get(type(value), [])


@pytest.mark.parametrize(("kind", "arguments"), ARGUMENTS, ids=lambda x: getattr(x, "__name__", ""))
def test_numbers_of_numpy_become_plain(kind, arguments):
    given = {name: of_NUMPY[type(value)](value) for name, value in arguments.items()}
    config, expected = kind(**given, name="x").get_config(), kind(**arguments, name="x").get_config()
    assert json.dumps(config) == json.dumps(expected)  # JSON has no numbers of NumPy
    assert {name: (type(config[name]), config[name]) for name in arguments} == {
        name: (type(value), value) for name, value in arguments.items()
    }


@pytest.mark.parametrize(
    ("kind", "arguments", "name", "value", "rule"),
    [
        pytest.param(kind, arguments, name, value, rule, id=f"{kind.__name__}-{name}-{value!r}")
        for kind, arguments in ARGUMENTS
        for name, right in arguments.items()
        for value, rule in wrong_values(name, right)
    ],
)
def test_what_cannot_be_meant_is_refused(kind, arguments, name, value, rule):
    with pytest.raises(ValueError) as error:
        kind(**{**arguments, name: value})
    assert str(error.value) == f"{name} {rule}"


@pytest.mark.parametrize("kind", [EncoderLayer, DecoderLayer, Encoder, Decoder, Residual, Transformer])
@pytest.mark.parametrize("norm", ["Post", None, 1])
def test_a_wrong_norm_is_refused(kind, norm):
    with pytest.raises(ValueError) as error:
        kind(norm=norm, **({"vocabulary_size": 5} if kind is Transformer else {}))
    assert str(error.value) == f"norm must be one of ('post', 'pre'), got {norm!r}."


def test_a_lambda_is_refused_because_no_file_can_hold_it():
    message = "activation is a lambda, which no file can hold: .* @keras.saving.register_keras_serializable"
    with pytest.raises(ValueError, match=message):
        FeedForward(d_ff=3, activation=lambda x: x * 2)


@pytest.mark.parametrize("kind", [FeedForward, EncoderLayer, DecoderLayer, Encoder, Decoder, Transformer])
@pytest.mark.parametrize("activation", ["rellu", 3, {}])
def test_a_wrong_activation_is_refused(kind, activation):
    size = {Transformer: {"vocabulary_size": 5}, FeedForward: {"d_ff": 5}}.get(kind, {})
    with pytest.raises(ValueError) as error:
        kind(activation=activation, **size)
    message = f"activation must be a Keras activation, by name or as a function, got {activation!r}."
    assert str(error.value) == message


def test_sizes_may_be_left_out():
    layer = MultiHeadAttention(2, d_k=None, d_v=None)
    assert layer.d_k is None and layer.d_v is None
    assert Transformer(**{**MODEL, "target_vocabulary_size": None}).target_vocabulary_size == 7


def test_a_half_of_numpy_is_a_plain_rate():
    assert type(Dropout(np.float16(0.5)).get_config()["rate"]) is float
    x = ops.convert_to_numpy(Dropout(np.float16(0.5))(np.ones((2, 3), "float32")))
    np.testing.assert_array_equal(x, np.ones((2, 3)))
    assert keras.layers.Dropout.__call__ is Dropout.__call__
