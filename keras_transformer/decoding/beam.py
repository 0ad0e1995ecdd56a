"""Beam search with a length and a coverage penalty. Live and finished hypotheses are kept apart."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import pick
from keras_transformer.decoding.candidates import next_tokens
from keras_transformer.decoding.constraints import allowed_tokens, for_width, taken_over
from keras_transformer.decoding.hypotheses import (
    LOWEST_SCORE,
    UNREACHED,
    Beams,
    Hypotheses,
    concatenate,
    select,
    top,
    write_tokens,
)
from keras_transformer.decoding.loop import Loop, run_search, start_loop
from keras_transformer.decoding.penalties import check_length_penalty, coverage_term, length_divisor
from keras_transformer.decoding.rules import Bounds, Rules, prepare_bounds
from keras_transformer.ids import END, PAD, START


class BeamOptions(NamedTuple):
    """The options of `beam_search`."""

    beam_size: int = 4  # W
    length_penalty: float = 0.6  # α ≥ 0
    length_normalization: str = "gnmt"  # see `length_divisor`
    coverage_penalty: float = 0.0  # β ≥ 0
    rules: Rules = Rules()
    num_results: int = 1  # how many of the W results must be the best ones; an int or a scalar tensor


class BeamBatch(NamedTuple):
    """What the loop knows about each sentence."""

    rows: Any  # (B,) int32: its place in the batch
    done: Any  # (B,) bool: no live hypothesis can win any more
    bounds: Bounds
    divisor_at_limit: Any  # (B,) float32: the length divisor of a hypothesis as long as the limit
    last: Any  # (B, W') int32: the live hypotheses' latest tokens
    live: Beams  # not closed yet: one at first, then W; their scores are their log-probabilities
    finished: Beams  # W closed by END
    coverage: Any  # (B, W', S) float32: attention that the live ones paid to each source token; () if unused
    constraint: Any  # the live ones' states of the constraint, a nest of (B, W', ...); () if unused

    @property
    def room(self):
        return ops.shape(self.live.ids)[2]

    def with_room(self, more):
        return self._replace(live=self.live.with_room(more), finished=self.finished.with_room(more))


class Extensions(NamedTuple):
    """The 2W likeliest one-token extensions of the live hypotheses, in order of falling log-probability."""

    log_probabilities: Any  # (B, 2W) float32, of the whole hypothesis
    parents: Any  # (B, 2W) int32: the live hypothesis that each one extends
    tokens: Any  # (B, 2W) int32


def extend(decoder, loop, options):
    """The loop one token later, with W live hypotheses, made from one or W."""
    batch, length = loop.batch, loop.position + 1
    logits, state = decoder.step(batch.last, loop.state)
    extensions = likeliest_extensions(logits, loop, options)
    coverage = batch.coverage
    if options.coverage_penalty:
        coverage = ops.where(batch.done[:, None, None], coverage, coverage + decoder.attention(state))  # (B, W', S)
    finished = add_finished(batch, extensions, coverage, length, options)
    live, parents, last = continue_live(batch, extensions, loop.position, options.beam_size)
    if options.coverage_penalty:
        coverage = pick(coverage, parents)
    decided = is_decided(live, finished, batch.divisor_at_limit, options)
    done = ops.logical_or(ops.logical_or(batch.done, decided), ops.greater_equal(length, batch.bounds.limits))
    constraint = taken_over(options.rules.constraint, batch.constraint, parents, last)
    batch = batch._replace(done=done, last=last, live=live, finished=finished, coverage=coverage, constraint=constraint)
    return Loop(length, batch, decoder.reorder(state, parents))


def likeliest_extensions(logits, loop, options):
    """The `Extensions` of W' live hypotheses, given the next token's logits (B, W', V).

    At most W of them end, so at least W stay live.
    """
    live, wanted = loop.batch.live, 2 * options.beam_size
    width = live.ids.shape[1]
    rules, bounds = options.rules, loop.batch.bounds
    allowed = allowed_tokens(rules.constraint, loop.batch.constraint, loop.position, bounds.limits)
    gains, tokens = next_tokens(logits, live.ids, loop.position, wanted, rules, bounds, allowed)
    missing = -(-wanted // width) - tokens.shape[-1]  # a vocabulary may have fewer tokens than wanted
    if missing > 0:
        gains = ops.pad(gains, ((0, 0), (0, 0), (0, missing)), constant_values=UNREACHED)
        tokens = ops.pad(tokens, ((0, 0), (0, 0), (0, missing)), constant_values=PAD)
    choices = tokens.shape[-1]
    log_probabilities = ops.reshape(live.log_probabilities[:, :, None] + gains, (-1, width * choices))
    log_probabilities, places = top(log_probabilities, wanted)  # (B, 2W)
    tokens = pick(ops.reshape(tokens, (-1, width * choices)), places)
    return Extensions(log_probabilities, places // choices, tokens)


def add_finished(batch, extensions, coverage, length, options):
    """The best W of the finished hypotheses and of the extensions that end now.

    An END counts only among the W likeliest extensions, as any other token does. So one beam is greedy search.
    """
    log_probabilities, parents, tokens = (x[:, : options.beam_size] for x in extensions)
    closes = ops.logical_and(ops.equal(tokens, END), log_probabilities > LOWEST_SCORE)
    closes = ops.logical_and(closes, ops.logical_not(batch.done)[:, None])

    def with_closed():
        divisor = length_divisor(length, options.length_penalty, options.length_normalization)
        scores = log_probabilities / divisor
        if options.coverage_penalty:
            scores = scores + pick(coverage_term(coverage, options.coverage_penalty), parents)
        ids = write_tokens(pick(batch.live.ids, parents), ops.full_like(parents, END), length - 1)
        closed = Beams(ids, log_probabilities, ops.where(closes, scores, UNREACHED))
        both = concatenate(batch.finished, closed)
        return select(both, top(both.scores, options.beam_size)[1])

    return ops.cond(ops.any(closes), with_closed, lambda: batch.finished)


def continue_live(batch, extensions, position, width):
    """The W likeliest extensions that do not end: `Beams`, their parents and their last tokens (B, W).

    A sentence that is done keeps the hypotheses that it has.
    """
    log_probabilities, chosen = top(
        ops.where(ops.equal(extensions.tokens, END), UNREACHED, extensions.log_probabilities), width
    )
    done = batch.done[:, None]
    before = batch.live.ids.shape[1]
    same = ops.minimum(ops.arange(width, dtype="int32"), before - 1)[None, :]
    parents = ops.where(done, same, pick(extensions.parents, chosen))
    tokens = ops.where(done, PAD, pick(extensions.tokens, chosen))
    unchanged = ops.pad(batch.live.log_probabilities, ((0, 0), (0, width - before)), constant_values=UNREACHED)
    log_probabilities = ops.where(done, unchanged, log_probabilities)
    ids = write_tokens(pick(batch.live.ids, parents), tokens, position)
    return Beams(ids, log_probabilities, log_probabilities), parents, tokens


def is_decided(live, finished, divisor_at_limit, options):
    """Whether no live hypothesis can become one of the sentence's `num_results` best: (B,) bool.

    A live hypothesis can reach at most its log P over the length divisor at the limit.
    """
    worst_result = finished.scores[:, options.num_results - 1]  # (B,)
    if options.beam_size == 1:
        return worst_result > LOWEST_SCORE
    return ops.less_equal(live.log_probabilities[:, 0], ops.maximum(worst_result * divisor_at_limit, LOWEST_SCORE))


def results(loop, options):
    """The finished hypotheses, then the live ones, as `Hypotheses`."""
    live, finished, width = loop.batch.live, loop.batch.finished, options.beam_size
    scores = live.log_probabilities / loop.batch.divisor_at_limit[:, None]
    if options.coverage_penalty:
        scores = scores + coverage_term(loop.batch.coverage, options.coverage_penalty)
    cut_off = live._replace(scores=ops.where(live.log_probabilities > LOWEST_SCORE, scores, UNREACHED))
    cut_off = select(cut_off, top(cut_off.scores, width)[1])
    # Ranks: the finished ones in order, then the live ones in order, then those that do not exist.
    order = ops.arange(width, dtype="int32")[None, :]
    ranks = ops.concatenate(
        [
            ops.where(finished.scores > LOWEST_SCORE, order, order + 3 * width),
            ops.where(cut_off.scores > LOWEST_SCORE, order + width, order + 4 * width),
        ],
        axis=1,
    )
    ranks, chosen = top(-ranks, width)
    beams = select(concatenate(finished, cut_off), chosen)
    return Hypotheses(beams.ids, beams.scores, beams.log_probabilities, finished=-ranks < width)


def check_options(options, source_mask):
    """Raise ValueError for options that are out of range or do not fit together."""
    width = options.beam_size
    if width < 1:
        raise ValueError(f"beam_size must be at least 1, got {width}.")
    if isinstance(options.num_results, int) and not 1 <= options.num_results <= width:
        raise ValueError(f"num_results must be between 1 and beam_size={width}, got {options.num_results}.")
    if options.coverage_penalty < 0:
        raise ValueError(f"coverage_penalty must not be negative, got {options.coverage_penalty}.")
    if options.coverage_penalty and source_mask is None:
        raise ValueError(
            f"coverage_penalty={options.coverage_penalty} needs a source_mask, which tells tokens from padding."
        )
    check_length_penalty(options.length_penalty, options.length_normalization)


def first_batch(bounds, options, source_mask):
    """The `BeamBatch` before the first token: one empty hypothesis is live, none is finished."""
    size = ops.shape(bounds.limits)[0]

    def empty_beams(count, score):
        scores = ops.full((size, count), score, "float32")
        return Beams(ops.full((size, count, 0), PAD, "int32"), scores, scores)

    coverage = ()
    if options.coverage_penalty:
        padding = ops.cast(ops.logical_not(source_mask), "float32")  # counts as covered
        coverage = padding[:, None, :]
    return BeamBatch(
        rows=ops.arange(size, dtype="int32"),
        done=ops.less(bounds.limits, 1),
        bounds=bounds._replace(constraint=()),
        divisor_at_limit=length_divisor(bounds.limits, options.length_penalty, options.length_normalization),
        last=ops.full((size, 1), START, "int32"),
        live=empty_beams(1, 0.0),
        finished=empty_beams(options.beam_size, UNREACHED),
        coverage=coverage,
        constraint=for_width(bounds.constraint, 1),
    )


def beam_search(decoder, state, bounds, max_length, options=None, source_mask=None, segment=None):
    """Extend the W likeliest live hypotheses token by token, and keep the W best finished ones.

    The score of a hypothesis is log P divided by `length_divisor`, where |Y| counts END. The coverage penalty,
    if there is one, is added. Log P and the coverage can only lower a score, and the divisor only grows. So a live
    hypothesis can reach at most its log P over the divisor at the sentence's limit. A sentence is done when its
    `num_results`-th finished hypothesis has at least that score. With one beam, the first hypothesis that
    finishes is the result, as in greedy search.

    Args:
        decoder, state: see `keras_transformer.decoding`; the state before the first token, for W hypotheses.
        bounds: `Bounds`; the limits are at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        options: `BeamOptions`.
        source_mask: (B, S) bool, True at tokens; needed for the coverage penalty.
        segment: None, or the tokens between two changes of shape; see `loop.run_search`.

    Returns:
        `Hypotheses`: the finished ones first. Where fewer than W finished within the limit, live ones
        follow. They are marked as not finished, and scored with the length divisor at the limit.

    Raises:
        ValueError: an option out of range, or a coverage penalty without `source_mask`.

    Example:
        ```python
        from types import SimpleNamespace
        from keras import ops, random
        from keras_transformer.decoding import BeamOptions, Bounds, beam_search

        table = random.normal((9, 9), seed=1)  # the state: the logits of the next token, after each token
        decoder = SimpleNamespace(
            step=lambda ids, table: (ops.take(table, ids, axis=0), table), reorder=lambda table, parents: table
        )
        print(beam_search(decoder, table, Bounds(ops.array([6, 4])), 6, BeamOptions(beam_size=2)).ids)
        ```
    """
    options = options or BeamOptions()
    check_options(options, source_mask)
    bounds = prepare_bounds(options.rules, bounds)
    # All W hypotheses would begin alike. So one is extended by the first token, and W from then on.
    state = decoder.reorder(state, ops.zeros((ops.shape(bounds.limits)[0], 1), "int32"))
    batch = first_batch(bounds, options, source_mask)
    loop = extend(decoder, start_loop(decoder, batch, state, max_length, segment), options)
    return run_search(
        decoder,
        loop,
        lambda loop: extend(decoder, loop, options),
        lambda loop: results(loop, options),
        max_length,
        segment,
    )
