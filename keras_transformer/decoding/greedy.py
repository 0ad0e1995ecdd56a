"""Greedy search: the most likely token, step after step."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.decoding.penalties import length_penalty
from keras_transformer.decoding.rules import next_log_probabilities
from keras_transformer.ids import END, PAD, START


class GreedyState(NamedTuple):
    """The loop's variables."""

    position: Any  # () int32: tokens chosen so far
    last: Any  # (B, 1) int32: the latest token
    ids: Any  # (B, L) int32
    log_probabilities: Any  # (B,) float32
    lengths: Any  # (B,) int32: tokens with END
    finished: Any  # (B,) bool: closed by END
    model: Any  # the step function's state


def greedy_search(step, state, limits, max_length, alpha=0.6):
    """Take the most likely token until END or the sentence's limit.

    Args:
        step: see `keras_transformer.decoding`, with W = 1.
        state: the step function's state before the first token.
        limits: (B,) int32, the most tokens a sentence may get, END included; at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        alpha: α of the length penalty in the reported score.

    Returns:
        `Hypotheses` with W = 1.
    """
    batch = ops.shape(limits)[0]
    slots = ops.arange(max_length)

    def unfinished(loop):
        return ops.any(is_open(loop))

    def is_open(loop):
        return ops.logical_and(ops.logical_not(loop.finished), ops.less(loop.position, limits))

    def extend(loop):
        logits, model = step(loop.last, loop.model)
        log_probabilities = next_log_probabilities(logits[:, 0])  # (B, V)
        best = ops.cast(ops.argmax(log_probabilities, axis=-1), "int32")  # (B,)
        gained = ops.take_along_axis(log_probabilities, best[:, None], axis=-1)[:, 0]
        extended = is_open(loop)
        token = ops.where(extended, best, PAD)
        return GreedyState(
            position=loop.position + 1,
            last=token[:, None],
            ids=ops.where(ops.equal(slots, loop.position)[None, :], token[:, None], loop.ids),
            log_probabilities=loop.log_probabilities + ops.where(extended, gained, 0.0),
            lengths=loop.lengths + ops.cast(extended, "int32"),
            finished=ops.logical_or(loop.finished, ops.equal(token, END)),
            model=model,
        )

    loop = GreedyState(
        position=ops.zeros((), "int32"),
        last=ops.full((batch, 1), START, "int32"),
        ids=ops.full((batch, max_length), PAD, "int32"),
        log_probabilities=ops.zeros((batch,), "float32"),
        lengths=ops.zeros((batch,), "int32"),
        finished=ops.zeros((batch,), "bool"),
        model=state,
    )
    loop = GreedyState(
        *ops.while_loop(lambda *v: unfinished(GreedyState(*v)), lambda *v: extend(GreedyState(*v)), loop)
    )
    scores = loop.log_probabilities / length_penalty(loop.lengths, alpha)
    return Hypotheses(
        ids=loop.ids[:, None, :],
        scores=scores[:, None],
        log_probabilities=loop.log_probabilities[:, None],
        finished=loop.finished[:, None],
    )
