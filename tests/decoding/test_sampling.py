"""Sampling: the draws are a function of numbers in [0, 1), so their distribution is counted, not estimated."""

import numpy as np
import pytest
from scripted import (
    BATCH,
    Task,
    choices,
    log_probability,
    log_softmax,
    run_greedy,
    run_sample,
    score,
    script,
    tokens_of,
)

from keras_transformer.decoding import Bounds, Rules, SamplingOptions, sample
from keras_transformer.ids import END, PAD, UNK

pytestmark = pytest.mark.core

GRID = (np.arange(1000) + 0.5) / 1000  # evenly spaced
BY_HAND = {5: 0.5, 4: 0.35, END: 0.1, UNK: 0.05}


def numbers_for(width, length, seed=0):
    return np.random.default_rng(seed).uniform(size=(BATCH, width, length)).astype("float32")


def counts(table, sampling, **options):
    """How often each token is drawn first, from 1000 evenly spaced numbers."""
    found = run_sample(table, [1], GRID.reshape(1, 1000, 1), sampling, **options)
    return np.bincount(found.ids[0, :, 0], minlength=table.shape[-1])


def table_by_hand():
    table = np.full((1, 101, 6), -50.0, "float32")
    for token, probability in BY_HAND.items():
        table[..., token] = np.log(probability)
    return table


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("size", [6, 2053])
def test_tokens_come_as_often_as_they_are_likely(temperature, size):
    table = script(3, batch=1, size=size)
    allowed = choices((), Task(1), size=size)
    logits = table[0, 5, allowed].astype("float64") / temperature  # 5 is START's hash
    expected = np.zeros(size)
    expected[allowed] = np.exp(log_softmax(logits)) * 1000
    assert np.abs(counts(table, SamplingOptions(temperature)) - expected).max() <= 1


@pytest.mark.parametrize(
    "sampling, expected",
    [
        (SamplingOptions(), {5: 500, 4: 350, END: 100, UNK: 50}),
        (SamplingOptions(top_p=0.97), {5: 500, 4: 350, END: 100, UNK: 50}),
        (SamplingOptions(top_p=0.86), {5: 1000 * 50 / 95, 4: 1000 * 35 / 95, END: 1000 * 10 / 95}),
        (SamplingOptions(top_p=0.84), {5: 1000 * 50 / 85, 4: 1000 * 35 / 85}),
        (SamplingOptions(top_p=0.55), {5: 1000 * 50 / 85, 4: 1000 * 35 / 85}),
        (SamplingOptions(top_p=0.4), {5: 1000}),
        (SamplingOptions(top_k=3), {5: 1000 * 50 / 95, 4: 1000 * 35 / 95, END: 1000 * 10 / 95}),
        (SamplingOptions(top_k=2, top_p=0.55), {5: 1000}),  # of two tokens the first has 50 / 85
        (
            SamplingOptions(0.5),
            {5: 1000 * 2500 / 3850, 4: 1000 * 1225 / 3850, END: 1000 * 100 / 3850, UNK: 1000 * 25 / 3850},
        ),
        (SamplingOptions(0.5, top_p=0.6), {5: 1000}),  # and temperature comes before it
        (SamplingOptions(0.5, top_k=2), {5: 1000 * 2500 / 3725, 4: 1000 * 1225 / 3725}),
        (SamplingOptions(top_k=99), {5: 500, 4: 350, END: 100, UNK: 50}),
    ],
)
def test_cuts_by_hand(sampling, expected):
    wanted = np.array([expected.get(token, 0) for token in range(6)])
    found = counts(table_by_hand(), sampling)
    assert np.abs(found - wanted).max() <= 1
    assert not found[wanted == 0].any()


def test_rules_leave_the_rest():
    """Of what is allowed the shares are as before; top_k counts only what is allowed."""
    rules = Rules(suppressed=(5,))
    assert np.abs(counts(table_by_hand(), SamplingOptions(), rules=rules) - [0, 100, 0, 200, 700, 0]).max() <= 1
    found = counts(table_by_hand(), SamplingOptions(top_k=2), rules=rules)
    assert np.abs(found - [0, 0, 0, 1000 * 10 / 45, 1000 * 35 / 45, 0]).max() <= 1


def test_no_temperature_reaches_what_is_forbidden_or_loses_the_likeliest():
    evenly = np.array([0, 250, 0, 250, 250, 250])
    for rules, expected in ((Rules(), evenly), (Rules(suppressed=(5,)), [0, 1000 / 3, 0, 1000 / 3, 1000 / 3, 0])):
        for temperature in (1e9, 3e38):
            found = counts(table_by_hand(), SamplingOptions(temperature), rules=rules)
            assert np.abs(found - expected).max() <= 1
    assert counts(table_by_hand(), SamplingOptions(1.2e-38)).tolist() == [0, 0, 0, 0, 0, 1000]


