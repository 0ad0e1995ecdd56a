"""The likeliest of a large vocabulary, against NumPy."""

import numpy as np
import pytest
from keras import ops
from scripted import Task, assert_is_ranked, plain_beam, plain_greedy, run_beam, run_greedy, script, tokens_of

from keras_transformer.decoding import Rules
from keras_transformer.decoding.candidates import LARGE, block_size, largest, log_normalizer

pytestmark = pytest.mark.core

SIZES = [11, 2053, 2 * 3 * 1000, 10_000]


def test_blocks_divide_the_vocabulary():
    assert [block_size(size, 8) for size in SIZES[1:]] == [None, 24, 40]  # a multiple of 8 near √(size/8)
    assert 6000 % 24 == 10_000 % 40 == 0
    assert block_size(6000, 6000) is None


@pytest.mark.parametrize("kinds", [3, 50, 10**9], ids=["ties", "some ties", "none"])
@pytest.mark.parametrize("k", [1, 2, 7, 11])
@pytest.mark.parametrize("size", SIZES)
def test_largest_is_the_head_of_a_stable_sort(size, k, kinds):
    x = np.random.default_rng(k).integers(0, kinds, (5, size)).astype("float32")
    x[1, -1] = x[2, 0] = x[1, size // 2] = 2e9  # at both ends, and twice
    x[3] = 7.0
    expected = np.argsort(-x, axis=-1, kind="stable")[:, :k]
    values, indices = map(ops.convert_to_numpy, largest(ops.convert_to_tensor(x), k))
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis=-1))


@pytest.mark.parametrize("size", SIZES)
def test_the_normalizer_is_that_of_float64(size):
    x = np.random.default_rng(0).normal(size=(7, size)).astype("float32") * 3
    x[1] = 0.0  # log V
    x[2] += 500.0
    x[3, 4] = x[3].max() + 200.0  # one has all there is
    x[4] -= 500.0
    x[5, [0, 3]] = x[5].max() + 200.0  # two have half each
    exact = x.astype("float64")
    expected = exact.max(-1) + np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1))
    logits = ops.convert_to_tensor(x)
    found = ops.convert_to_numpy(log_normalizer(logits, *largest(logits, 3)))
    np.testing.assert_allclose(found[:, 0], expected, rtol=5e-7, atol=1e-6)


@pytest.mark.parametrize("rules", [Rules(), Rules(suppressed=(7, 9), no_repeat_ngram=1)], ids=["free", "ruled"])
def test_search_in_a_large_vocabulary_is_the_plain_one(rules):
    table = script(4, size=LARGE + 32)
    table[..., 3] += 5.0
    tasks = [Task(3), Task(2, 2), Task(3, 0, (9, 9))]
    found = run_beam(table, tasks, beam_size=2, num_results=2, rules=rules)
    greedy = run_greedy(table, tasks, rules=rules)
    for row, task in enumerate(tasks):
        assert_is_ranked(found, row, plain_beam(table[row], task, 2, rules)[0])
        assert tokens_of(greedy.ids[row, 0]) == plain_greedy(table[row], task, rules)


def test_peaked_logits_give_finite_right_numbers():
    """A gap of 200: the others have e^-200, too little for float32, and a logarithm all the same."""
    table = np.zeros((1, 101, 6), "float32")
    table[..., 4], table[..., 3] = 200.0, 10.0
    found = run_beam(table, [Task(4, prefix=(4, 5))], beam_size=3, num_results=3, length_penalty=0.0)
    assert [tokens_of(ids) for ids in found.ids[0]] == [(4, 5, 3), (4, 5, 4, 3), (4, 5, 4, 4)]
    np.testing.assert_array_equal(found.finished[0], [True, True, False])
    np.testing.assert_allclose(found.log_probabilities[0], [-390.0, -390.0, -200.0], rtol=1e-6)
