"""Greedy search and sampling: each hypothesis is extended independently of the others."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.decoding.candidates import next_tokens
from keras_transformer.decoding.constraints import allowed_tokens, for_width
from keras_transformer.decoding.hypotheses import Hypotheses, add_room, write_tokens
from keras_transformer.decoding.loop import Loop, run_search, start_loop
from keras_transformer.decoding.penalties import check_length_penalty, length_divisor
from keras_transformer.decoding.rules import Bounds, Rules, prepare_bounds
from keras_transformer.decoding.sampling import SamplingOptions, check_sampling, draw
from keras_transformer.ids import END, PAD, START


class IndependentBatch(NamedTuple):
    """What the loop knows about each sentence."""

    rows: Any  # (B,) int32: its place in the batch
    done: Any  # (B,) bool: every hypothesis is closed, or the limit is reached
    bounds: Bounds
    last: Any  # (B, W) int32: the latest tokens
    ids: Any  # (B, W, C) int32, C the tokens there is room for
    log_probabilities: Any  # (B, W) float32
    lengths: Any  # (B, W) int32: tokens with END
    finished: Any  # (B, W) bool: closed by END
    random_numbers: Any  # (B, W, L) float32 in [0, 1), one for each token drawn; () for greedy search
    constraint: Any  # the states of the constraint, a nest of (B, W, ...); () if unused

    @property
    def room(self):
        return ops.shape(self.ids)[2]

    def with_room(self, more):
        return self._replace(ids=add_room(self.ids, more))


def extend(decoder, loop, rules, sampling):
    """The loop one token later.

    Args:
        sampling: `SamplingOptions`, or None for the likeliest token.
    """
    batch, bounds = loop.batch, loop.batch.bounds
    logits, state = decoder.step(batch.last, loop.state)
    wanted = 1 if sampling is None else sampling.top_k or logits.shape[-1]
    allowed = allowed_tokens(rules.constraint, batch.constraint, loop.position, bounds.limits)
    gains, tokens = next_tokens(logits, batch.ids, loop.position, wanted, rules, bounds, allowed)
    if sampling is None:
        index = ops.argmax(gains, axis=-1, keepdims=True)
    else:
        index = draw(gains, ops.take(batch.random_numbers, loop.position, axis=2), sampling)
    chosen = ops.arange(tokens.shape[-1], dtype="int32") == index
    token, gain = (ops.sum(ops.where(chosen, x, 0), axis=-1) for x in (tokens, gains))  # (B, W)
    is_open = ops.logical_and(ops.logical_not(batch.finished), ops.less(loop.position, bounds.limits)[:, None])
    token = ops.where(is_open, token, PAD)
    finished = ops.logical_or(batch.finished, ops.equal(token, END))
    length = loop.position + 1
    batch = batch._replace(
        done=ops.logical_or(ops.all(finished, axis=1), ops.greater_equal(length, bounds.limits)),
        last=token,
        ids=write_tokens(batch.ids, token, loop.position),
        log_probabilities=batch.log_probabilities + ops.where(is_open, gain, 0.0),
        lengths=batch.lengths + ops.cast(is_open, "int32"),
        finished=finished,
        constraint=rules.constraint.advance(batch.constraint, token) if rules.constraint else batch.constraint,
    )
    return Loop(length, batch, state)


def search(decoder, state, bounds, max_length, width, rules, sampling, random_numbers, penalty, segment):
    """Greedy search or sampling with W = `width` hypotheses a sentence.

    Args:
        sampling, random_numbers: see `sample`; None and () for greedy search.
        penalty: the length penalty and the length normalization.
        The others: see `greedy_search`.
    """
    check_length_penalty(*penalty)
    rules = rules or Rules()
    bounds = prepare_bounds(rules, bounds)
    size = ops.shape(bounds.limits)[0]
    batch = IndependentBatch(
        rows=ops.arange(size, dtype="int32"),
        done=ops.less(bounds.limits, 1),
        bounds=bounds._replace(constraint=()),
        last=ops.full((size, width), START, "int32"),
        ids=ops.full((size, width, 0), PAD, "int32"),
        log_probabilities=ops.zeros((size, width), "float32"),
        lengths=ops.zeros((size, width), "int32"),
        finished=ops.zeros((size, width), "bool"),
        random_numbers=random_numbers,
        constraint=for_width(bounds.constraint, width),
    )

    def results(loop):
        batch = loop.batch
        scores = batch.log_probabilities / length_divisor(ops.maximum(batch.lengths, 1), *penalty)
        return Hypotheses(batch.ids, scores, batch.log_probabilities, batch.finished)

    return run_search(
        decoder,
        start_loop(decoder, batch, state, max_length, segment),
        lambda loop: extend(decoder, loop, rules, sampling),
        results,
        max_length,
        segment,
    )


def greedy_search(
    decoder,
    state,
    bounds,
    max_length,
    length_penalty=0.6,
    length_normalization="gnmt",
    rules=None,
    segment=None,
):
    """Take the likeliest token until END or the sentence's limit.

    Args:
        decoder, state: see `keras_transformer.decoding`; the state before the first token, for W = 1.
        bounds: `Bounds`; the limits are at least 1.
        max_length: L, the highest of the limits; an int where shapes must be static.
        length_penalty, length_normalization: for the scores, see `length_divisor`.
        rules: `Rules`.
        segment: None, or the tokens between two changes of shape; see `loop.run_search`.

    Returns:
        `Hypotheses` with W = 1.

    Raises:
        ValueError: an argument out of range.

    Example:
        ```python
        from types import SimpleNamespace
        from keras import ops, random
        from keras_transformer.decoding import Bounds, greedy_search

        table = random.normal((9, 9), seed=1)  # the state: the logits of the next token, after each token
        decoder = SimpleNamespace(step=lambda ids, table: (ops.take(table, ids, axis=0), table))
        bounds = Bounds(limits=ops.array([6, 4]))  # two sentences
        print(greedy_search(decoder, table, bounds, max_length=6).ids)
        ```
    """
    penalty = length_penalty, length_normalization
    return search(decoder, state, bounds, max_length, 1, rules, None, (), penalty, segment)


def sample(
    decoder,
    state,
    bounds,
    max_length,
    random_numbers,
    sampling=None,
    length_penalty=0.6,
    length_normalization="gnmt",
    rules=None,
    segment=None,
):
    """Draw W translations of each sentence, token by token.

    Args:
        random_numbers: (B, W, L) float32, uniform in [0, 1). The t-th number of a hypothesis decides its t-th token,
            see `sampling.draw`. The same numbers draw the same tokens.
        sampling: `SamplingOptions`.
        The others: see `greedy_search`; the state is for W hypotheses.

    Returns:
        `Hypotheses` in the order drawn. Their log-probabilities and scores are the model's own, whatever
        the `SamplingOptions`.

    Raises:
        ValueError: an argument out of range.

    Example:
        ```python
        from types import SimpleNamespace
        from keras import ops, random
        from keras_transformer.decoding import Bounds, sample

        table = random.normal((9, 9), seed=1)  # the state: the logits of the next token, after each token
        decoder = SimpleNamespace(step=lambda ids, table: (ops.take(table, ids, axis=0), table))
        numbers = random.uniform((2, 3, 6), seed=2)  # two sentences, three translations, six tokens
        print(sample(decoder, table, Bounds(limits=ops.array([6, 4])), 6, numbers).ids)
        ```
    """
    sampling = sampling or SamplingOptions()
    check_sampling(sampling)
    penalty, width = (length_penalty, length_normalization), random_numbers.shape[1]
    return search(decoder, state, bounds, max_length, width, rules, sampling, random_numbers, penalty, segment)