def test_the_second_token_is_drawn_after_the_first():
    """40 x 40 numbers, evenly spaced, for two tokens: the second's share is that of its own hypothesis."""
    table, grid = script(2, batch=1), (np.arange(40) + 0.5) / 40
    random_numbers = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(1, 1600, 2)
    found = run_sample(table, [2], random_numbers)
    firsts = found.ids[0, :, 0]
    for first in (1, 4, 5):
        code = (5 * 7 + first + 3) % 101
        shares = np.exp(log_softmax(table[0, code, [1, 3, 4, 5]].astype("float64")))
        seconds = found.ids[0, firsts == first, 1].reshape(-1, 40)
        assert len(seconds) > 0
        for row in seconds:
            assert np.abs(np.bincount(row, minlength=6)[[1, 3, 4, 5]] - 40 * shares).max() <= 1
    assert (found.ids[0, firsts == END, 1] == PAD).all()


def test_the_same_numbers_draw_the_same():
    table = script(1)
    first, again, other = (run_sample(table, [8, 5, 3], numbers_for(7, 8, seed)) for seed in (0, 0, 1))
    for mine, yours in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert (first.ids != other.ids).any()


def test_each_hypothesis_is_drawn_for_itself():
    table, random_numbers, limits = script(1), numbers_for(7, 8), [8, 5, 3]
    together = run_sample(table, limits, random_numbers)
    for row, limit in enumerate(limits):
        for one in (2, 6):
            alone = run_sample(table[row : row + 1], [limit], random_numbers[row : row + 1, one : one + 1])
            np.testing.assert_array_equal(together.ids[row, one, :limit], alone.ids[0, 0])
            np.testing.assert_allclose(together.scores[row, one], alone.scores[0, 0], rtol=1e-6)
            assert not together.ids[row, one, limit:].any()


@pytest.mark.parametrize(
    "sampling", [SamplingOptions(top_k=1), SamplingOptions(top_p=1e-6), SamplingOptions(0.01, top_k=2)]
)
def test_no_choice_is_greedy(sampling):
    table, tasks = script(4), [Task(8, 3), Task(5, prefix=(4, 5)), Task(3)]
    greedy = run_greedy(table, tasks)
    found = run_sample(table, tasks, numbers_for(4, 8) * 0.999, sampling)
    for width in range(4):
        np.testing.assert_array_equal(found.ids[:, width], greedy.ids[:, 0])
        np.testing.assert_allclose(found.scores[:, width], greedy.scores[:, 0], rtol=1e-6)


@pytest.mark.parametrize("sampling", [SamplingOptions(), SamplingOptions(3.0, top_k=3, top_p=0.95)])
def test_what_is_drawn_keeps_the_rules_and_the_models_probabilities(sampling):
    table, rules = script(8, end_bias=0.5), Rules(suppressed=(UNK,), no_repeat_ngram=2)
    tasks = [Task(9, 5), Task(6, prefix=(5, 1, 5)), Task(4, 4)]
    found = run_sample(
        table, tasks, numbers_for(31, 9), sampling, rules=rules, length_penalty=1.0, length_normalization="power"
    )
    assert len({tokens_of(ids) for ids in found.ids[0]}) > 4
    for row, task in enumerate(tasks):
        for ids, total, scored, finished in zip(
            *(x[row] for x in (found.ids, *found[2:0:-1], found.finished)), strict=True
        ):
            tokens = tokens_of(ids)
            assert all(token in choices(tokens[:i], task, rules) for i, token in enumerate(tokens))
            assert finished == (tokens[-1] == END)
            assert finished or len(tokens) == task.limit
            np.testing.assert_allclose(total, log_probability(table[row], tokens), rtol=2e-5)
            np.testing.assert_allclose(scored, score(table[row], tokens, 1.0, "power"), rtol=2e-5)


@pytest.mark.parametrize("random_numbers", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_numbers_at_the_ends_draw_what_is_allowed(random_numbers):
    found = run_sample(script(1), [Task(4, 4)] * BATCH, np.full((BATCH, 1, 4), random_numbers), rules=Rules((4, 5), 1))
    # UNK once, then nothing is left but an early END
    assert [tokens_of(ids[0]) for ids in found.ids] == [(UNK, END)] * BATCH


@pytest.mark.parametrize(
    "sampling, words",
    [
        (SamplingOptions(temperature=0.0), "temperature must be positive and finite in float32, got 0.0"),
        (SamplingOptions(temperature=float("nan")), "temperature must be positive and finite in float32, got nan"),
        (SamplingOptions(temperature=1e39), r"temperature must be positive and finite in float32, got 1e\+39"),
        (SamplingOptions(temperature=1e-39), "temperature must be positive and finite in float32, got 1e-39"),
        (SamplingOptions(temperature=np.float32("inf")), "temperature must be positive and finite in float32, got inf"),
        (SamplingOptions(top_k=-1), "top_k must not be negative, got -1"),
        (SamplingOptions(top_p=0.0), r"top_p must be in \(0, 1\] in float32, got 0.0"),
        (SamplingOptions(top_p=1e-46), r"top_p must be in \(0, 1\] in float32, got 1e-46"),
        (SamplingOptions(top_p=float("nan")), r"top_p must be in \(0, 1\] in float32, got nan"),
        (SamplingOptions(top_p=1.1), r"top_p must be in \(0, 1\] in float32, got 1.1"),
    ],
)
def test_wrong_options_are_named(sampling, words):
    with pytest.raises(ValueError, match=words):
        sample(None, None, Bounds(np.array([1]), (), ()), 1, np.zeros((1, 1, 1), "float32"), sampling)
