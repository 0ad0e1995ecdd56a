"""Wrong inputs of the public layers are refused in one line, before Keras builds or calls them."""

import re

import keras
import numpy as np
import pytest
from layer_contract import values

from keras_transformer import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    LabelSmoothedCrossEntropy,
    MultiHeadAttention,
    PositionalEncoding,
    TokenEmbedding,
    Transformer,
    TransformerSchedule,
)

pytestmark = pytest.mark.core

X, MEMORY = np.ones((2, 5, 16), "float32"), np.ones((2, 7, 12), "float32")
OPTIONS = {"num_heads": 2, "d_ff": 8}
# The layer, the name of its first input, and the shape of that in words.
LAYERS = {
    "Encoder": (lambda: Encoder(1, **OPTIONS), "x", "(B, S, D)"),
    "EncoderLayer": (lambda: EncoderLayer(**OPTIONS), "x", "(B, S, D)"),
    "Decoder": (lambda: Decoder(1, **OPTIONS), "x", "(B, T, D)"),
    "DecoderLayer": (lambda: DecoderLayer(**OPTIONS), "x", "(B, T, D)"),
    "MultiHeadAttention": (lambda: MultiHeadAttention(2), "query", "(B, T, D)"),
    "PositionalEncoding": (PositionalEncoding, "x", "(B, T, D)"),
    "FeedForward": (lambda: FeedForward(8), "x", "(B, ..., D)"),
}
layers = pytest.mark.parametrize("name", LAYERS)


def others(name):
    """The inputs after the first one."""
    return [MEMORY] if name.startswith("Decoder") else []


def refused(error, message, call, *arguments, **options):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(*arguments, **options)


@pytest.mark.each_case
@layers
def test_the_first_input(name):
    make, argument, words = LAYERS[name]
    layer, rest = make(), others(name)
    for built in (False, True):
        if built:
            layer.build(X.shape, *(each.shape for each in rest))
        array = f"{argument} must be an array of floats {words}, got"
        refused(TypeError, f"{array} None (NoneType).", layer, None, *rest)
        refused(TypeError, f"{array} 'a cat' (str).", layer, "a cat", *rest)
        refused(TypeError, f"{array} [[1.0]] (list). Give np.array({argument}).", layer, [[1.0]], *rest)
        refused(TypeError, f"{argument} of {name} is missing. Give an array of floats {words}.", layer)
        floats = f"{argument} must hold floats {words}, got"
        remedy = "TokenEmbedding makes vectors of ids."
        refused(ValueError, f"{floats} int32 of shape (2, 5). {remedy}", layer, np.ones((2, 5), "int32"), *rest)
        refused(ValueError, f"{floats} bool of shape (2, 5, 16). Cast it first.", layer, X != 0, *rest)
        shape = f"{argument} must have the shape {words}, got"
        refused(ValueError, f"{shape} (16,). Reshape it first.", layer, X[0, 0], *rest)
        if name != "FeedForward":  # which takes any number of axes
            refused(ValueError, f"{shape} (5, 16). One sentence is {argument}[None].", layer, X[0], *rest)
            refused(ValueError, f"{shape} (1, 2, 5, 16). Reshape it first.", layer, X[None], *rest)
    width = f"{argument} must have the shape {words} with D=16, for which {layer.name} was made, got (2, 5, 15)."
    refused(ValueError, width, layer, X[..., :15], *rest)


@pytest.mark.each_case
@pytest.mark.parametrize("name", ["Decoder", "DecoderLayer"])
def test_the_memory(name):
    layer = LAYERS[name][0]()
    for built in (False, True):
        if built:
            layer.build(X.shape, MEMORY.shape)
        message = f"memory of {name} is missing. Give an array of floats (B, S, D)."
        refused(TypeError, message, layer, X)
        message = "memory must be an array of floats (B, S, D), got None (NoneType)."
        refused(TypeError, message, layer, X, None)  # it would attend to itself
        message = "memory must have the shape (B, S, D), got (7, 12). One sentence is memory[None]."
        refused(ValueError, message, layer, X, memory=MEMORY[0])
        message = "memory must have the rows of x, 2, or one row, got shape (3, 7, 12)."
        refused(ValueError, message, layer, X, np.ones((3, 7, 12), "float32"))
    message = f"memory must have the shape (B, S, D) with D=12, for which {layer.name} was made, got (2, 7, 16)."
    refused(ValueError, message, layer, X, np.ones((2, 7, 16), "float32"))


