"""Hypotheses as tensors: what a search works with, and what it returns."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import pick, top_k
from keras_transformer.ids import PAD

# The score of a hypothesis that does not exist. It is finite, so arithmetic with it gives no NaN.
UNREACHED = -1e9
# A score below this belongs to no hypothesis: UNREACHED plus any log-probability stays below it.
LOWEST_SCORE = UNREACHED / 2


class Hypotheses(NamedTuple):
    """W hypotheses for each of B sentences, best first."""

    ids: Any  # (B, W, L) int32: tokens without START, closed by END where finished, then padding
    scores: Any  # (B, W) float32: log P over the length penalty; UNREACHED where there is no hypothesis
    log_probabilities: Any  # (B, W) float32: log P of the tokens, END included
    finished: Any  # (B, W) bool: False where the limit cut the hypothesis off


class Beams(NamedTuple):
    """W hypotheses of each sentence, in order of falling score."""

    ids: Any  # (B, W, C) int32, C the tokens there is room for
    log_probabilities: Any  # (B, W) float32
    scores: Any  # (B, W) float32

    def with_room(self, more):
        return self._replace(ids=add_room(self.ids, more))


def add_room(ids, more):
    """Hypotheses (B, W, C) int32 -> (B, W, C + more)."""
    return ops.pad(ids, ((0, 0), (0, 0), (0, more)), constant_values=PAD)


def select(beams, indices):
    """The hypotheses at `indices` (B, W')."""
    return Beams(*(pick(x, indices) for x in beams))


def top(scores, k):
    """The k highest of (B, n) and their places, (B, k) each."""
    values, indices = top_k(scores, k)
    return values, ops.cast(indices, "int32")


def concatenate(first, second):
    """The hypotheses of both `Beams`."""
    return Beams(*(ops.concatenate([a, b], axis=1) for a, b in zip(first, second, strict=True)))


def write_tokens(ids, tokens, position):
    """`ids` (B, W, C) with `tokens` (B, W) at `position`."""
    here = ops.equal(ops.arange(ops.shape(ids)[2], dtype="int32"), position)
    return ops.where(here, tokens[:, :, None], ids)
