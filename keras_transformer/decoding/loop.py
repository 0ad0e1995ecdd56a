"""The loop of every search: step after step, with pauses in which memory follows the need."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.ids import PAD

# The batch is made smaller as soon as no more than this share of it is still searched.
STILL_OPEN = 0.75


class Loop(NamedTuple):
    """The variables of a search."""

    position: Any  # () int32: tokens in each live hypothesis
    batch: Any  # a nest of tensors (B, ...), with the fields `rows`, the sentences' places in the batch, and `done`
    model: Any  # the decoder's state


def repeat(condition, body, loop):
    """`ops.while_loop` over a `Loop`."""
    return Loop(*ops.while_loop(lambda *v: condition(Loop(*v)), lambda *v: body(Loop(*v)), loop))


def with_room(ids, more):
    """Hypotheses (B, W, C) int32 -> (B, W, C + more)."""
    return ops.pad(ids, ((0, 0), (0, 0), (0, more)), constant_values=PAD)


def begun(decoder, batch, model, max_length, segment):
    """The `Loop` before the first token, with room for all of them, or for a segment's."""
    if segment is None:
        room = max_length
    elif segment < 1:
        raise ValueError(f"segment must be at least 1, got {segment}.")
    else:
        room = max_length * 0 + segment  # a tensor in a graph, so that the shape is not taken for fixed
        model = decoder.grow(model, room)
    return Loop(ops.zeros((), "int32"), batch.with_room(room), model)


def any_open(loop):
    return ops.logical_not(ops.all(loop.batch.done))


def mostly_open(loop):
    return ops.mean(ops.cast(loop.batch.done, "float32")) < 1 - STILL_OPEN


def search(decoder, loop, extend, results, max_length, segment=None):
    """Extend all hypotheses until every sentence is done.

    Args:
        decoder: see `keras_transformer.decoding`.
        loop: a `Loop` that `begun` has made. Its batch also has `room`, how many tokens its ids have room
            for, and `with_room(more)`, which makes more.
        extend: a function from `Loop` to the `Loop` one token later.
        results: a function from `Loop` to the `Hypotheses` of its sentences.
        max_length: L.
        segment: None for a state that has room for all tokens, and shapes that never change. Otherwise
            the state given to `begun` has room for none, grows by this many tokens at a time as the hypotheses do, and
            leaves out sentences as they are done; shapes must not be static then.

    Returns:
        `Hypotheses` of all sentences, in their order.
    """
    if segment is None:
        return results(repeat(any_open, extend, loop))

    def write(found, loop):
        whole = found._replace(ids=with_room(found.ids, loop.batch.room - ops.shape(found.ids)[2]))
        pairs = zip(whole, results(loop), strict=True)
        return Hypotheses(*(ops.scatter_update(x, loop.batch.rows[:, None], part) for x, part in pairs))

    def without_done(found, loop):
        rows = ops.cast(ops.nonzero(ops.logical_not(loop.batch.done))[0], "int32")
        batch = keras.tree.map_structure(lambda x: take_rows(x, rows), loop.batch)
        return write(found, loop), Loop(loop.position, batch, decoder.keep(loop.model, rows))

    def grown(loop):
        return Loop(loop.position, loop.batch.with_room(segment), decoder.grow(loop.model, segment))

    def run_on(found, loop):
        """Until a good part is done, or no room is left."""
        found, loop = ops.cond(mostly_open(loop), lambda: (found, loop), lambda: without_done(found, loop))
        loop = ops.cond(loop.position < loop.batch.room, lambda: loop, lambda: grown(loop))
        room = loop.batch.room
        return found, repeat(lambda x: ops.logical_and(mostly_open(x), x.position < room), extend, loop)

    found, loop = ops.while_loop(lambda found, loop: any_open(loop), run_on, (results(loop), loop))
    found = write(found, loop)
    ids = found.ids[:, :, :max_length]
    return found._replace(ids=with_room(ids, max_length - ops.shape(ids)[2]))
