"""Find out whether the two tokenizers of a pair, or the two sides of a corpus, are exchanged."""

import numpy as np
import tensorflow as tf

from keras_transformer.ids import UNK
from keras_transformer.inputs.tokenizers import SIDES, has_one_vocabulary, side_of

# Measured on everyday sentences (English, German) and laws (English, French), with BPE, unigram and WordPiece of 600 to
# 4,000 pieces. In any 20 pairs, the right tokenizers gave fewer pieces than the exchanged ones, on one side at least.
FEWEST_PAIRS = 20
MOST_PIECES = 0.9  # of the pieces that the given tokenizer makes: then the other one suits the side better
FALLBACK = 0.02  # or it has this share of bytes and unknown pieces less


def refuse_exchanged(pair, sides, tokenizer):
    """Raise ValueError if each side of some texts suits the tokenizer of the other side clearly better.

    Args:
        pair: the two corpora.
        sides: texts of the source and of the target, as many. Fewer than `FEWEST_PAIRS` are not judged.
        tokenizer: their tokenizer. One of a single vocabulary is not judged.
    """
    if len(sides[0]) < FEWEST_PAIRS or has_one_vocabulary(tokenizer):
        return
    parts = [side_of(tokenizer, side) for side in SIDES]
    given, exchanged = (
        [_count(part, texts, side) for part, texts, side in zip(order, sides, SIDES, strict=True)]
        for order in (parts, parts[::-1])
    )
    if all(_suits_better(*counts) for counts in zip(exchanged, given, strict=True)):
        raise ValueError(
            f"{pair[0].name} and {pair[1].name} suit the TokenizerPair in the other order: {exchanged[0][0]:,} and "
            f"{exchanged[1][0]:,} pieces, not {given[0][0]:,} and {given[1][0]:,}. Exchange the two, or check which "
            "tokenizer is for which file."
        )


def _count(tokenizer, texts, side):
    """How many pieces texts have, and the share of them that are bytes or UNK."""
    ids = tokenizer.tokenize(tf.constant(texts), side=side).values.numpy()
    return len(ids), float(np.isin(ids, getattr(tokenizer, "fallback_ids", (UNK,))).mean()) if len(ids) else 0.0


def _suits_better(other, given):
    (pieces, fallback), (given_pieces, given_fallback) = other, given
    return fallback < given_fallback - FALLBACK or (fallback <= given_fallback and pieces < MOST_PIECES * given_pieces)
