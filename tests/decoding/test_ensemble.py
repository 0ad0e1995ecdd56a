"""Several decoders as one: the mean of their probabilities."""

import numpy as np
import pytest
from keras import ops
from scripted import (
    BATCH,
    Scripted,
    Task,
    assert_is_ranked,
    attention_for,
    bounds_of,
    every_translation,
    numbers,
    plain_beam,
    script,
)

from keras_transformer.decoding import BeamOptions, Ensemble, Rules, beam_search, greedy_search

pytestmark = pytest.mark.core


def run(tables, tasks, width=1, decoder=None, **options):
    """A search with an ensemble of scripted decoders; with one decoder alone where that is given."""
    longest = max(task.limit for task in tasks)
    states = tuple(Scripted.start(table, width, longest) for table in tables)
    decoder, states = (decoder, states[0]) if decoder else (Ensemble(Scripted() for _ in tables), states)
    if width == 1:
        return numbers(greedy_search(decoder, states, bounds_of(tasks), longest, **options))
    return numbers(beam_search(decoder, states, bounds_of(tasks), longest, BeamOptions(width, **options)))


def mean_of(tables):
    """The table of the ensemble, in float64: the hash of a hypothesis is the same for all."""
    tables = np.stack(tables).astype("float64")
    probabilities = np.exp(tables) / np.exp(tables).sum(-1, keepdims=True)
    return np.log(probabilities.mean(0))


@pytest.mark.parametrize("width", [1, 3])
def test_an_ensemble_of_one_is_its_member(width):
    table, tasks = script(1, end_bias=0.5), [Task(7), Task(3), Task(5)]
    alone = run([table], tasks, width, decoder=Scripted())
    for mine, its in zip(run([table], tasks, width), alone, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("width", [1, 3])
def test_an_ensemble_of_the_same_is_one(width, count):
    table, tasks = script(1, end_bias=0.5), [Task(7), Task(3), Task(5)]
    alone, found = run([table], tasks, width), run([table] * count, tasks, width)
    np.testing.assert_array_equal(found.ids, alone.ids)
    np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-5)


def test_probabilities_are_the_members_mean():
    tables = [script(seed) + 40.0 * seed for seed in range(3)]  # what is added to all logits says nothing
    ensemble = Ensemble([Scripted() for _ in tables])
    states = tuple(Scripted.start(table, 2, 9) for table in tables)
    logits, states = ensemble.step(ops.convert_to_tensor(np.full((BATCH, 2), 4, "int32")), states)
    expected = mean_of(tables)[:, [(0 * 7 + 4 + 3)] * 2]
    np.testing.assert_allclose(ops.convert_to_numpy(logits), expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(logits)).sum(-1), np.ones((BATCH, 2)), rtol=1e-5)


def test_members_of_extreme_opinions_give_finite_numbers():
    """One is sure of a token that the other all but rules out: half of its probability is left."""
    first, second = np.zeros((1, 101, 6), "float32"), np.zeros((1, 101, 6), "float32")
    first[..., 4], second[..., 5] = 200.0, 200.0
    ensemble = Ensemble([Scripted(), Scripted()])
    states = (Scripted.start(first, 1, 1), Scripted.start(second, 1, 1))
    logits, _ = ensemble.step(ops.convert_to_tensor([[2]], "int32"), states)
    np.testing.assert_allclose(ops.convert_to_numpy(logits)[0, 0, 4:], np.log([0.5, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(logits)[0, 0, :4], [-200.0] * 4, rtol=1e-6)


def test_attention_is_the_members_mean():
    table = script(1)
    attention = [attention_for(table, seed, 5) for seed in (1, 2)]
    ensemble = Ensemble([Scripted(), Scripted()])
    states = tuple(Scripted.start(table, 2, 9, x) for x in attention)
    _, states = ensemble.step(ops.convert_to_tensor(np.full((BATCH, 2), 4, "int32")), states)
    found = ops.convert_to_numpy(ensemble.attention(states))
    np.testing.assert_allclose(found, np.mean(attention, axis=0)[:, [7, 7]], rtol=1e-6)


@pytest.mark.parametrize("num_results", [1, 108])
def test_ensemble_prefix_minimum_suppressed_and_n_best_together(num_results):
    tables = [script(seed, end_bias=0.5) for seed in (4, 5)]
    tasks, rules = [Task(5, 4, (4,)), Task(4, 3), Task(5, 0, (5, 1))], Rules(suppressed=(1,), no_repeat_ngram=2)
    found = run(tables, tasks, 108, num_results=num_results, rules=rules)
    for row, (table, task) in enumerate(zip(mean_of(tables), tasks, strict=True)):
        expected = every_translation(table, task, rules)
        assert len(expected) > 1
        if num_results == 1:
            assert tuple(found.ids[row, 0, : len(expected[0][1])]) == expected[0][1]
        else:
            assert_is_ranked(found, row, expected)


@pytest.mark.parametrize("width", [2, 3])
def test_a_narrow_beam_is_the_plain_one(width):
    tables, tasks = [script(seed, end_bias=0.5) for seed in (6, 7, 8)], [Task(7), Task(3), Task(5, 4)]
    found = run(tables, tasks, width, num_results=width)
    for row, (table, task) in enumerate(zip(mean_of(tables), tasks, strict=True)):
        assert_is_ranked(found, row, plain_beam(table, task, width)[0])


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ValueError, match="at least one decoder, got none"):
        Ensemble([])
