"""The likeliest next tokens, with as few passes over the vocabulary as possible."""

import math

from keras import ops

from keras_transformer.backend.kernels import pick, top_k
from keras_transformer.decoding.hypotheses import LOWEST_SCORE, UNREACHED
from keras_transformer.decoding.rules import exclude_repeats, excluded_ids, is_excluded, prefix_tokens
from keras_transformer.ids import END, PAD

# A vocabulary smaller than this is searched whole, without blocks.
LARGE = 2048


def block_size(size, k):
    """A divisor of `size` near √(size/k), the cheapest size of a block; None if there is none.

    Multiples of 8 come first: a maximum over other sizes is much slower (measured).
    """
    best = math.sqrt(size / k)
    divisors = [d for d in range(16, 513) if size % d == 0 and size // d > k]
    return min(divisors, key=lambda d: (d % 8 > 0, abs(math.log(d / best))), default=None)


def largest(x, k):
    """`ops.top_k` along the last axis: (R, V) -> values (R, k), indices (R, k) int32. Of equal values the first wins.

    The k largest values are in the k blocks with the largest maxima. So only these blocks are searched, if V is known
    while the graph is built.
    """
    size = x.shape[-1]
    block = block_size(size, k) if size is not None and size >= LARGE else None
    if block is None:
        values, indices = top_k(x, k)
        return values, ops.cast(indices, "int32")
    count = size // block
    blocks = ops.reshape(x, (-1, count, block))  # (R, V/m, m)
    _, chosen = top_k(ops.max(blocks, axis=-1), k)  # (R, k)
    chosen = ops.sort(ops.cast(chosen, "int32"), axis=-1)  # in order, so that the first of equal values wins
    inside = pick(blocks, chosen)  # (R, k, m)
    values, places = top_k(ops.reshape(inside, (-1, k * block)), k)
    places = ops.cast(places, "int32")
    return values, pick(chosen, places // block) * block + places % block


def log_normalizer(logits, values, indices):
    """log Σ exp of each row (R, V), given its largest `values` and their `indices` (R, k): (R, 1).

    `ops.softmax` needs only one pass over V. It gives the largest logit z the probability exp(z) / Σ exp, from
    which the sum follows.
    """
    return values[:, :1] - ops.log(pick(ops.softmax(logits), indices[:, :1]))


def next_tokens(logits, ids, position, k, rules, bounds, allowed=None):
    """The k or more likeliest next tokens of each hypothesis.

    Args:
        logits: (B, W, V) float32. If V is not known while the graph is built, it must be larger than k by the number of
            the excluded ids.
        ids: (B, W, C) int32, the hypotheses so far, for the n-gram rule.
        position: () int32, their length.
        k: how many tokens are wanted that the rules allow. There are fewer if the rules allow fewer.
        rules, bounds: `Rules`, and `Bounds` from `prepare_bounds`.
        allowed: (B, W, V) bool, what the constraint allows; None for no constraint.

    Returns:
        log P (B, W, k') float32 by the model's own probabilities, UNREACHED at excluded tokens, and the
        tokens (B, W, k') int32. Their order has no meaning.
    """
    batch, width, size = ops.shape(logits)
    flat = ops.reshape(logits, (-1, size))  # (B·W, V)
    spare = len(excluded_ids(rules)) + (not isinstance(bounds.minimums, tuple))
    k = k + spare if logits.shape[-1] is None else min(size, k + spare)
    values, tokens = largest(flat, k)
    normalizer = ops.reshape(log_normalizer(flat, values, tokens), (batch, width, 1))
    masked = logits
    if rules.no_repeat_ngram:
        masked = exclude_repeats(masked, ids, position, rules.no_repeat_ngram)
    if allowed is not None:
        masked = ops.where(allowed, masked, UNREACHED)
    if masked is not logits:
        values, tokens = largest(ops.reshape(masked, (-1, size)), k)
    values = ops.reshape(values, (batch, width, k))
    tokens = ops.reshape(tokens, (batch, width, k))
    excluded = ops.logical_or(is_excluded(tokens, position + 1, rules, bounds), ops.less(values, LOWEST_SCORE))
    if not isinstance(bounds.prefix, tuple):
        token, value = (x[:, :, None] for x in prefix_tokens(logits, position, bounds))
        in_prefix = ops.not_equal(token, PAD)
        first = ops.equal(ops.arange(k, dtype="int32"), 0)[None, None, :]
        values, tokens = ops.where(in_prefix, value, values), ops.where(in_prefix, token, tokens)
        excluded = ops.where(in_prefix, ops.logical_not(first), excluded)
    if not isinstance(bounds.minimums, tuple):
        stuck = ops.all(excluded, axis=-1, keepdims=True)  # no token but END is left, and it comes too early
        values, tokens = ops.where(stuck, logits[:, :, END : END + 1], values), ops.where(stuck, END, tokens)
        excluded = ops.where(stuck, ops.arange(k, dtype="int32") > 0, excluded)
    if allowed is not None:  # a prefix and an END that came in are under the constraint too
        excluded = ops.logical_or(excluded, ops.logical_not(ops.take_along_axis(allowed, tokens, axis=-1)))
    return ops.where(excluded, UNREACHED, values - normalizer), tokens
