"""Search over scripted logits, against exhaustive search and a plain restatement in Python."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops
from scripted import (
    BATCH,
    WORDS,
    Scripted,
    Task,
    assert_is_ranked,
    attention_for,
    coverage_of,
    every_translation,
    log_probability,
    plain_beam,
    plain_greedy,
    run_beam,
    run_greedy,
    score,
    script,
    tokens_of,
)

from keras_transformer.decoding import BeamOptions, Bounds, Rules, beam_search, greedy_search, length_divisor
from keras_transformer.decoding.hypotheses import LOWEST_SCORE
from keras_transformer.decoding.penalties import coverage_term
from keras_transformer.ids import END, PAD

pytestmark = pytest.mark.core

WIDE = 108  # every extension of every hypothesis of up to four tokens
SOURCE_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)


def with_length_penalty(length_penalty=0.6, length_normalization="gnmt"):
    return lambda table, tokens: score(table, tokens, length_penalty, length_normalization)


def with_coverage(attention, row, coverage_penalty):
    def scored(table, tokens):
        return score(table, tokens) + coverage_of(attention[row], SOURCE_MASK[row], tokens, coverage_penalty)

    return scored


def test_length_divisors_by_hand():
    np.testing.assert_allclose(ops.convert_to_numpy(length_divisor(np.array([1, 7, 19]), 0.5)), [1, 2**0.5, 2])
    np.testing.assert_allclose(ops.convert_to_numpy(length_divisor(np.array([3, 40]), 0.0)), [1, 1])
    np.testing.assert_allclose(ops.convert_to_numpy(length_divisor(np.array([1, 4, 9]), 0.5, "power")), [1, 2, 3])


def test_coverage_term_by_hand():
    coverage = np.array([[1.0, 3.0, 0.5], [0.25, 0.5, 1.0]], "float32")
    expected = 0.2 * np.log([0.5, 0.125])
    np.testing.assert_allclose(ops.convert_to_numpy(coverage_term(coverage, 0.2)), expected, rtol=1e-6)
    assert np.isfinite(ops.convert_to_numpy(coverage_term(np.zeros((1, 2), "float32"), 0.2))).all()


@pytest.mark.parametrize(
    "length_penalty, length_normalization", [(0.0, "gnmt"), (0.6, "gnmt"), (1.3, "gnmt"), (1.0, "power")]
)
def test_a_wide_beam_is_exhaustive_search(length_penalty, length_normalization):
    table = script(3)
    limits = [4, 2, 3]
    found = run_beam(
        table,
        limits,
        beam_size=WIDE,
        length_penalty=length_penalty,
        length_normalization=length_normalization,
        num_results=WIDE,
    )
    for row, limit in enumerate(limits):
        expected = every_translation(
            table[row], Task(limit), scored=with_length_penalty(length_penalty, length_normalization)
        )
        assert len(expected) == sum(3**words for words in range(limit))
        assert_is_ranked(found, row, expected)
        best = log_probability(table[row], expected[0][1])
        np.testing.assert_allclose(found.log_probabilities[row, 0], best, rtol=2e-5)


@pytest.mark.parametrize(
    "length_penalty, length_normalization",
    [(0.0, "gnmt"), (0.6, "gnmt"), (2.0, "gnmt"), (0.5, "power"), (1.0, "power")],
)
@pytest.mark.parametrize("seed", range(4))
def test_stopping_early_never_misses_the_best(seed, length_penalty, length_normalization):
    table = script(seed, end_bias=0.5)
    found = run_beam(
        table, [4, 4, 4], beam_size=WIDE, length_penalty=length_penalty, length_normalization=length_normalization
    )
    for row in range(BATCH):
        best_score, best_tokens = every_translation(
            table[row], Task(4), scored=with_length_penalty(length_penalty, length_normalization)
        )[0]
        assert tokens_of(found.ids[row, 0]) == best_tokens
        np.testing.assert_allclose(found.scores[row, 0], best_score, rtol=2e-5)


@pytest.mark.parametrize("num_results", [1, WIDE])
@pytest.mark.parametrize("coverage_penalty", [0.2, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_coverage_counts_what_each_hypothesis_attended_to(seed, coverage_penalty, num_results):
    table = script(seed, end_bias=1.0)
    attention = attention_for(table, seed, SOURCE_MASK.shape[1])
    options = {"beam_size": WIDE, "coverage_penalty": coverage_penalty, "num_results": num_results}
    found = run_beam(table, [4, 4, 3], attention=attention, source_mask=SOURCE_MASK, **options)
    plain = 0
    for row, limit in enumerate([4, 4, 3]):
        expected = every_translation(table[row], Task(limit), scored=with_coverage(attention, row, coverage_penalty))
        plain += expected[0][1] == every_translation(table[row], Task(limit))[0][1]
        if num_results == WIDE:
            assert_is_ranked(found, row, expected)
        assert tokens_of(found.ids[row, 0]) == expected[0][1]
        np.testing.assert_allclose(found.scores[row, 0], expected[0][0], rtol=2e-5)
    assert coverage_penalty < 1 or plain < BATCH  # the penalty decided something


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_beam_with_coverage_is_the_plain_one(width):
    table = script(11, end_bias=0.5)
    attention = attention_for(table, 3, SOURCE_MASK.shape[1])
    options = {"beam_size": width, "coverage_penalty": 0.4, "num_results": width}
    found = run_beam(table, [6, 3, 5], attention=attention, source_mask=SOURCE_MASK, **options)
    for row, limit in enumerate([6, 3, 5]):
        scored = with_coverage(attention, row, 0.4)
        finished, live = plain_beam(table[row], Task(limit), width, scored=scored)
        assert_is_ranked(found, row, finished)
        if width > 1:
            live = sorted((scored(table[row], tokens), tokens) for _, tokens in live)[::-1]
            rest = live[: width - len(finished)]
            assert [tokens_of(ids) for ids in found.ids[row, len(finished) :]] == [tokens for _, tokens in rest]
            np.testing.assert_allclose(found.scores[row, len(finished) :], [s for s, _ in rest], rtol=2e-5)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_beam_is_the_plain_one(width, seed):
    table = script(seed, end_bias=1.0)
    found = run_beam(table, [7, 7, 7], beam_size=width, num_results=width)
    for row in range(BATCH):
        assert_is_ranked(found, row, plain_beam(table[row], Task(7), width)[0])


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_likeliest_token(seed):
    table = script(seed)
    limits = [9, 5, 1]
    found = run_greedy(table, limits)
    for row, limit in enumerate(limits):
        tokens = plain_greedy(table[row], Task(limit))
        assert tokens_of(found.ids[row, 0]) == tokens
        assert bool(found.finished[row, 0]) == (tokens[-1] == END)
        np.testing.assert_allclose(found.log_probabilities[row, 0], log_probability(table[row], tokens), rtol=2e-5)
        np.testing.assert_allclose(found.scores[row, 0], score(table[row], tokens), rtol=2e-5)


@pytest.mark.parametrize(
    "length_penalty, length_normalization", [(0.0, "gnmt"), (0.6, "gnmt"), (2.0, "gnmt"), (1.0, "power")]
)
@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(seed, length_penalty, length_normalization):
    table = script(seed, end_bias=0.7)
    found = run_beam(
        table, [8, 3, 6], beam_size=1, length_penalty=length_penalty, length_normalization=length_normalization
    )
    greedy = run_greedy(table, [8, 3, 6], length_penalty=length_penalty, length_normalization=length_normalization)
    np.testing.assert_array_equal(found.ids, greedy.ids)
    np.testing.assert_allclose(found.scores, greedy.scores, rtol=1e-6)
    np.testing.assert_array_equal(found.finished, greedy.finished)


@pytest.mark.parametrize("coverage_penalty", [0.0, 0.7])
def test_a_batch_is_its_sentences(coverage_penalty):
    """Also what a limit cut off, however long the others go on."""
    table = script(5)
    attention = attention_for(table, 1, SOURCE_MASK.shape[1])
    limits = [7, 2, 5]
    options = {"beam_size": 3, "num_results": 3, "coverage_penalty": coverage_penalty}
    together = run_beam(table, limits, attention=attention, source_mask=SOURCE_MASK, **options)
    assert not together.finished[1].all()
    for row, limit in enumerate(limits):
        one = slice(row, row + 1)
        alone = run_beam(table[one], [limit], attention=attention[one], source_mask=SOURCE_MASK[one], **options)
        np.testing.assert_array_equal(together.ids[row, :, :limit], alone.ids[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-6)
        np.testing.assert_array_equal(together.finished[row], alone.finished[0])
        assert not together.ids[row, :, limit:].any()


def test_what_never_ends_is_cut_at_the_limit_and_says_so():
    table = script(1, end_bias=-60.0)
    found = run_beam(table, [3, 3, 3], beam_size=2, num_results=2, length_penalty=0.6)
    assert not found.finished.any()
    assert (found.ids != PAD).all()
    np.testing.assert_allclose(found.scores, found.log_probabilities / (8 / 6) ** 0.6, rtol=1e-6)
    for row in range(BATCH):
        expected = sorted((log_probability(table[row], t) for t in itertools.product(WORDS, repeat=3)), reverse=True)
        best = found.log_probabilities[row, 0]
        np.testing.assert_allclose(best, log_probability(table[row], tokens_of(found.ids[row, 0])), rtol=2e-5)
        assert best <= expected[0] + 1e-5


@pytest.mark.parametrize("num_results", [1, 3])
def test_search_stops_when_nothing_live_can_win(num_results):
    table = script(2, end_bias=30.0)  # END is all but certain at once
    scripted = Scripted()
    found = run_beam(table, [50] * BATCH, decoder=scripted, beam_size=3, length_penalty=0.0, num_results=num_results)
    assert [tokens_of(row[0]) for row in found.ids] == [(END,)] * BATCH
    assert math.isclose(found.scores[0, 0], 0.0, abs_tol=1e-6)
    if keras.backend.backend() == "tensorflow":  # JAX traces the step once, however often it runs
        assert scripted.calls == {1: 1, 3: 2}[num_results]  # first one hypothesis closes, then three


def test_search_stops_when_nothing_lives():
    scripted = Scripted()
    tasks = [Task(50, prefix=(4, END))] * BATCH
    found = run_beam(script(2), tasks, decoder=scripted, beam_size=3, num_results=3, length_penalty=2.0)
    assert [tokens_of(row[0]) for row in found.ids] == [(4, END)] * BATCH
    assert (found.scores[:, 1:] <= LOWEST_SCORE).all()
    if keras.backend.backend() == "tensorflow":
        assert scripted.calls == 2


def bounds(minimums=(), prefix=()):
    return Bounds(np.array([1]), minimums, prefix)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"beam_size": 0}, "beam_size must be at least 1"),
        ({"beam_size": 2, "num_results": 3}, "num_results must be between 1 and beam_size=2"),
        ({"length_penalty": -0.1}, "length_penalty must not be negative, got -0.1"),
        ({"coverage_penalty": -0.1}, "coverage_penalty must not be negative, got -0.1"),
        ({"coverage_penalty": 0.1}, "coverage_penalty=0.1 needs a source_mask"),
        ({"length_normalization": "log"}, r"length_normalization must be one of \('gnmt', 'power'\), got 'log'"),
        ({"rules": Rules(no_repeat_ngram=-2)}, "no_repeat_ngram must not be negative, got -2"),
        ({"rules": Rules(suppressed=(5, END))}, rf"suppressed must not hold END={END}"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        beam_search(None, None, bounds(), 1, BeamOptions(**options))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"length_penalty": -0.1}, "length_penalty must not be negative, got -0.1"),
        ({"length_normalization": "log"}, r"length_normalization must be one of \('gnmt', 'power'\), got 'log'"),
        ({"rules": Rules(no_repeat_ngram=-2)}, "no_repeat_ngram must not be negative, got -2"),
        ({"rules": Rules(suppressed=(END,))}, rf"suppressed must not hold END={END}"),
        ({"segment": 0}, "segment must be at least 1, got 0"),
    ],
)
def test_wrong_options_of_greedy_search_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        greedy_search(None, None, bounds(), 1, **options)
