"""The likeliest next tokens, without a pass over the whole vocabulary more than needed."""

import math

from keras import ops

from keras_transformer.backend.kernels import pick, take_rows
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.decoding.rules import forbidden, forced, never, without_repeats
from keras_transformer.ids import END, PAD

# A vocabulary smaller than this is searched whole.
LARGE = 2048


def block_size(size, k):
    """A divisor of `size` near √(size/k), where looking at blocks costs least; None if there is none.

    Multiples of 8 come first: a maximum over others takes several times as long.
    """
    best = math.sqrt(size / k)
    divisors = [d for d in range(16, 513) if size % d == 0 and size // d > k]
    return min(divisors, key=lambda d: (d % 8 > 0, abs(math.log(d / best))), default=None)


def largest(x, k):
    """`ops.top_k` along the last axis: (R, V) -> values (R, k), indices (R, k) int32; of equals the first.

    The k largest lie in the k blocks with the largest maxima, so only those are looked into.
    """
    size = x.shape[-1]
    block = block_size(size, k) if size >= LARGE else None
    if block is None:
        values, indices = ops.top_k(x, k)
        return values, ops.cast(indices, "int32")
    count = size // block
    blocks = ops.reshape(x, (-1, count, block))  # (R, V/m, m)
    _, chosen = ops.top_k(ops.max(blocks, axis=-1), k)  # (R, k)
    chosen = ops.sort(ops.cast(chosen, "int32"), axis=-1)  # in order, for ties to fall as they would
    inside = pick(blocks, chosen)  # (R, k, m)
    values, at = ops.top_k(ops.reshape(inside, (-1, k * block)), k)
    at = ops.cast(at, "int32")
    return values, pick(chosen, at // block) * block + at % block


def log_normaliser(logits, values, indices):
    """log Σ exp of each row (R, V), given its largest `values` and their `indices` (R, k): (R, 1).

    softmax is the one fused pass over V there is; 1/Σ is what it gives the largest.
    """
    rows = ops.arange(ops.shape(logits)[0]) * logits.shape[-1]
    share = take_rows(ops.reshape(ops.softmax(logits), (-1,)), rows + indices[:, 0])  # (R,)
    return (values[:, 0] - ops.log(share))[:, None]


def next_tokens(logits, ids, position, k, rules, bounds):
    """The k or more likeliest next tokens of each hypothesis, forbidden ones out of reach.

    Args:
        logits: (B, W, V) float32.
        ids: (B, W, C) int32, the hypotheses so far, for the n-gram rule.
        position: () int32, their length.
        k: how many that are not forbidden are wanted, as far as there are.
        rules, bounds: `Rules`, and `Bounds` that are `checked`.

    Returns:
        log P (B, W, k') float32 by the model's own probabilities, UNREACHED at forbidden tokens, and
        tokens (B, W, k') int32, in no order that counts.
    """
    batch, width, size = ops.shape(logits)
    flat = ops.reshape(logits, (-1, size))  # (B·W, V)
    spare = len(never(rules)) + (not isinstance(bounds.minimums, tuple))
    k = min(size, k + spare)
    values, tokens = largest(flat, k)
    normaliser = ops.reshape(log_normaliser(flat, values, tokens), (batch, width, 1))
    if rules.no_repeat:
        allowed = without_repeats(logits, ids, position, rules.no_repeat)
        values, tokens = largest(ops.reshape(allowed, (-1, size)), k)
    values = ops.reshape(values, (batch, width, k))
    tokens = ops.reshape(tokens, (batch, width, k))
    out = ops.logical_or(forbidden(tokens, position + 1, rules, bounds), ops.less(values, UNREACHED / 2))
    if not isinstance(bounds.prefix, tuple):
        token, value = (x[:, :, None] for x in forced(logits, position, bounds))
        is_forced = ops.not_equal(token, PAD)
        first = ops.equal(ops.arange(k), 0)[None, None, :]
        values, tokens = ops.where(is_forced, value, values), ops.where(is_forced, token, tokens)
        out = ops.where(is_forced, ops.logical_not(first), out)
    if not isinstance(bounds.minimums, tuple):
        stuck = ops.all(out, axis=-1, keepdims=True)  # only END could follow, and it is too early for it
        values, tokens = ops.where(stuck, logits[:, :, END : END + 1], values), ops.where(stuck, END, tokens)
        out = ops.where(stuck, ops.arange(k) > 0, out)
    return ops.where(out, UNREACHED, values - normaliser), tokens
