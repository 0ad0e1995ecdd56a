"""The Transformer of "Attention Is All You Need" for Keras: train, decode, serve."""

import importlib
from typing import TYPE_CHECKING

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("jax", "torch", "tensorflow"):
        raise
    raise ModuleNotFoundError(
        f"Keras' backend {error.name} is not installed. KERAS_BACKEND chooses another; "
        "pip install 'keras-transformer-translation[jax]' installs JAX.",
        name=error.name,
    ) from error

from keras_transformer.layers import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PositionalEncoding,
    TokenEmbedding,
)
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy
from keras_transformer.metrics import MaskedAccuracy, Perplexity
from keras_transformer.model import Transformer
from keras_transformer.schedules import TransformerSchedule

if TYPE_CHECKING:  # an editor sees the names of `_LAZY` too
    from keras_transformer.data import parallel_corpus
    from keras_transformer.text import Tokenizer, TokenizerPair
    from keras_transformer.translation.translator import Translator

__version__ = "0.1.0"

# These need TensorFlow and TensorFlow Text: loaded at first use, so that the rest runs without.
_LAZY = {
    "Tokenizer": "keras_transformer.text",
    "TokenizerPair": "keras_transformer.text",
    "Translator": "keras_transformer.translation.translator",
    "parallel_corpus": "keras_transformer.data",
}

__all__ = [
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "LabelSmoothedCrossEntropy",
    "MaskedAccuracy",
    "MultiHeadAttention",
    "Perplexity",
    "PositionalEncoding",
    "TokenEmbedding",
    "Tokenizer",
    "TokenizerPair",
    "Transformer",
    "TransformerSchedule",
    "Translator",
    "parallel_corpus",
]


if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__():
    return sorted([*globals(), *_LAZY])
