"""Beam search with live and finished hypotheses kept apart, a length and a coverage penalty."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import pick
from keras_transformer.decoding.candidates import next_tokens
from keras_transformer.decoding.hypotheses import UNREACHED, Hypotheses
from keras_transformer.decoding.loop import Loop, begun, search, with_room
from keras_transformer.decoding.penalties import check_length_penalty, coverage_penalty, length_penalty
from keras_transformer.decoding.rules import Bounds, Rules, checked
from keras_transformer.ids import END, PAD, START

# Below this a score belongs to no hypothesis: the sum of a few UNREACHED and any log-probability.
NOWHERE = UNREACHED / 2


class Beams(NamedTuple):
    """W hypotheses a sentence, in order of falling score."""

    ids: Any  # (B, W, C) int32, C the tokens there is room for
    log_probabilities: Any  # (B, W) float32
    scores: Any  # (B, W) float32

    def with_room(self, more):
        return self._replace(ids=with_room(self.ids, more))


class BeamBatch(NamedTuple):
    """What the loop knows of each sentence."""

    rows: Any  # (B,) int32: its place in the batch
    done: Any  # (B,) bool: nothing live can win any more
    bounds: Bounds
    limit_penalty: Any  # (B,) float32: the length penalty at the limit
    last: Any  # (B, W') int32: the live hypotheses' latest tokens
    live: Beams  # not closed yet: one at first, then W; their scores are their log-probabilities
    finished: Beams  # W closed by END
    coverage: Any  # (B, W', S) float32: attention each source token got from the live ones; () if unused

    @property
    def room(self):
        return ops.shape(self.live.ids)[2]

    def with_room(self, more):
        return self._replace(live=self.live.with_room(more), finished=self.finished.with_room(more))


class BeamOptions(NamedTuple):
    """What the search is asked for; see `beam_search`."""

    beam_size: int = 4
    alpha: float = 0.6
    length: str = "gnmt"
    coverage: float = 0.0
    rules: Rules = Rules()
    num_results: int = 1


def select(beams, indices):
    """The hypotheses at `indices` (B, W')."""
    return Beams(*(pick(x, indices) for x in beams))


def top(scores, k):
    """The k highest of (B, n) and their places, (B, k) each."""
    values, indices = ops.top_k(scores, k)
    return values, ops.cast(indices, "int32")


def joined(first, second):
    return Beams(*(ops.concatenate([a, b], axis=1) for a, b in zip(first, second, strict=True)))


def extended(decoder, loop, options):
    """The loop one token later, with W live hypotheses, out of one or W."""
    width, batch = options.beam_size, loop.batch
    live, bounds, length = batch.live, batch.bounds, loop.position + 1
    before = live.ids.shape[1]
    logits, model = decoder.step(batch.last, loop.model)

    # The 2W likeliest one-token extensions, in order: at most W of them end, so W live ones remain.
    gains, tokens = next_tokens(logits, live.ids, loop.position, 2 * width, options.rules, bounds)
    missing = -(-2 * width // before) - tokens.shape[-1]  # of a vocabulary smaller than that
    if missing > 0:
        gains = ops.pad(gains, ((0, 0), (0, 0), (0, missing)), constant_values=UNREACHED)
        tokens = ops.pad(tokens, ((0, 0), (0, 0), (0, missing)), constant_values=PAD)
    choices = tokens.shape[-1]
    totals = ops.reshape(live.log_probabilities[:, :, None] + gains, (-1, before * choices))
    totals, flat = top(totals, 2 * width)  # (B, 2W)
    parents, tokens = flat // choices, pick(ops.reshape(tokens, (-1, before * choices)), flat)

    coverage = batch.coverage
    if options.coverage:
        coverage = ops.where(batch.done[:, None, None], coverage, coverage + decoder.attention(model))  # (B, W, S)
    ends = ops.equal(tokens, END)
    # An end counts only among the W likeliest extensions, as a word would: so one beam is greedy.
    closes = ops.logical_and(ends[:, :width], totals[:, :width] > NOWHERE)
    closes = ops.logical_and(closes, ops.logical_not(batch.done)[:, None])
    finished = ops.cond(
        ops.any(closes),
        lambda: with_closed(batch, coverage, parents[:, :width], totals[:, :width], closes, length, options),
        lambda: batch.finished,
    )

    scores, chosen = top(ops.where(ends, UNREACHED, totals), width)  # (B, W)
    still = batch.done[:, None]  # a sentence that is done stays as it was
    parents = ops.where(still, ops.minimum(ops.arange(width), before - 1)[None, :], pick(parents, chosen))
    tokens = ops.where(still, PAD, pick(tokens, chosen))
    others = ((0, 0), (0, width - before))
    scores = ops.where(still, ops.pad(live.log_probabilities, others, constant_values=UNREACHED), scores)
    ids = extended_ids(pick(live.ids, parents), tokens, loop.position)
    if options.coverage:
        coverage = pick(coverage, parents)

    least = finished.scores[:, options.num_results - 1]  # (B,)
    if width == 1:
        beaten = least > NOWHERE
    else:  # a live hypothesis can reach its log P over the penalty at the limit
        beaten = ops.less_equal(scores[:, 0], ops.maximum(least * batch.limit_penalty, NOWHERE))
    done = ops.logical_or(ops.logical_or(batch.done, beaten), ops.greater_equal(length, bounds.limits))
    batch = batch._replace(
        done=done, last=tokens, live=Beams(ids, scores, scores), finished=finished, coverage=coverage
    )
    return Loop(length, batch, decoder.reorder(model, parents))


def extended_ids(ids, tokens, position):
    """`ids` (B, W, C) with `tokens` (B, W) at `position`."""
    here = ops.equal(ops.arange(ops.shape(ids)[2]), position)
    return ops.where(here, tokens[:, :, None], ids)


def with_closed(batch, coverage, parents, totals, closes, length, options):
    """The best W of the finished hypotheses and of those that close now, (B, W) each."""
    scores = totals / length_penalty(length, options.alpha, options.length)
    if options.coverage:
        scores = scores + pick(coverage_penalty(coverage, options.coverage), parents)
    ids = extended_ids(pick(batch.live.ids, parents), ops.full_like(parents, END), length - 1)
    both = joined(batch.finished, Beams(ids, totals, ops.where(closes, scores, UNREACHED)))
    return select(both, top(both.scores, options.beam_size)[1])


def results(loop, options):
    """Finished hypotheses, then live ones, as `Hypotheses`."""
    live, finished, width = loop.batch.live, loop.batch.finished, options.beam_size
    reached = live.log_probabilities > NOWHERE
    scores = live.log_probabilities / loop.batch.limit_penalty[:, None]
    if options.coverage:
        scores = scores + coverage_penalty(loop.batch.coverage, options.coverage)
    cut_off = live._replace(scores=ops.where(reached, scores, UNREACHED))
    # Ranks: finished in order, then live in order of score, then those that do not exist.
    is_finished = finished.scores > NOWHERE  # (B, W), True first
    cut_off = select(cut_off, top(cut_off.scores, width)[1])
    order = ops.arange(width)[None, :]
    ranks = ops.concatenate(
        [
            ops.where(is_finished, order, order + 3 * width),
            ops.where(cut_off.scores > NOWHERE, order + width, order + 4 * width),
        ],
        axis=1,
    )
    ranks, chosen = top(-ranks, width)
    beams = select(joined(finished, cut_off), chosen)
    return Hypotheses(beams.ids, beams.scores, beams.log_probabilities, finished=-ranks < width)


def beam_search(decoder, state, bounds, max_length, options=None, source_mask=None, segment=None):
    """Keep the W likeliest live hypotheses, and the best finished ones.

    A hypothesis' score is log P divided by the length penalty, |Y| counting END, plus the coverage
    penalty if there is one. Log P and coverage's share can only lower it and the length penalty only
    grows, so a live hypothesis can score at most its log P over the penalty at the sentence's limit. A
    sentence is done when its `num_results`-th finished hypothesis scores at least that. With one beam
    its single place is taken by the first that finishes, as in greedy search.

    Args:
        decoder, segment: see `keras_transformer.decoding` and `loop.search`.
        state: the decoder's state before the first token.
        bounds: `Bounds`; the limits at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        options: `BeamOptions`: W; α ≥ 0 and the kind of the length penalty; β ≥ 0 of the coverage
            penalty; `Rules`; how many of the W results must be the best, an int or a scalar tensor.
        source_mask: (B, S) bool, True at tokens; for the coverage penalty.

    Returns:
        `Hypotheses`: finished ones first. Where fewer than W finished within the limit, live ones
        follow, marked as not finished and scored with the penalty at the limit.
    """
    options = options or BeamOptions()
    width, limits = options.beam_size, bounds.limits
    if width < 1:
        raise ValueError(f"beam_size must be at least 1, got {width}.")
    if isinstance(options.num_results, int) and not 1 <= options.num_results <= width:
        raise ValueError(f"num_results must be between 1 and beam_size={width}, got {options.num_results}.")
    if options.coverage < 0:
        raise ValueError(f"coverage, a penalty's weight, must not be negative, got {options.coverage}.")
    if options.coverage and source_mask is None:
        raise ValueError(f"coverage={options.coverage} needs source_mask, to know padding.")
    check_length_penalty(options.alpha, options.length)
    bounds = checked(options.rules, bounds)
    size = ops.shape(limits)[0]

    def beams(count, score):
        scores = ops.full((size, count), score)
        return Beams(ops.full((size, count, 0), PAD, "int32"), scores, scores)

    coverage = ()
    if options.coverage:
        padding = ops.cast(ops.logical_not(source_mask), "float32")  # counts as covered
        coverage = padding[:, None, :]
    batch = BeamBatch(
        rows=ops.arange(size),
        done=ops.less(limits, 1),
        bounds=bounds,
        limit_penalty=length_penalty(limits, options.alpha, options.length),
        last=ops.full((size, 1), START, "int32"),
        live=beams(1, 0.0),
        finished=beams(width, UNREACHED),
        coverage=coverage,
    )
    # All W begin alike: the first token is that of one.
    state = decoder.reorder(state, ops.zeros((size, 1), "int32"))
    loop = extended(decoder, begun(decoder, batch, state, max_length, segment), options)
    return search(
        decoder,
        loop,
        lambda loop: extended(decoder, loop, options),
        lambda loop: results(loop, options),
        max_length,
        segment,
    )
