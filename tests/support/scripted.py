"""A decoder of scripted logits, and the search over it restated in plain Python."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_transformer.decoding import BeamOptions, Bounds, Hypotheses, Rules, beam_search, greedy_search, sample
from keras_transformer.ids import END, PAD, START

V = 6  # PAD, UNK, START, END and two words
WORDS = (1, 4, 5)
BATCH = 3
CODES = 101


def script(seed, end_bias=0.0, batch=BATCH, size=V):
    """Logits that depend on the whole hypothesis: a table (B, 101, V), indexed by a hash that the state carries."""
    table = np.random.default_rng(seed).normal(size=(batch, CODES, size)).astype("float32") * 1.7
    table[..., END] += end_bias
    return table


def attention_for(table, seed, length):
    """What each hypothesis attends to, (B, 101, S): some tokens a good deal, most hardly at all."""
    raw = np.random.default_rng(seed).gumbel(size=(*table.shape[:2], length)) * 1.5
    return (np.exp(raw) / np.exp(raw).sum(-1, keepdims=True)).astype("float32")


def hashed(code, token):
    return (code * 7 + token + 3) % CODES


class State(NamedTuple):
    code: Any  # (B, W) int32: the hash of each hypothesis
    table: Any  # (B, 101, V)
    attention: Any  # (B, 101, S)
    position: Any  # () int32
    room: Any  # () int32


class Scripted:
    """A decoder over `script`. Its state must be reordered with the hypotheses and kept with the sentences."""

    def __init__(self):
        self.calls = 0

    @staticmethod
    def start(table, width, room, attention=None):
        table = ops.convert_to_tensor(table)
        attention = (
            ops.zeros((ops.shape(table)[0], CODES, 1)) if attention is None else ops.convert_to_tensor(attention)
        )
        code = ops.zeros((ops.shape(table)[0], width), "int32")
        return State(code, table, attention, ops.zeros((), "int32"), ops.convert_to_tensor(room, "int32"))

    @staticmethod
    def look_up(table, code):
        rows = ops.arange(ops.shape(code)[0])[:, None] * CODES + code
        return ops.take(ops.reshape(table, (-1, ops.shape(table)[2])), rows, axis=0)  # (B, W, V)

    def step(self, ids, state):
        self.calls += 1
        code = hashed(state.code, ids)
        logits = self.look_up(state.table, code)
        logits = ops.where(state.position < state.room, logits, np.nan)  # a step without room is no step
        return logits, state._replace(code=code, position=state.position + 1)

    @staticmethod
    def reorder(state, parents):
        return state._replace(code=ops.take_along_axis(state.code, parents, axis=1))

    @staticmethod
    def keep(state, sentences):
        code, table, attention = (ops.take(x, sentences, axis=0) for x in state[:3])
        return state._replace(code=code, table=table, attention=attention)

    @staticmethod
    def grow(state, more):
        return state._replace(room=state.room + more)

    def attention(self, state):
        return self.look_up(state.attention, state.code)


class Task(NamedTuple):
    """What is asked for one sentence."""

    limit: int
    minimum: int = 0
    prefix: tuple = ()
    source: tuple = ()  # ids that a constraint starts from


def tasks_of(tasks):
    return [task if isinstance(task, Task) else Task(task) for task in tasks]


def padded(rows):
    longest = max(map(len, rows))
    return np.array([(*row, *[PAD] * (longest - len(row))) for row in rows], "int32")


def bounds_of(tasks, rules=None):
    """The tasks' `Bounds`, rules that nobody asks for left out. A constraint starts from each task's source."""
    limits, minimums, prefixes, sources = zip(*tasks, strict=True)
    constraint = rules and rules.constraint
    prefix, source = map(padded, (prefixes, sources))
    return Bounds(
        ops.convert_to_tensor(np.array(limits, "int32")),
        ops.convert_to_tensor(np.array(minimums, "int32")) if any(minimums) else (),
        ops.convert_to_tensor(prefix) if prefix.shape[1] else (),
        constraint.start(ops.convert_to_tensor(source)) if constraint else (),
    )


def numbers(found):
    return Hypotheses(*(np.asarray(ops.convert_to_numpy(x)) for x in found))


def run_beam(table, tasks, segment=None, attention=None, source_mask=None, decoder=None, **options):
    tasks, options = tasks_of(tasks), BeamOptions(**options)
    longest = max(task.limit for task in tasks)
    state = Scripted.start(table, options.beam_size, 0 if segment else longest, attention)
    if source_mask is not None:
        source_mask = ops.convert_to_tensor(source_mask)
    decoder = decoder or Scripted()
    return numbers(beam_search(decoder, state, bounds_of(tasks, options.rules), longest, options, source_mask, segment))


def run_greedy(table, tasks, segment=None, **options):
    tasks = tasks_of(tasks)
    longest = max(task.limit for task in tasks)
    state = Scripted.start(table, 1, 0 if segment else longest)
    bounds = bounds_of(tasks, options.get("rules"))
    return numbers(greedy_search(Scripted(), state, bounds, longest, segment=segment, **options))


def run_sample(table, tasks, random_numbers, sampling=None, segment=None, **options):
    tasks, random_numbers = tasks_of(tasks), np.asarray(random_numbers, "float32")
    longest = max(task.limit for task in tasks)
    state = Scripted.start(table, random_numbers.shape[1], 0 if segment else longest)
    random_numbers = ops.convert_to_tensor(random_numbers)
    bounds = bounds_of(tasks, options.get("rules"))
    found = sample(Scripted(), state, bounds, longest, random_numbers, sampling, segment=segment, **options)
    return numbers(found)


def tokens_of(ids):
    return tuple(int(i) for i in np.trim_zeros(np.asarray(ids), "b"))


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def codes_of(tokens):
    """The hash before each token."""
    return [*itertools.accumulate((START, *tokens[:-1]), hashed, initial=0)][1:]


def log_probability(table, tokens):
    pairs = zip(codes_of(tokens), tokens, strict=True)
    return sum(float(log_softmax(table[code].astype("float64"))[token]) for code, token in pairs)


def score(table, tokens, length_penalty=0.6, length_normalization="gnmt"):
    base = (5 + len(tokens)) / 6 if length_normalization == "gnmt" else len(tokens)
    return log_probability(table, tokens) / base**length_penalty


def coverage_of(attention, source_mask, tokens, coverage_penalty):
    """Equation 14 of Wu et al. 2016, over the tokens of one source."""
    received = sum(attention[code].astype("float64") for code in codes_of(tokens))
    return coverage_penalty * sum(
        np.log(min(a, 1.0)) for a, is_token in zip(received, source_mask, strict=True) if is_token
    )


def choices(body, task, rules=None, size=V):
    """The tokens that may follow `body`. A constraint of a test has `agrees(body, task)`: may it still be completed?"""
    rules = rules or Rules()
    if rules.constraint:
        free = choices(body, task, rules._replace(constraint=None), size)
        return [token for token in free if rules.constraint.agrees((*body, token), task)]
    if len(body) < len(task.prefix):
        return [task.prefix[len(body)]]
    n = rules.no_repeat_ngram
    seen = {body[i : i + n] for i in range(len(body) - n + 1)} if n else set()
    found = []
    for token in range(size):
        early = token == END and len(body) + 1 < task.minimum
        repeats = n and (*body, token)[-n:] in seen and len(body) + 1 >= n
        if not (token in (PAD, START, *rules.suppressed) or early or repeats):
            found.append(token)
    return found or [END]


def every_translation(table, task, rules=None, scored=score):
    """All hypotheses closed by END within the limit, best first: [(score, tokens)]."""
    found, bodies = [], [()]
    while bodies:
        body = bodies.pop()
        for token in choices(body, task, rules, table.shape[-1]):
            if token == END:
                found.append((scored(table, (*body, END)), (*body, END)))
            elif len(body) + 1 < task.limit:
                bodies.append((*body, token))
    return sorted(found, reverse=True)


def plain_beam(table, task, width, rules=None, scored=score):
    """The search restated without tensors: live and finished apart, run to the limit.

    Returns:
        The W best finished, [(score, tokens)], and the W live at the end, [(log P, tokens)].
    """
    live, finished = [(0.0, ())], []
    for _ in range(task.limit):
        extended = [
            (log_probability(table, (*tokens, token)), (*tokens, token))
            for _, tokens in live
            for token in choices(tokens, task, rules, table.shape[-1])
        ]
        extended = sorted(extended, reverse=True)[: 2 * width]
        finished += [(scored(table, tokens), tokens) for _, tokens in extended[:width] if tokens[-1] == END]
        live = [pair for pair in extended if pair[1][-1] != END][:width]
        if width == 1 and finished:
            break
    return sorted(finished, reverse=True)[:width], live


def plain_greedy(table, task, rules=None):
    tokens = ()
    while len(tokens) < task.limit and tokens[-1:] != (END,):
        logits = table[codes_of((*tokens, 0))[-1]]
        tokens = (*tokens, max(choices(tokens, task, rules, table.shape[-1]), key=lambda token: logits[token]))
    return tokens


def assert_is_ranked(found, row, expected, rtol=2e-5):
    """The finished hypotheses of a sentence are `expected`, [(score, tokens)] best first, and no others."""
    count = int(found.finished[row].sum())
    assert [tokens_of(ids) for ids in found.ids[row, :count]] == [tokens for _, tokens in expected]
    np.testing.assert_allclose(found.scores[row, :count], [score for score, _ in expected], rtol=rtol)
