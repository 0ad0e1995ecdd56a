"""Masks of the wrong kind are refused wherever the package takes a mask, in one line."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import values

from keras_transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, MultiHeadAttention
from keras_transformer.layers.attention import attention_weights
from keras_transformer.layers.masks import bias_of

pytestmark = pytest.mark.core

IDS = np.array([[5, 6, 7, 0, 0], [8, 9, 0, 0, 0]])
X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
MEMORY = np.random.default_rng(1).normal(size=(2, 5, 8)).astype("float32")
OPTIONS = {"num_heads": 2, "d_ff": 3}
ENCODERS = [MultiHeadAttention(2), EncoderLayer(**OPTIONS), Encoder(1, **OPTIONS)]
DECODERS = [DecoderLayer(**OPTIONS), Decoder(1, **OPTIONS)]
PLACES = [
    *((layer, (X,), "mask") for layer in ENCODERS),
    (ENCODERS[0], (X, MEMORY), "memory_mask"),
    *((layer, (X, MEMORY), name) for layer in DECODERS for name in ("x_mask", "memory_mask")),
]
KINDS = {  # what other toolkits call a mask
    "1.0 = padding": (IDS == 0).astype("float32"),
    "0 and -1e9 to add": np.where(IDS != 0, 0.0, -1e9).astype("float32"),
    "1 = token": (IDS != 0).astype("int32"),
    "ids": IDS,
}
places = pytest.mark.parametrize(
    ("layer", "inputs", "name"), PLACES, ids=[f"{type(layer).__name__}-{name}" for layer, _, name in PLACES]
)


def refusal(call):
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@places
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_that_is_not_boolean(layer, inputs, name, kind):
    mask = KINDS[kind]
    message = refusal(lambda: layer(*inputs, **{name: mask}))
    dtype = keras.backend.standardize_dtype(ops.convert_to_tensor(mask).dtype)
    start = f"{name} must be boolean, True where a position may be attended to, got "
    assert message.removeprefix(start).split()[0] in (dtype, str(mask.dtype))
    assert message.startswith(start) and message.endswith("of shape (2, 5). Compare first, for example ids != 0.")


@places
def test_a_symbolic_mask_that_is_not_boolean(layer, inputs, name):
    symbols = [keras.Input(x.shape[1:]) for x in inputs]
    mask = keras.Input((5,), dtype="int32")
    with pytest.raises(ValueError, match=f"{name} must be boolean"):
        layer(*symbols, **{name: mask})


@places
def test_lists_are_masks_too(layer, inputs, name):
    mask = IDS != 0
    expected = values(layer(*inputs, **{name: mask}))
    np.testing.assert_allclose(values(layer(*inputs, **{name: mask.tolist()})), expected, atol=1e-6)


@places
def test_a_mask_of_another_length(layer, inputs, name):
    message = refusal(lambda: layer(*inputs, **{name: np.ones((2, 4), bool)}))
    if name == "x_mask":  # it is combined with the causal mask first
        assert message == "x_mask does not fit: it has 4 positions, but x has 5."
    else:
        assert message == f"{name} does not fit: as (B, H, T, S) it has shape (2, 1, 1, 4), but S is 5."


def test_a_square_is_no_mask_of_one_row():
    """(T, T) with True on and below the diagonal means (B, S) here. With one row it would be spread over a batch."""
    message = refusal(lambda: ENCODERS[0](X[:1], mask=np.tril(np.ones((5, 5), bool))))
    rule = "mask does not fit: as (B, H, T, S) it has shape (5, 1, 1, 5), but B is 1."
    assert message == f"{rule} For a mask (T, S) of all sentences, give mask[None]."


def test_ranks():
    message = refusal(lambda: DECODERS[0](X, MEMORY, x_mask=np.ones((2, 5, 5), bool)))
    assert message == "x_mask must have shape (B, T), got rank 3: (2, 5, 5)."
    message = refusal(lambda: ENCODERS[2](X, mask=np.ones((5,), bool)))
    assert message == "mask must have shape (B, S), (B, T, S) or (B, H, T, S), got rank 1: (5,)."


@pytest.mark.parametrize(
    "function", [lambda mask: attention_weights(*map(ops.convert_to_tensor, (X, MEMORY)), mask), bias_of]
)
def test_functions_refuse_them_too(function):
    assert refusal(lambda: function(KINDS["1 = token"][:, None])).startswith("mask must be boolean")