def test_the_memory_of_attention_may_be_left_out_or_have_one_row():
    attention = MultiHeadAttention(2)
    np.testing.assert_array_equal(values(attention(X)), values(attention(X, None)))
    np.testing.assert_allclose(values(attention(X, X[:1])), values(attention(X)), atol=1e-6)
    message = "memory must have the rows of query, 2, or one row, got shape (3, 5, 16)."
    refused(ValueError, message, attention, X, np.ones((3, 5, 16), "float32"))


def test_token_embedding():
    embedding = TokenEmbedding(23, 16, name="pieces")
    ids = np.array([[5, 7, 3]])
    known = "x must hold ids from 0 to 22, whole numbers, because pieces has vocabulary_size=23, got"
    for built in (False, True):
        if built:
            embedding.build()
        refused(TypeError, "x must be an array of ids (B, T), got None (NoneType).", embedding, None)
        refused(TypeError, "x must be an array of ids (B, T), got [5] (list). Give np.array(x).", embedding, [5])
        message = "x must hold ids, whole numbers, got an array of bool. A Tokenizer makes ids of text."
        refused(ValueError, message, embedding, ids != 0)
        refused(ValueError, f"{known} 23 at (0, 1).", embedding, np.array([[5, 23]]))
        refused(ValueError, f"{known} 0.5 at (0,).", embedding, np.array([0.5]))
    message = "x must have the shape (..., D) with D=16, for which pieces was made, got (2, 7, 12)."
    refused(ValueError, message, embedding, MEMORY, reverse=True)
    message = "x must hold floats (..., D), got int64 of shape (1, 3). TokenEmbedding makes vectors of ids."
    refused(ValueError, message, embedding, ids, reverse=True)
    message = "x of TokenEmbedding is missing. Give ids (B, T), or with reverse=True vectors (B, T, D)."
    refused(TypeError, message, embedding)
    assert embedding(X[0, 0], reverse=True).shape == (23,)


def test_symbols_pass_and_what_is_known_of_them_is_checked():
    symbol = keras.Input((None, 16))
    layer = EncoderLayer(**OPTIONS)
    assert layer(symbol).shape == (None, None, 16)
    message = f"x must have the shape (B, S, D) with D=16, for which {layer.name} was made, got (None, None, 12)."
    refused(ValueError, message, layer, keras.Input((None, 12)))
    message = "x must have the shape (B, S, D) with a known D, got (None, None, None)."
    refused(ValueError, message, EncoderLayer(**OPTIONS), keras.Input((None, None)))


def test_a_call_of_its_own_takes_what_it_likes():
    class Images(EncoderLayer):
        def call(self, x, mask=None, training=None):
            flat = keras.ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
            return keras.ops.reshape(super().call(flat, mask, training), keras.ops.shape(x))

    assert Images(**OPTIONS)(np.ones((2, 3, 3, 16), "float32")).shape == (2, 3, 3, 16)
    refused(ValueError, "query must have the shape (B, T, D), got (5, 16). One sentence is query[None].", Flat(), X)


class Flat(EncoderLayer):
    """A layer whose own call makes a mistake: a layer inside of it says so, in one line."""

    def __init__(self):
        super().__init__(**OPTIONS)

    def call(self, x):
        return self.self_attention(x[0])


