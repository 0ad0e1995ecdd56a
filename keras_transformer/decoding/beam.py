"""Beam search with live and finished hypotheses kept apart, and a length penalty."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.decoding.hypotheses import UNREACHED, Hypotheses
from keras_transformer.decoding.penalties import length_penalty
from keras_transformer.decoding.rules import next_log_probabilities
from keras_transformer.ids import END, PAD, START

# Below this a score belongs to no hypothesis: the sum of a few UNREACHED and any log-probability.
NOWHERE = UNREACHED / 2


class Beams(NamedTuple):
    """W hypotheses a sentence, in order of falling score."""

    ids: Any  # (B, W, L) int32
    log_probabilities: Any  # (B, W) float32
    scores: Any  # (B, W) float32


class BeamState(NamedTuple):
    """The loop's variables."""

    position: Any  # () int32: tokens in each live hypothesis
    last: Any  # (B, W) int32: their latest tokens
    live: Beams  # not closed yet; their scores are their log-probabilities
    finished: Beams  # closed by END; scores with the length penalty
    done: Any  # (B,) bool: nothing live can win any more
    model: Any  # the step function's state


def select(beams, indices):
    """The hypotheses at `indices` (B, W')."""
    return Beams(
        ids=ops.take_along_axis(beams.ids, indices[:, :, None], axis=1),
        log_probabilities=ops.take_along_axis(beams.log_probabilities, indices, axis=1),
        scores=ops.take_along_axis(beams.scores, indices, axis=1),
    )


def best(beams, width):
    """The `width` best hypotheses, best first; of equals the first."""
    return select(beams, ops.top_k(beams.scores, width)[1])


def joined(first, second):
    return Beams(*(ops.concatenate([a, b], axis=1) for a, b in zip(first, second, strict=True)))


def where_open(done, new, old):
    """`new` for sentences still searched, `old` for the others."""
    return Beams(
        ids=ops.where(done[:, None, None], old.ids, new.ids),
        log_probabilities=ops.where(done[:, None], old.log_probabilities, new.log_probabilities),
        scores=ops.where(done[:, None], old.scores, new.scores),
    )


