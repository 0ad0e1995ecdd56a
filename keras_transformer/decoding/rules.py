"""The rules for the next token."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.ids import END, PAD, START


class Rules(NamedTuple):
    """Rules for every hypothesis. They exclude tokens; the other tokens keep the model's probabilities."""

    suppressed: tuple = ()  # ids that never appear, besides PAD and START; END is not among them
    no_repeat_ngram: int = 0  # no n-gram of this length appears twice; 0 is no rule
    constraint: Any = None  # a `Constraint`, or None


class Bounds(NamedTuple):
    """Rules for the hypotheses of each sentence.

    Where rules contradict each other, the limit comes first, then the constraint, then the prefix, then the excluded
    tokens, then the minimum: a hypothesis that nothing but END may follow ends, however short it is. A hypothesis that
    the constraint and these rules leave no token is lost.
    """

    limits: Any  # (B,) int32: the most tokens, END included
    minimums: Any = ()  # (B,) int32: the fewest tokens, END included; () for no rule
    prefix: Any = ()  # (B, P) int32: tokens that every hypothesis starts with, then PAD; () for no rule
    constraint: Any = ()  # the state of `Rules.constraint` before the first token, a nest of (B, ...); () for no rule


def prepare_bounds(rules, bounds):
    """The `bounds` in the form that `next_tokens` takes: the prefix is (B, P + 1) and every row ends in PAD.

    Raises:
        ValueError: rules that no search can follow.
    """
    if rules.no_repeat_ngram < 0:
        raise ValueError(f"no_repeat_ngram must not be negative, got {rules.no_repeat_ngram}.")
    if END in rules.suppressed:
        raise ValueError(f"suppressed must not hold END={END}: no hypothesis could end. It is {rules.suppressed}.")
    if isinstance(bounds.prefix, tuple):
        return bounds
    return bounds._replace(prefix=ops.pad(bounds.prefix, ((0, 0), (0, 1)), constant_values=PAD))


def excluded_ids(rules):
    """The ids that appear at no step, in order."""
    return sorted({PAD, START, *rules.suppressed})


def is_excluded(tokens, length, rules, bounds):
    """True at tokens that may not be the `length`-th token: any of shape (B, ...) int32 -> (B, ...) bool."""
    excluded = ops.equal(tokens, PAD)
    for token in excluded_ids(rules)[1:]:
        excluded = ops.logical_or(excluded, ops.equal(tokens, token))
    if not isinstance(bounds.minimums, tuple):
        early = ops.less(length, bounds.minimums)  # (B,)
        early = ops.reshape(early, (-1, *[1] * (len(tokens.shape) - 1)))
        excluded = ops.logical_or(excluded, ops.logical_and(ops.equal(tokens, END), early))
    return excluded


def exclude_repeats(logits, ids, position, n):
    """`logits` (B, W, V) with UNREACHED at tokens that would repeat an n-gram of `ids` (B, W, C).

    The last n-1 tokens are compared with every n-1 tokens before them. A token that follows equal ones is excluded.
    """
    batch, width, longest = ops.shape(ids)
    size = ops.shape(logits)[-1]
    starts = ops.arange(longest, dtype="int32")  # of each n-gram; its last token is at start + n - 1
    repeats = ops.broadcast_to(ops.less(starts + (n - 1), position), (batch, width, longest))
    for offset in range(n - 1):
        earlier = ops.take(ids, ops.minimum(starts + offset, longest - 1), axis=2)  # (B, W, C)
        latest = ops.take(ids, ops.maximum(position - (n - 1) + offset, 0)[None], axis=2)  # (B, W, 1)
        repeats = ops.logical_and(repeats, ops.equal(earlier, latest))
    following = ops.take(ids, ops.minimum(starts + (n - 1), longest - 1), axis=2)  # (B, W, C)
    penalties = ops.where(repeats, UNREACHED, ops.zeros((), "float32"))
    rows = ops.arange(batch * width, dtype="int32") * size
    places = ops.reshape(ops.reshape(following, (-1, longest)) + rows[:, None], (-1, 1))  # (B·W·C, 1)
    flat = ops.scatter_update(ops.reshape(logits, (-1,)), places, ops.reshape(penalties, (-1,)), "add")
    return ops.maximum(ops.reshape(flat, (batch, width, size)), UNREACHED)


def prefix_tokens(logits, position, bounds):
    """The prefix's token at `position`: (B, W) int32, PAD where the prefix has none, and its logits (B, W)."""
    batch, width, size = ops.shape(logits)
    last = ops.shape(bounds.prefix)[1] - 1  # PAD in every row
    tokens = ops.take(bounds.prefix, ops.minimum(position, last)[None], axis=1)  # (B, 1)
    tokens = ops.repeat(tokens, width, axis=1)  # (B, W)
    rows = ops.arange(batch * width, dtype="int32") * size + ops.reshape(tokens, (-1,))
    return tokens, ops.reshape(take_rows(ops.reshape(logits, (-1,)), rows), (batch, width))
