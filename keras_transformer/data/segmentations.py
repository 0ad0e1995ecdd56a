"""How the texts of a corpus are cut into pieces: once in the best way, or in several random ways."""

import numpy as np
import tensorflow as tf

from keras_transformer.data.order import key_of
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.tokenizers import SIDES, side_of

STRENGTH = 0.1  # of BPE-dropout, Provilkov et al. 2020


def segmentations_of(tokenizer, number, strength, seed):
    """The functions that cut texts into pieces, one for each segmentation of a corpus.

    Args:
        tokenizer, number, strength, seed: `tokenizer`, `segmentations`, `sampling` and `seed` of `parallel_corpus`.

    Returns:
        A list of functions from the texts of both sides (two sequences of N strings), the number of the corpus and the
        number of the first text to the pieces of both sides, two ragged int32 [N, None].

    Raises:
        ValueError: a number is out of range, or the tokenizer has no random segmentations.
    """
    if whole("segmentations", number) == 1:
        if strength is not None:
            raise ValueError(f"sampling={strength!r} has no meaning with segmentations=1. Give segmentations=8, or so.")
        return [_best(tokenizer)]
    strength = STRENGTH if strength is None else strength
    for side in SIDES:
        if not hasattr(side_of(tokenizer, side), "sample"):
            name = type(tokenizer).__name__
            raise ValueError(f"segmentations={number} needs a tokenizer with the method sample, and {name} has none.")
        tokenizer.sample("", 0, strength, side)  # it refuses a wrong strength, and its kind
    return [_sampled(tokenizer, strength, seed, which) for which in range(number)]


def _best(tokenizer):
    """The best segmentation, which is also that of translating."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * 2, autograph=False)
    def tokenize(*sides):
        named = zip(SIDES, sides, strict=True)
        return [tf.cast(tokenizer.tokenize(texts, side=side), tf.int32) for side, texts in named]

    return lambda sides, corpus, before: tokenize(*map(tf.constant, sides))


def _sampled(tokenizer, strength, seed, which):
    """A random segmentation. It depends only on the numbers and on the place of a text in its corpus."""

    def tokenize(sides, corpus, before):
        return [
            _ragged(tokenizer.sample(list(texts), _seed(seed, which, corpus, before, number), strength, side))
            for number, (side, texts) in enumerate(zip(SIDES, sides, strict=True))
        ]

    return tokenize


def _seed(*numbers):
    return int(key_of(*numbers)) % 2**32


def _ragged(rows):
    flat = np.array([piece for row in rows for piece in row], np.int32)
    return tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows], validate=False)
