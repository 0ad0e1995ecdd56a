"""Hypotheses that go on each for itself: greedy search and sampling."""

import math
from numbers import Real
from typing import Any, NamedTuple

from keras import ops

from keras_transformer.decoding.beam import extended_ids
from keras_transformer.decoding.candidates import next_tokens
from keras_transformer.decoding.hypotheses import UNREACHED, Hypotheses
from keras_transformer.decoding.loop import Loop, begun, search, with_room
from keras_transformer.decoding.penalties import check_length_penalty, length_penalty
from keras_transformer.decoding.rules import Bounds, Rules, checked
from keras_transformer.ids import END, PAD, START

# Positive numbers of float32: the smallest that no processor takes for 0, and the largest.
SMALLEST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


class LineBatch(NamedTuple):
    """What the loop knows of each sentence."""

    rows: Any  # (B,) int32: its place in the batch
    done: Any  # (B,) bool: every hypothesis is closed, or the limit reached
    bounds: Bounds
    last: Any  # (B, W) int32: the latest tokens
    ids: Any  # (B, W, C) int32, C the tokens there is room for
    log_probabilities: Any  # (B, W) float32
    lengths: Any  # (B, W) int32: tokens with END
    finished: Any  # (B, W) bool: closed by END
    luck: Any  # (B, W, L) float32 in [0, 1): what each draw falls on; () for greedy search

    @property
    def room(self):
        return ops.shape(self.ids)[2]

    def with_room(self, more):
        return self._replace(ids=with_room(self.ids, more))


class Draw(NamedTuple):
    """How `sample` draws the next token."""

    temperature: Any = 1.0  # logits are divided by it; a number, or () float32
    top_k: int = 0  # only among the k likeliest; 0 is all
    top_p: Any = 1.0  # only among the likeliest that reach this probability together; a number, or () float32


def check_draw(draw):
    """Raise ValueError for a number of `Draw` that is out of range; arrays are not looked into."""
    if isinstance(draw.temperature, Real) and not SMALLEST <= draw.temperature <= LARGEST:
        raise ValueError(f"temperature must be positive and finite in float32, got {draw.temperature}.")
    if draw.top_k < 0:
        raise ValueError(f"top_k must not be negative, got {draw.top_k}.")
    if isinstance(draw.top_p, Real) and not SMALLEST <= draw.top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1] in float32, got {draw.top_p}.")


def drawn(log_probabilities, tokens, luck, draw):
    """Where among its candidates each hypothesis' luck falls.

    Args:
        log_probabilities, tokens: (B, W, k), from `next_tokens`.
        luck: (B, W) in [0, 1).
        draw: `Draw`.

    Returns:
        Indices (B, W, 1) into k.
    """
    ranked, order = ops.top_k(log_probabilities, tokens.shape[-1])  # (B, W, k), best first
    scaled = (ranked - ranked[:, :, :1]) / draw.temperature  # the likeliest is 0, even where others overflow
    share = ops.softmax(ops.where(ranked < UNREACHED / 2, -math.inf, scaled))  # no heat reaches what is forbidden
    if draw.top_k:
        share = ops.where(ops.arange(tokens.shape[-1]) < draw.top_k, share, 0.0)
        share = share / ops.sum(share, axis=-1, keepdims=True)
    reached = ops.cumsum(share, axis=-1)
    if not (isinstance(draw.top_p, int | float) and draw.top_p == 1):
        share = ops.where(reached - share < draw.top_p, share, 0.0)  # always holds the first
        reached = ops.cumsum(share, axis=-1)
    at = ops.sum(ops.cast(reached <= luck[:, :, None] * reached[:, :, -1:], "int32"), axis=-1, keepdims=True)
    last = ops.sum(ops.cast(share > 0, "int32"), axis=-1, keepdims=True) - 1
    return ops.take_along_axis(ops.cast(order, "int32"), ops.minimum(at, last), axis=-1)


def candidates_wanted(draw, vocabulary_size):
    """How many of the likeliest tokens a draw looks at."""
    if draw is None:
        return 1
    return draw.top_k or vocabulary_size


