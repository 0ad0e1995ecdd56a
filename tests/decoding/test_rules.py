"""What may be the next token: minimums, prefixes, suppressed tokens, n-grams; against every translation there is."""

import numpy as np
import pytest
from scripted import (
    BATCH,
    Task,
    assert_is_ranked,
    choices,
    every_translation,
    log_probability,
    plain_beam,
    plain_greedy,
    run_beam,
    run_greedy,
    script,
    tokens_of,
)

from keras_transformer.decoding import Rules
from keras_transformer.ids import END, UNK

pytestmark = pytest.mark.core

WIDE = 108
FREE = [Task(4), Task(4), Task(3)]
MINIMUMS = [Task(4, minimum=3), Task(4, minimum=4), Task(3)]
PREFIXES = [Task(4, prefix=(5,)), Task(4, prefix=(4, 4, 1)), Task(3)]
BOTH = [Task(4, 3, (5,)), Task(4, 4, (4, 4)), Task(3, 2)]
CASES = {
    "minimum": (MINIMUMS, Rules()),
    "prefix": (PREFIXES, Rules()),
    "suppressed": (FREE, Rules(suppressed=(4, UNK))),
    "no unigram": (FREE, Rules(no_repeat_ngram=1)),
    "no bigram": (FREE, Rules(no_repeat_ngram=2)),
    "no trigram": ([Task(5), Task(4), Task(5)], Rules(no_repeat_ngram=3)),
    "minimum and prefix": (BOTH, Rules()),
    "prefix against suppressed and unigrams": (PREFIXES, Rules(suppressed=(5, 1), no_repeat_ngram=1)),
    "all": (BOTH, Rules(suppressed=(UNK,), no_repeat_ngram=2)),
    "nothing left but an early END": (
        [Task(4, 4), Task(4, 3, (5, 5)), Task(3)],
        Rules(suppressed=(4,), no_repeat_ngram=1),
    ),
}
every_case = pytest.mark.parametrize("tasks, rules", CASES.values(), ids=CASES.keys())


def long(tasks):
    """The same, with room for five tokens more."""
    return [task._replace(limit=task.limit + 5) for task in tasks]


@every_case
def test_a_wide_beam_finds_every_translation_that_is_allowed(tasks, rules):
    table = script(7, end_bias=0.5)
    # 3^4 hypotheses of four tokens have 4 extensions each; fewer in the other cases
    width = 324 if rules.no_repeat_ngram == 3 else WIDE
    found = run_beam(table, tasks, beam_size=width, num_results=width, rules=rules)
    different = 0
    for row, task in enumerate(tasks):
        expected = every_translation(table[row], task, rules)
        assert_is_ranked(found, row, expected)
        different += expected != every_translation(table[row], Task(task.limit))
    assert different  # the rules decided something


@pytest.mark.parametrize("width", [1, 2, 3])
@every_case
def test_a_narrow_beam_is_the_plain_one(tasks, rules, width):
    tasks = long(tasks)
    table = script(width, end_bias=0.5)
    found = run_beam(table, tasks, beam_size=width, num_results=width, rules=rules)
    for row, task in enumerate(tasks):
        finished, live = plain_beam(table[row], task, width, rules)
        assert_is_ranked(found, row, finished)
        if not finished:
            assert tokens_of(found.ids[row, 0]) == live[0][1]


@pytest.mark.parametrize("seed", range(3))
@every_case
def test_greedy_takes_the_likeliest_that_is_allowed(tasks, rules, seed):
    table, tasks = script(seed, end_bias=0.3), long(tasks)
    found = run_greedy(table, tasks, rules=rules)
    one_beam = run_beam(table, tasks, beam_size=1, rules=rules)
    np.testing.assert_array_equal(found.ids, one_beam.ids)
    np.testing.assert_allclose(found.scores, one_beam.scores, rtol=1e-6)
    for row, task in enumerate(tasks):
        tokens = plain_greedy(table[row], task, rules)
        assert tokens_of(found.ids[row, 0]) == tokens
        np.testing.assert_allclose(found.log_probabilities[row, 0], log_probability(table[row], tokens), rtol=2e-5)


