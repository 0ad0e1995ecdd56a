"""Search over scripted logits, against exhaustive search and a plain restatement in Python."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.decoding import beam_search, greedy_search, length_penalty
from keras_transformer.ids import END, PAD, START

pytestmark = pytest.mark.core

V = 6  # PAD, UNK, START, END and two words
WORDS = (1, 4, 5)
BATCH = 3


def script(seed, end_bias=0.0):
    """Logits that depend on the whole hypothesis: a table indexed by a hash that the state carries."""
    table = np.random.default_rng(seed).normal(size=(BATCH, 101, V)).astype("float32") * 1.7
    table[..., END] += end_bias
    return table


def hashed(code, token):
    return (code * 7 + token + 3) % 101


class Scripted:
    """A step function over `script`, with a state that must be reordered with the hypotheses."""

    def __init__(self, table, width):
        self.table = ops.convert_to_tensor(table)
        self.width = width
        self.batch = table.shape[0]
        self.start = ops.zeros((self.batch * width,), "int32")
        self.calls = 0

    def step(self, ids, code):
        self.calls += 1
        code = hashed(code, ops.reshape(ids, (-1,)))  # (B·W,)
        by_row = ops.reshape(code, (self.batch, self.width))
        return ops.take_along_axis(self.table, by_row[:, :, None], axis=1), code

    @staticmethod
    def reorder(code, rows):
        return ops.take(code, rows, axis=0)


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def log_probability(table, tokens):
    code, total, last = 0, 0.0, START
    for token in tokens:
        code = hashed(code, last)
        total += float(log_softmax(table[code].astype("float64"))[token])
        last = token
    return total


def score(table, tokens, alpha):
    return log_probability(table, tokens) / ((5 + len(tokens)) / 6) ** alpha


def every_translation(table, limit, alpha):
    """All hypotheses closed by END within `limit` tokens, best first: [(score, tokens)]."""
    found = []
    for words in range(limit):
        for body in itertools.product(WORDS, repeat=words):
            tokens = (*body, END)
            found.append((score(table, tokens, alpha), tokens))
    return sorted(found, reverse=True)


def plain_beam(table, limit, width, alpha):
    """The search restated without tensors: live and finished apart, run to the limit."""
    live, finished = [((), 0.0)], []
    for _ in range(limit):
        extended = [
            ((*tokens, token), log_probability(table, (*tokens, token)))
            for tokens, _ in live
            for token in (*WORDS, END)
        ]
        extended = sorted(extended, key=lambda pair: -pair[1])[: 2 * width]
        finished += [(score(table, tokens, alpha), tokens) for tokens, _ in extended[:width] if tokens[-1] == END]
        live = [pair for pair in extended if pair[0][-1] != END][:width]
        if width == 1 and finished:
            break
    return sorted(finished, reverse=True)[:width]


def tokens_of(ids):
    return tuple(int(i) for i in np.trim_zeros(np.asarray(ids), "b"))


def run_beam(table, limits, width, **options):
    scripted = Scripted(table, width)
    found = beam_search(
        scripted.step,
        scripted.reorder,
        scripted.start,
        ops.convert_to_tensor(np.array(limits, "int32")),
        max(limits),
        beam_size=width,
        **options,
    )
    return [np.asarray(ops.convert_to_numpy(x)) for x in found], scripted


def run_greedy(table, limits, **options):
    scripted = Scripted(table, 1)
    limits = np.array(limits, "int32")
    found = greedy_search(scripted.step, scripted.start, ops.convert_to_tensor(limits), int(limits.max()), **options)
    return [np.asarray(ops.convert_to_numpy(x)) for x in found]


def test_length_penalty_by_hand():
    np.testing.assert_allclose(ops.convert_to_numpy(length_penalty(np.array([1, 7, 19]), 0.5)), [1, 2**0.5, 2])
    np.testing.assert_allclose(ops.convert_to_numpy(length_penalty(np.array([3, 40]), 0.0)), [1, 1])


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.3])
def test_a_wide_beam_is_exhaustive_search(alpha):
    table = script(3)
    limits = [4, 2, 3]
    (ids, scores, logs, finished), _ = run_beam(table, limits, width=108, alpha=alpha, num_results=108)
    for row, limit in enumerate(limits):
        expected = every_translation(table[row], limit, alpha)
        assert int(finished[row].sum()) == len(expected)
        np.testing.assert_allclose(scores[row, : len(expected)], [s for s, _ in expected], rtol=2e-5)
        assert [tokens_of(ids[row, i]) for i in range(len(expected))] == [tokens for _, tokens in expected]
        np.testing.assert_allclose(logs[row, 0], log_probability(table[row], expected[0][1]), rtol=2e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_stopping_early_never_misses_the_best(seed, alpha):
    table = script(seed, end_bias=0.5)
    (ids, scores, _, _), _ = run_beam(table, [4, 4, 4], width=108, alpha=alpha)
    for row in range(BATCH):
        best_score, best_tokens = every_translation(table[row], 4, alpha)[0]
        assert tokens_of(ids[row, 0]) == best_tokens
        np.testing.assert_allclose(scores[row, 0], best_score, rtol=2e-5)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_beam_is_the_plain_one(width, seed):
    table = script(seed, end_bias=1.0)
    (ids, scores, _, finished), _ = run_beam(table, [7, 7, 7], width=width, alpha=0.6, num_results=width)
    for row in range(BATCH):
        expected = plain_beam(table[row], 7, width, 0.6)
        kept = int(finished[row].sum())
        assert kept == len(expected)
        np.testing.assert_allclose(scores[row, :kept], [s for s, _ in expected], rtol=2e-5)
        assert [tokens_of(ids[row, i]) for i in range(kept)] == [tokens for _, tokens in expected]


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_likeliest_token(seed):
    table = script(seed)
    ids, scores, logs, finished = run_greedy(table, [9, 5, 1])
    for row, limit in enumerate([9, 5, 1]):
        tokens, code, last = [], 0, START
        while len(tokens) < limit and last != END:
            code = hashed(code, last)
            choices = table[row, code].copy()
            choices[[PAD, START]] = -np.inf
            last = int(choices.argmax())
            tokens.append(last)
        assert tokens_of(ids[row, 0]) == tuple(tokens)
        assert bool(finished[row, 0]) == (tokens[-1] == END)
        np.testing.assert_allclose(logs[row, 0], log_probability(table[row], tokens), rtol=2e-5)
        np.testing.assert_allclose(scores[row, 0], score(table[row], tokens, 0.6), rtol=2e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(seed, alpha):
    table = script(seed, end_bias=0.7)
    (ids, scores, _, finished), _ = run_beam(table, [8, 3, 6], width=1, alpha=alpha)
    greedy = run_greedy(table, [8, 3, 6], alpha=alpha)
    np.testing.assert_array_equal(ids, greedy[0])
    np.testing.assert_allclose(scores, greedy[1], rtol=1e-6)
    np.testing.assert_array_equal(finished, greedy[3])


def test_a_batch_is_its_sentences():
    table = script(5)
    limits = [7, 2, 5]
    together, _ = run_beam(table, limits, width=3, num_results=3)
    for row, limit in enumerate(limits):
        alone, _ = run_beam(table[row : row + 1], [limit], width=3, num_results=3)
        np.testing.assert_array_equal(together[0][row, :, :limit], alone[0][0])
        np.testing.assert_allclose(together[1][row], alone[1][0], rtol=1e-6)
        assert not together[0][row, :, limit:].any()


def test_what_never_ends_is_cut_at_the_limit_and_says_so():
    table = script(1, end_bias=-60.0)
    (ids, scores, logs, finished), _ = run_beam(table, [3, 3, 3], width=2, num_results=2, alpha=0.6)
    assert not finished.any()
    assert (ids != PAD).all()
    np.testing.assert_allclose(scores, logs / (8 / 6) ** 0.6, rtol=1e-6)
    for row in range(BATCH):
        expected = sorted((log_probability(table[row], t) for t in itertools.product(WORDS, repeat=3)), reverse=True)
        np.testing.assert_allclose(logs[row, 0], log_probability(table[row], tokens_of(ids[row, 0])), rtol=2e-5)
        assert logs[row, 0] <= expected[0] + 1e-5


def test_search_stops_when_nothing_live_can_win():
    table = script(2, end_bias=30.0)  # END is all but certain at once
    found, scripted = run_beam(table, [50, 50, 50], width=3)
    assert [tokens_of(row[0]) for row in found[0]] == [(END,)] * BATCH
    assert math.isclose(found[1][0, 0], 0.0, abs_tol=1e-6)
    if keras.backend.backend() == "tensorflow":  # JAX traces the step once, however often it runs
        assert scripted.calls == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"beam_size": 0}, "beam_size must be at least 1"),
        ({"beam_size": 2, "num_results": 3}, "num_results must be between 1 and beam_size=2"),
        ({"alpha": -0.1}, "must not be negative"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        beam_search(None, None, None, np.array([1]), 1, **options)