def extended(decoder, loop, rules, draw):
    """The loop one token later."""
    batch, bounds = loop.batch, loop.batch.bounds
    logits, model = decoder.step(batch.last, loop.model)
    wanted = candidates_wanted(draw, logits.shape[-1])
    gains, tokens = next_tokens(logits, batch.ids, loop.position, wanted, rules, bounds)
    if draw is None:
        at = ops.argmax(gains, axis=-1, keepdims=True)
    else:
        luck = ops.take(batch.luck, loop.position, axis=2)  # (B, W)
        at = drawn(gains, tokens, luck, draw)
    chosen, gained = (ops.sum(ops.where(ops.arange(tokens.shape[-1]) == at, x, 0), axis=-1) for x in (tokens, gains))
    is_open = ops.logical_and(ops.logical_not(batch.finished), ops.less(loop.position, bounds.limits)[:, None])
    tokens = ops.where(is_open, chosen, PAD)  # (B, W)
    finished = ops.logical_or(batch.finished, ops.equal(tokens, END))
    length = loop.position + 1
    batch = batch._replace(
        done=ops.logical_or(ops.all(finished, axis=1), ops.greater_equal(length, bounds.limits)),
        last=tokens,
        ids=extended_ids(batch.ids, tokens, loop.position),
        log_probabilities=batch.log_probabilities + ops.where(is_open, gained, 0.0),
        lengths=batch.lengths + ops.cast(is_open, "int32"),
        finished=finished,
    )
    return Loop(length, batch, model)


def results(loop, alpha, length):
    """The hypotheses as they stand, in the order drawn."""
    batch = loop.batch
    scores = batch.log_probabilities / length_penalty(ops.maximum(batch.lengths, 1), alpha, length)
    return Hypotheses(batch.ids, scores, batch.log_probabilities, batch.finished)


def run(decoder, state, bounds, max_length, width, rules, draw, luck, alpha, length, segment):
    check_length_penalty(alpha, length)
    bounds = checked(rules, bounds)
    size = ops.shape(bounds.limits)[0]
    batch = LineBatch(
        rows=ops.arange(size),
        done=ops.less(bounds.limits, 1),
        bounds=bounds,
        last=ops.full((size, width), START, "int32"),
        ids=ops.full((size, width, 0), PAD, "int32"),
        log_probabilities=ops.zeros((size, width)),
        lengths=ops.zeros((size, width), "int32"),
        finished=ops.zeros((size, width), "bool"),
        luck=luck,
    )
    return search(
        decoder,
        begun(decoder, batch, state, max_length, segment),
        lambda loop: extended(decoder, loop, rules, draw),
        lambda loop: results(loop, alpha, length),
        max_length,
        segment,
    )


def greedy_search(decoder, state, bounds, max_length, alpha=0.6, length="gnmt", rules=None, segment=None):
    """Take the most likely token until END or the sentence's limit.

    Args:
        decoder, segment: see `keras_transformer.decoding`, with W = 1, and `loop.search`.
        state: the decoder's state before the first token.
        bounds: `Bounds`; the limits at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        alpha, length: of the length penalty in the reported score.
        rules: `Rules`.

    Returns:
        `Hypotheses` with W = 1.
    """
    return run(decoder, state, bounds, max_length, 1, rules or Rules(), None, (), alpha, length, segment)


def sample(decoder, state, bounds, max_length, luck, draw=None, alpha=0.6, length="gnmt", rules=None, segment=None):
    """Draw W translations of each sentence, each for itself, token by token.

    Args:
        luck: (B, W, L) float32, uniform in [0, 1): the t-th token of a hypothesis is where its t-th
            number falls among the probabilities, the likeliest first. The same numbers draw the same.
        draw: `Draw`.
        The others: see `greedy_search`.

    Returns:
        `Hypotheses` in the order drawn. Their log-probabilities and scores are the model's own.
    """
    draw = draw or Draw()
    check_draw(draw)
    width = luck.shape[1]
    return run(decoder, state, bounds, max_length, width, rules or Rules(), draw, luck, alpha, length, segment)