@every_case
def test_a_batch_is_its_sentences(tasks, rules):
    table = script(2)
    together = run_beam(table, tasks, beam_size=2, num_results=2, rules=rules)
    for row, task in enumerate(tasks):
        alone = run_beam(table[row : row + 1], [task], beam_size=2, num_results=2, rules=rules)
        np.testing.assert_array_equal(together.ids[row, :, : task.limit], alone.ids[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_the_minimum_counts_END(width):
    """END is all but certain, so it comes as soon as it may."""
    found = run_beam(script(1, end_bias=30.0), [Task(9, 1), Task(9, 2), Task(9, 7)], beam_size=width)
    assert [len(tokens_of(ids[0])) for ids in found.ids] == [1, 2, 7]
    assert found.finished[:, 0].all()


def test_a_limit_below_the_minimum_wins():
    found = run_beam(script(1, end_bias=30.0), [Task(3, 5)] * BATCH, beam_size=2)
    assert not found.finished.any()
    assert [len(tokens_of(ids[0])) for ids in found.ids] == [3] * BATCH


@pytest.mark.parametrize("width", [1, 3])
def test_a_limit_cuts_a_prefix(width):
    found = run_beam(script(1), [Task(2, prefix=(4, 5, 4)), Task(3, prefix=(4, 5, 4)), Task(4)], beam_size=width)
    assert tokens_of(found.ids[0, 0]) == (4, 5)
    assert tokens_of(found.ids[1, 0]) == (4, 5, 4)
    assert not found.finished[:2].any()


@pytest.mark.parametrize("minimum", [0, 6])
@pytest.mark.parametrize("width", [1, 3])
def test_a_prefix_that_ends_is_the_translation(width, minimum):
    """It is longer than allowed to none, and goes before a minimum."""
    table = script(1)
    found = run_beam(table, [Task(9, minimum, (4, 5, END)), Task(9), Task(9, minimum, (END,))], beam_size=width)
    for row, prefix in ((0, (4, 5, END)), (2, (END,))):
        assert tokens_of(found.ids[row, 0]) == prefix
        np.testing.assert_allclose(found.log_probabilities[row, 0], log_probability(table[row], prefix), rtol=2e-5)
        np.testing.assert_array_equal(found.finished[row], [True] + [False] * (width - 1))


@pytest.mark.parametrize("run", [run_beam, run_greedy])
def test_a_prefix_without_tokens_is_none(run):
    table = script(4)
    # one column, all PAD: what remains of a batch whose other prefixes are done
    asked = run(table, [Task(6), Task(6), Task(6, prefix=(0,))])
    for mine, free in zip(asked, run(table, [6, 6, 6]), strict=True):
        np.testing.assert_array_equal(mine, free)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_n_gram_comes_twice(n):
    """Two words make 8 trigrams, and without the rule 14 tokens hold 12."""
    table = script(9, end_bias=-4.0)
    found = run_beam(table, [14] * BATCH, beam_size=4, num_results=4, rules=Rules((UNK,), n))
    free = run_beam(table, [Task(14, 14)] * BATCH, beam_size=4, num_results=4, rules=Rules((UNK,)))

    def repeats(ids):
        grams = [tokens_of(ids)[i : i + n] for i in range(len(tokens_of(ids)) - n + 1)]
        return len(grams) > len(set(grams))

    assert not any(repeats(ids) for row in range(BATCH) for ids in found.ids[row][found.scores[row] > -1e8])
    assert all(repeats(ids) for row in range(BATCH) for ids in free.ids[row])


def test_the_models_probabilities_stay_its_own():
    """Rules put tokens out of reach; they do not share out what those had."""
    table = script(3, end_bias=20.0)
    found = run_greedy(table, [Task(5, 5)] * BATCH)
    for row in range(BATCH):
        assert found.log_probabilities[row, 0] < -40
        expected = log_probability(table[row], tokens_of(found.ids[row, 0]))
        np.testing.assert_allclose(found.log_probabilities[row, 0], expected, rtol=2e-5)


def test_the_rules_of_this_file_by_hand():
    assert choices((), Task(9)) == [1, 3, 4, 5]
    assert choices((4, 5, 4), Task(9), Rules(no_repeat_ngram=2)) == [1, 3, 4]
    assert choices((4, 5, 4, 5), Task(9), Rules(no_repeat_ngram=3)) == [1, 3, 5]
    assert choices((4,), Task(9, 3), Rules((1,), 1)) == [5]
    assert choices((4, 5), Task(9, 9), Rules((1,), 1)) == [END]
    assert choices((4,), Task(9, prefix=(4, 4)), Rules((4,), 1)) == [4]
