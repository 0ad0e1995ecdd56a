"""What may be the next token."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.ids import END, PAD, START


class Rules(NamedTuple):
    """Constraints on every hypothesis. What they forbid is out of reach; the rest keeps the model's probabilities."""

    suppressed: tuple = ()  # ids that never appear, besides PAD and START; END is not among them
    no_repeat: int = 0  # no n-gram of this length twice; 0 is no rule


class Bounds(NamedTuple):
    """Constraints on each sentence's hypotheses.

    Where they contradict each other the limit goes before the prefix, the prefix before everything else,
    and the minimum behind everything: what nothing may follow ends there.
    """

    limits: Any  # (B,) int32: the most tokens, END included
    minimums: Any  # (B,) int32: the fewest tokens, END included; () for no rule
    prefix: Any  # (B, P) int32: tokens every hypothesis starts with, then PAD; () for no rule


def checked(rules, bounds):
    """`bounds` as `next_tokens` wants them: a prefix (B, P + 1) that always ends in PAD.

    Raises:
        ValueError: rules that cannot be kept.
    """
    if rules.no_repeat < 0:
        raise ValueError(f"no_repeat must not be negative, got {rules.no_repeat}.")
    if END in rules.suppressed:
        raise ValueError(f"suppressed must not hold END={END}, or nothing could end, got {rules.suppressed}.")
    if isinstance(bounds.prefix, tuple):
        return bounds
    return bounds._replace(prefix=ops.pad(bounds.prefix, ((0, 0), (0, 1)), constant_values=PAD))


def never(rules):
    """The ids out of reach at every step, in order."""
    return sorted({PAD, START, *rules.suppressed})


def forbidden(tokens, length, rules, bounds):
    """True at tokens that may not be the `length`-th: any of shape (B, ...) int32 -> (B, ...) bool."""
    found = ops.equal(tokens, PAD)
    for token in never(rules)[1:]:
        found = ops.logical_or(found, ops.equal(tokens, token))
    if not isinstance(bounds.minimums, tuple):
        early = ops.less(length, bounds.minimums)  # (B,)
        early = ops.reshape(early, (-1, *[1] * (len(tokens.shape) - 1)))
        found = ops.logical_or(found, ops.logical_and(ops.equal(tokens, END), early))
    return found


def without_repeats(logits, ids, position, n):
    """`logits` (B, W, V), UNREACHED at tokens that would repeat an n-gram of `ids` (B, W, C).

    The last n-1 tokens are held against every n-1 tokens before: what followed those is out of reach.
    """
    batch, width, longest = ops.shape(ids)
    size = logits.shape[-1]
    starts = ops.arange(longest)  # of an n-gram; its last token stands at start + n - 1
    repeats = ops.broadcast_to(ops.less(starts + (n - 1), position), (batch, width, longest))
    for offset in range(n - 1):
        at = ops.minimum(starts + offset, longest - 1)
        latest = ops.maximum(position - (n - 1) + offset, 0)
        same = ops.equal(ops.take(ids, at, axis=2), ops.take(ids, latest[None], axis=2))  # (B, W, C)
        repeats = ops.logical_and(repeats, same)
    following = ops.take(ids, ops.minimum(starts + (n - 1), longest - 1), axis=2)  # (B, W, C)
    spoilt = ops.where(repeats, UNREACHED, 0.0)
    rows = ops.arange(batch * width) * size
    places = ops.reshape(ops.reshape(following, (-1, longest)) + rows[:, None], (-1, 1))  # (B·W·C, 1)
    flat = ops.scatter_update(ops.reshape(logits, (-1,)), places, ops.reshape(spoilt, (-1,)), "add")
    return ops.maximum(ops.reshape(flat, (batch, width, size)), UNREACHED)


def forced(logits, position, bounds):
    """The prefix' token for the next place: (B, W) int32 and its logits (B, W); PAD where there is none."""
    batch, width, size = ops.shape(logits)
    last = ops.shape(bounds.prefix)[1] - 1  # PAD in every row
    tokens = ops.take(bounds.prefix, ops.minimum(position, last)[None], axis=1)  # (B, 1)
    tokens = ops.repeat(tokens, width, axis=1)  # (B, W)
    rows = ops.arange(batch * width) * size + ops.reshape(tokens, (-1,))
    return tokens, ops.reshape(take_rows(ops.reshape(logits, (-1,)), rows), (batch, width))
