"""The loop of every search: step after step, in segments between which memory follows the need."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.kernels import take_rows

# The batch is made smaller when no more than this share of it is still searched.
STILL_OPEN = 0.75


class Loop(NamedTuple):
    """The variables of a search."""

    position: Any  # () int32: tokens in each live hypothesis
    batch: Any  # a nest of tensors (B, ...), with the fields `rows`, the sentences' places in the batch, and `done`
    model: Any  # the decoder's state


def repeat(condition, body, loop):
    """`ops.while_loop` over a `Loop`."""
    return Loop(*ops.while_loop(lambda *v: condition(Loop(*v)), lambda *v: body(Loop(*v)), loop))


def any_open(loop):
    return ops.logical_not(ops.all(loop.batch.done))


def search(decoder, loop, extend, results, segment=None):
    """Extend all hypotheses until every sentence is done.

    Args:
        decoder: see `keras_transformer.decoding`.
        loop: the `Loop` before the first token.
        extend: a function from `Loop` to the `Loop` one token later.
        results: a function from `Loop` to the `Hypotheses` of its sentences.
        segment: None for a state that has room for all tokens, and shapes that never change. Otherwise
            the state has room for none, grows by this many tokens at a time, and at the same points
            leaves out sentences that are done; shapes must not be static then.

    Returns:
        `Hypotheses` of all sentences, in their order.
    """
    if segment is not None and segment < 1:
        raise ValueError(f"segment must be at least 1, got {segment}.")
    if segment is None:
        return results(repeat(any_open, extend, loop))

    def write(found, loop):
        pairs = zip(found, results(loop), strict=True)
        return Hypotheses(*(ops.scatter_update(whole, loop.batch.rows[:, None], part) for whole, part in pairs))

    def only_open(loop):
        rows = ops.cast(ops.nonzero(ops.logical_not(loop.batch.done))[0], "int32")
        batch = keras.tree.map_structure(lambda x: take_rows(x, rows), loop.batch)
        return loop._replace(batch=batch, model=decoder.keep(loop.model, rows))

    def run_segment(found, loop):
        share = ops.mean(ops.cast(loop.batch.done, "float32"))
        loop = Loop(*ops.cond(share >= 1 - STILL_OPEN, lambda: tuple(only_open(loop)), lambda: tuple(loop)))
        loop = loop._replace(model=decoder.grow(loop.model, segment))
        end = loop.position + segment
        loop = repeat(lambda x: ops.logical_and(any_open(x), ops.less(x.position, end)), extend, loop)
        return write(found, loop), loop

    found, _ = ops.while_loop(
        lambda found, loop: any_open(loop), lambda found, loop: run_segment(found, loop), (results(loop), loop)
    )
    return found
