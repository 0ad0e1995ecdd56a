"""The loop of every search. Between segments of steps, memory is adapted to what is still searched."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.decoding.hypotheses import Hypotheses, add_room

# When no more than this share of the batch is still searched, the sentences that are done leave the batch.
OPEN_SHARE = 0.75


class Loop(NamedTuple):
    """The variables of a search."""

    position: Any  # () int32: tokens in each hypothesis that is still extended
    batch: Any  # a nest of tensors (B, ...), with the fields `rows`, the sentences' places in the batch, and `done`
    state: Any  # the decoder's state


def repeat(condition, body, loop):
    """`ops.while_loop` over a `Loop`."""
    return Loop(*ops.while_loop(lambda *v: condition(Loop(*v)), lambda *v: body(Loop(*v)), loop))


def start_loop(decoder, batch, state, max_length, segment):
    """The `Loop` before the first token, with room for all tokens, or for those of a segment."""
    if segment is None:
        room = max_length
    elif segment < 1:
        raise ValueError(f"segment must be at least 1, got {segment}.")
    else:
        room = max_length * 0 + segment  # a tensor in a graph, because the shape is not fixed there
        state = decoder.grow(state, room)
    return Loop(ops.zeros((), "int32"), batch.with_room(room), state)


def any_open(loop):
    """Whether a sentence is still searched."""
    return ops.logical_not(ops.all(loop.batch.done))


def mostly_open(loop):
    """Whether more than `OPEN_SHARE` of the batch is still searched."""
    return ops.mean(ops.cast(loop.batch.done, "float32")) < 1 - OPEN_SHARE


def run_search(decoder, loop, extend, results, max_length, segment=None):
    """Extend all hypotheses until every sentence is done.

    Args:
        decoder: see `keras_transformer.decoding`.
        loop: a `Loop` from `start_loop`. Its batch also has `room`, the number of tokens that its ids have room
            for, and `with_room(more)`, which gives the batch more room.
        extend: a function from a `Loop` to the `Loop` one token later.
        results: a function from a `Loop` to the `Hypotheses` of its sentences.
        max_length: L.
        segment: None: the state has room for all tokens, and no shape changes. An int: the state that
            `start_loop` got has room for no token. It grows by this many tokens at a time, and sentences that
            are done leave the batch. Shapes must not be static then.

    Returns:
        `Hypotheses` of all sentences, in their order.
    """
    if segment is None:
        return results(repeat(any_open, extend, loop))

    def write_results(written, loop):
        """`written`, with the present results of the sentences in the batch."""
        written = written._replace(ids=add_room(written.ids, loop.batch.room - ops.shape(written.ids)[2]))
        pairs = zip(written, results(loop), strict=True)
        return Hypotheses(*(ops.scatter_update(x, loop.batch.rows[:, None], part) for x, part in pairs))

    def drop_done(written, loop):
        rows = ops.cast(ops.nonzero(ops.logical_not(loop.batch.done))[0], "int32")
        batch = keras.tree.map_structure(lambda x: take_rows(x, rows), loop.batch)
        return write_results(written, loop), Loop(loop.position, batch, decoder.keep(loop.state, rows))

    def grow(loop):
        return Loop(loop.position, loop.batch.with_room(segment), decoder.grow(loop.state, segment))

    def run_segment(written, loop):
        """Extend until too many sentences are done, or no room is left."""
        written, loop = ops.cond(mostly_open(loop), lambda: (written, loop), lambda: drop_done(written, loop))
        loop = ops.cond(loop.position < loop.batch.room, lambda: loop, lambda: grow(loop))
        room = loop.batch.room
        return written, repeat(lambda x: ops.logical_and(mostly_open(x), x.position < room), extend, loop)

    written, loop = ops.while_loop(lambda written, loop: any_open(loop), run_segment, (results(loop), loop))
    written = write_results(written, loop)
    ids = written.ids[:, :, :max_length]
    return written._replace(ids=add_room(ids, max_length - ops.shape(ids)[2]))