def beam_search(step, reorder, state, limits, max_length, beam_size=4, alpha=0.6, num_results=1):
    """Keep the `beam_size` likeliest live hypotheses, and the best finished ones.

    A hypothesis' score is log P / ((5+|Y|)/6)^α, |Y| counting END. Log P only falls and the penalty
    only grows, so a live hypothesis can score at most its log P over the penalty at the sentence's
    limit. A sentence is done when its `num_results`-th finished hypothesis scores at least that.
    With one beam its single place is taken by the first that finishes, as in greedy search.

    Args:
        step, reorder: see `keras_transformer.decoding`.
        state: the step function's state before the first token.
        limits: (B,) int32, the most tokens a sentence may get, END included; at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        beam_size: W.
        alpha: α ≥ 0.
        num_results: how many of the W results must be the best.

    Returns:
        `Hypotheses`: finished ones first. Where fewer than W finished within the limit, live ones
        follow, marked as not finished and scored with the penalty at the limit.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}.")
    if not 1 <= num_results <= beam_size:
        raise ValueError(f"num_results must be between 1 and beam_size={beam_size}, got {num_results}.")
    if alpha < 0:
        raise ValueError(f"alpha, the length penalty's exponent, must not be negative, got {alpha}.")
    batch = ops.shape(limits)[0]
    slots = ops.arange(max_length)
    first_row = ops.arange(batch)[:, None] * beam_size  # (B, 1)
    limit_penalty = length_penalty(limits, alpha)  # (B,)

    def candidates(loop, log_probabilities):
        """The 2W likeliest one-token extensions, in order: at most W of them end, so W live ones remain."""
        size = log_probabilities.shape[-1]
        totals = loop.live.log_probabilities[:, :, None] + log_probabilities  # (B, W, V)
        totals, flat = ops.top_k(ops.reshape(totals, (batch, beam_size * size)), 2 * beam_size)
        parents, tokens = ops.cast(flat // size, "int32"), ops.cast(flat % size, "int32")  # (B, 2W)
        ids = ops.take_along_axis(loop.live.ids, parents[:, :, None], axis=1)  # (B, 2W, L)
        ids = ops.where(ops.equal(slots, loop.position), tokens[:, :, None], ids)
        return Beams(ids, totals, totals), parents, tokens

    def extend(loop):
        logits, model = step(loop.last, loop.model)
        extended, parents, tokens = candidates(loop, next_log_probabilities(logits))
        length = loop.position + 1
        ends = ops.equal(tokens, END)
        # An end counts only among the W likeliest extensions, as a word would: so one beam is greedy.
        closes = ends & (ops.arange(2 * beam_size) < beam_size) & (extended.log_probabilities > NOWHERE)
        closed_scores = extended.log_probabilities / length_penalty(length, alpha)
        closed = extended._replace(scores=ops.where(closes, closed_scores, UNREACHED))
        finished = where_open(loop.done, best(joined(loop.finished, closed), beam_size), loop.finished)

        open_scores = ops.where(ends, UNREACHED, extended.log_probabilities)
        chosen = ops.top_k(open_scores, beam_size)[1]  # (B, W)
        live = select(extended._replace(scores=open_scores, log_probabilities=open_scores), chosen)
        live = where_open(loop.done, live, loop.live)
        rows = ops.reshape(first_row + ops.take_along_axis(parents, chosen, axis=1), (-1,))  # (B·W,)

        can_reach = ops.max(live.log_probabilities, axis=1) / limit_penalty  # (B,)
        least = finished.scores[:, num_results - 1]
        beaten = least > NOWHERE if beam_size == 1 else ops.greater_equal(least, can_reach)
        return BeamState(
            position=length,
            last=ops.take_along_axis(tokens, chosen, axis=1),
            live=live,
            finished=finished,
            done=ops.logical_or(loop.done, ops.logical_or(beaten, ops.greater_equal(length, limits))),
            model=reorder(model, rows),
        )

    def no_beams(first_score):
        scores = ops.concatenate(
            [ops.full((batch, 1), first_score), ops.full((batch, beam_size - 1), UNREACHED)], axis=1
        )
        return Beams(ops.full((batch, beam_size, max_length), PAD, "int32"), scores, scores)

    loop = BeamState(
        position=ops.zeros((), "int32"),
        last=ops.full((batch, beam_size), START, "int32"),
        live=no_beams(0.0),
        finished=no_beams(UNREACHED),
        done=ops.less(limits, 1),
        model=state,
    )
    loop = BeamState(
        *ops.while_loop(lambda *v: ops.logical_not(ops.all(BeamState(*v).done)), lambda *v: extend(BeamState(*v)), loop)
    )
    return results(loop, limit_penalty, beam_size)


def results(loop, limit_penalty, beam_size):
    """Finished hypotheses, then live ones, as `Hypotheses`."""
    reached = ops.greater(loop.live.log_probabilities, NOWHERE)
    cut_off = loop.live._replace(
        scores=ops.where(reached, loop.live.log_probabilities / limit_penalty[:, None], UNREACHED)
    )
    is_finished = ops.greater(loop.finished.scores, NOWHERE)  # (B, W), True first
    # Ranks: finished in order, then live in order, then those that do not exist.
    order = ops.arange(beam_size)[None, :]
    ranks = ops.concatenate(
        [
            ops.where(is_finished, order, order + 3 * beam_size),
            ops.where(reached, order + beam_size, order + 4 * beam_size),
        ],
        axis=1,
    )
    chosen = ops.top_k(-ranks, beam_size)[1]
    beams = select(joined(loop.finished, cut_off), chosen)
    return Hypotheses(
        ids=beams.ids,
        scores=beams.scores,
        log_probabilities=beams.log_probabilities,
        finished=ops.less(ops.take_along_axis(ranks, chosen, axis=1), beam_size),
    )
