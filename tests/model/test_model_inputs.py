"""Wrong inputs of a call are refused in one line, before the model runs; what is symbolic passes."""

import re

import keras
import numpy as np
import pytest
from layer_contract import values

from keras_transformer import Transformer

pytestmark = pytest.mark.core

SIZES = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 4, "num_heads": 1, "d_ff": 4, "dropout": 0.0}
S, T = np.array([[5, 7, 3], [9, 3, 0]]), np.array([[2, 8, 6, 4], [2, 9, 0, 0]])
FORM = "{'source': ids (B, S), 'target': ids (B, T)}"
PAIR = f"inputs must be {FORM}, or a pair of these, got"
KNOWN = "must hold ids from 0 to 22, whole numbers, because the model has"


@pytest.fixture(scope="module")
def model():
    return Transformer(vocabulary_size=23, **SIZES)


def changed(ids, place, value):
    ids = np.array(ids, type(value))
    ids[place] = value
    return ids


WRONG = [
    (S, TypeError, f"{PAIR} one array of shape (2, 3)."),
    ("a cat", TypeError, f"{PAIR} 'a cat' (str)."),
    (None, TypeError, f"{PAIR} None (NoneType)."),
    ((S, T, T), TypeError, f"{PAIR} a tuple of 3."),
    ([S], TypeError, f"{PAIR} a list of 1."),
    ({}, ValueError, f"inputs has no 'source', only nothing. Give {FORM}."),
    ({"source": S, "targets": T}, ValueError, f"inputs has no 'target', only 'source', 'targets'. Give {FORM}."),
    (
        {"a": T, "source": S, "target": T},  # Keras would take "a" for the source
        ValueError,
        f"inputs has 'a', which the model does not take. Give {FORM}.",
    ),
    ({"source": None, "target": T}, TypeError, "inputs['source'] must be an array of ids, got None (NoneType)."),
    (
        ["a cat", "a dog"],
        TypeError,
        "inputs[0] must be an array of ids, got 'a cat' (str). A Tokenizer makes ids of text.",
    ),
    (
        {"source": [[5, 7], [9]], "target": T},
        TypeError,
        "inputs['source'] must be an array of ids, got [[5, 7], [9]] (list). Make one with np.array, and fill short "
        "rows with 0.",
    ),
    (
        {"source": S[0], "target": T},
        ValueError,
        "inputs['source'] must have the shape (sentences, positions), got (3,). One sentence is "
        "inputs['source'][None].",
    ),
    (
        (S, T[..., None]),
        ValueError,
        "inputs[1] must have the shape (sentences, positions), got (2, 4, 1). Reshape it first.",
    ),
    (
        (S[:, :0], T),
        ValueError,
        "inputs[0] must have at least one position, got the shape (2, 0).",
    ),
    (
        {"source": S, "target": T[:1]},
        ValueError,
        "inputs['source'] and inputs['target'] must have as many rows, one for each sentence pair, got 2 and 1.",
    ),
    (
        {"source": np.array([["a"], ["b"]]), "target": T},
        ValueError,
        "inputs['source'] must hold ids, whole numbers, got an array of <U1.",
    ),
    (
        {"source": S != 0, "target": T},
        ValueError,
        "inputs['source'] must hold ids, whole numbers, got an array of bool.",
    ),
    (
        {"source": changed(S, (1, 0), 7.5), "target": T},
        ValueError,
        f"inputs['source'] {KNOWN} vocabulary_size=23, got 7.5 at (1, 0).",
    ),
    (
        {"source": S, "target": changed(T, (1, 1), 23)},
        ValueError,
        f"inputs['target'] {KNOWN} target_vocabulary_size=23, got 23 at (1, 1).",
    ),
    (
        {"source": changed(S, (0, 1), -1), "target": T},
        ValueError,
        f"inputs['source'] {KNOWN} vocabulary_size=23, got -1 at (0, 1).",
    ),
]


@pytest.mark.each_case
@pytest.mark.parametrize(("inputs", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_inputs_are_refused_in_one_line(model, inputs, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        model(inputs)


def test_keras_adds_no_lines_where_another_layer_calls_the_model(model):
    class Around(keras.layers.Layer):
        def call(self, x):
            return model({"source": x, "target": T})

    with pytest.raises(ValueError, match=r"^inputs\['source'\] must have the shape [^\n]*$"):
        Around()(np.ones((2, 3, 4), "float32"))


def test_calls_without_inputs_and_by_name(model):
    with pytest.raises(TypeError, match=f"^{re.escape(f'the inputs are missing. Call transformer({FORM}).')}$"):
        model()
    expected = values(model({"source": S, "target": T}))
    for logits in (model(inputs={"source": S, "target": T}), model((S, T)), model([S * 1.0, T.astype("int8")])):
        np.testing.assert_array_equal(values(logits), expected)  # a pair gives no warning


def test_encode_names_its_argument(model):
    message = "source must have the shape (sentences, positions), got (3,). One sentence is source[None]."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.encode(S[0])


def test_symbols_pass_and_their_ranks_are_checked(model):
    symbols = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target")}
    assert model(symbols).shape == (None, None, 23)
    assert model(tuple(symbols.values())).shape == (None, None, 23)
    with pytest.raises(ValueError, match=r"^inputs\['target'\] must have the shape [^\n]* got \(None, None, 5\)\."):
        model({**symbols, "target": keras.Input((None, 5))})


def test_a_call_of_its_own_may_take_more():
    class Prefixed(Transformer):
        def call(self, inputs, training=None, mask=None):
            prefix = inputs["prefix"]
            return super().call({name: inputs[name] + prefix for name in ("source", "target")}, training=training)

    model = Prefixed(vocabulary_size=23, **SIZES)
    result = model({"source": S, "target": T, "prefix": np.array(1)})
    assert result.shape == (2, 4, 23)
    with pytest.raises(ValueError, match=r"^inputs\['source'\] must hold ids [^\n]* got 23 at \(0, 0\)\.$"):
        model({"source": changed(S, (0, 0), 23), "target": T, "prefix": np.array(0)})