def test_names_of_other_libraries_and_misspelled_ones():
    """The message gives the name that is right here."""
    attention = MultiHeadAttention(2)
    for call, owner, wrong, hint in (
        (lambda: MultiHeadAttention(2, key_dim=4), "MultiHeadAttention", "key_dim", "It is called 'd_k' here."),
        (lambda: FeedForward(8, activations="relu"), "FeedForward", "activations", "Did you mean 'activation'?"),
        (lambda: Encoder(1, num_head=2), "EncoderLayer", "num_head", "Did you mean 'num_heads'?"),
        (lambda: PositionalEncoding(max_len=9), "PositionalEncoding", "max_len", "Did you mean 'max_length'?"),
        (
            lambda: LabelSmoothedCrossEntropy(label_smoothing=0.1),
            "LabelSmoothedCrossEntropy",
            "label_smoothing",
            "It is called 'epsilon' here.",
        ),
        (
            lambda: LabelSmoothedCrossEntropy(reductions="sum"),
            "LabelSmoothedCrossEntropy",
            "reductions",
            "Did you mean 'reduction'?",
        ),
        (lambda: TransformerSchedule(8, warmup=9), "TransformerSchedule", "warmup", "Did you mean 'warmup_steps'?"),
        (lambda: Transformer(vocab_size=9), "Transformer", "vocab_size", "It is called 'vocabulary_size' here."),
        (
            lambda: attention(X, attention_mask=np.ones((2, 5, 5), bool)),
            "a call of MultiHeadAttention",
            "attention_mask",
            "It is called 'mask' here.",
        ),
    ):
        with pytest.raises(TypeError, match=f"^{owner} has no option '{wrong}'\\. {re.escape(hint)} The options are: "):
            call()


def test_a_value_without_a_name():
    message = "Transformer got 9 (int) without a name. Give the name, for example vocabulary_size=."
    refused(TypeError, message, Transformer, 9)
    message = "LabelSmoothedCrossEntropy got 'sum' (str) without a name. Give the name, for example reduction=."
    refused(TypeError, message, LabelSmoothedCrossEntropy, 0.1, "loss", "sum")


def test_a_call_with_query_key_and_value():
    """As in PyTorch and Keras. The third argument here is the mask."""
    attention = MultiHeadAttention(2)
    message = (
        "the third argument of a call of MultiHeadAttention is the mask, got floats of shape (2, 5, 16). Keys and "
        "values are made of one sequence: give (query, memory), or (query) for self-attention."
    )
    refused(TypeError, message, attention, X, X, X)
    with pytest.raises(TypeError, match=r"has no option 'value'\. It is called 'memory' here"):
        attention(query=X, value=X, key=X)
    assert attention(X, None, np.ones((2, 5, 5), bool)).shape == attention(X, X, None).shape == (2, 5, 16)


def test_options_of_subclasses():
    class Scaled(MultiHeadAttention):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(2, **kwargs)
            self.factor = factor

        def call(self, query, memory=None, mask=None, memory_mask=None, training=None, loud=False):
            return super().call(query, memory, mask, memory_mask, training) * self.factor * (2 if loud else 1)

    layer = Scaled(factor=3.0, name="scaled")
    np.testing.assert_allclose(values(layer(X, loud=True)), values(layer(X)) * 2, rtol=1e-6)
    with pytest.raises(
        TypeError, match=r"^Scaled has no option 'factr'\. Did you mean 'factor'\? The options are: factor, "
    ):
        Scaled(factr=3.0)


def test_a_mask_of_positions_needs_an_axis_for_the_sentences():
    layer, mask = MultiHeadAttention(2), np.tril(np.ones((5, 5), bool))
    message = "mask does not fit: as (B, H, T, S) it has shape (5, 1, 1, 5), but B is 2. For a mask (T, S) of all "
    refused(ValueError, f"{message}sentences, give mask[None].", layer, X, mask=mask)
    causal = MultiHeadAttention(2, causal=True)
    causal.build(X.shape)
    layer.set_weights(causal.get_weights())
    np.testing.assert_allclose(values(layer(X, mask=mask[None])), values(causal(X)), rtol=0, atol=1e-6)
