"""How a token is drawn by chance: temperature, the k likeliest, the likeliest that reach a probability together."""

import math
from numbers import Real
from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import top_k
from keras_transformer.decoding.hypotheses import LOWEST_SCORE

# Positive numbers of float32: the smallest that no processor takes for 0, and the largest.
SMALLEST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


class SamplingOptions(NamedTuple):
    """How `sample` draws the next token."""

    temperature: Any = 1.0  # logits are divided by it; a number, or () float32
    top_k: int = 0  # draw among the k likeliest tokens; 0 is all
    top_p: Any = 1.0  # draw among the likeliest tokens that reach this probability together; a number, or () float32


def check_sampling(options):
    """Raise ValueError for a number of `SamplingOptions` that is out of range. Tensors are not checked."""
    if isinstance(options.temperature, Real) and not SMALLEST <= options.temperature <= LARGEST:
        raise ValueError(f"temperature must be positive and finite in float32, got {options.temperature}.")
    if options.top_k < 0:
        raise ValueError(f"top_k must not be negative, got {options.top_k}.")
    if isinstance(options.top_p, Real) and not SMALLEST <= options.top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1] in float32, got {options.top_p}.")


def draw(log_probabilities, random_numbers, options):
    """The candidate that each hypothesis draws.

    The candidates share the interval [0, 1) by their probabilities, the likeliest first. The one whose share holds
    the random number is drawn.

    Args:
        log_probabilities: (B, W, k) of the candidates, UNREACHED where a token is excluded.
        random_numbers: (B, W) in [0, 1).
        options: `SamplingOptions`.

    Returns:
        Indices (B, W, 1) into k.
    """
    count = log_probabilities.shape[-1]
    ranked, order = top_k(log_probabilities, count)  # (B, W, k), best first
    scaled = (ranked - ranked[:, :, :1]) / options.temperature  # the likeliest is 0, even where others overflow
    # Excluded tokens get -inf after the division: a high temperature would raise UNREACHED to a probability.
    shares = ops.softmax(ops.where(ranked < LOWEST_SCORE, -math.inf, scaled))
    if options.top_k:
        shares = ops.where(ops.arange(count, dtype="int32") < options.top_k, shares, 0.0)
        shares = shares / ops.sum(shares, axis=-1, keepdims=True)
    ends = ops.cumsum(shares, axis=-1)
    if not (isinstance(options.top_p, int | float) and options.top_p == 1):
        shares = ops.where(ends - shares < options.top_p, shares, 0.0)  # the first is always kept
        ends = ops.cumsum(shares, axis=-1)
    before = ends <= random_numbers[:, :, None] * ends[:, :, -1:]  # shares that end before the random number
    index = ops.sum(ops.cast(before, "int32"), axis=-1, keepdims=True)
    last = ops.sum(ops.cast(shares > 0, "int32"), axis=-1, keepdims=True) - 1
    return ops.take_along_axis(ops.cast(order, "int32"), ops.minimum(index, last), axis=-1)
