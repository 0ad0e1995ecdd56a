"""A constraint decides what may come next, by a state that moves with the hypotheses; against plain Python."""

import itertools
import pickle

import keras
import numpy as np
import pytest
from keras import ops
from scripted import (
    Task,
    assert_is_ranked,
    every_translation,
    log_probability,
    plain_beam,
    plain_greedy,
    run_beam,
    run_greedy,
    run_sample,
    script,
    tokens_of,
)

from keras_transformer.decoding import Constraint, Rules, SamplingOptions
from keras_transformer.ids import END

pytestmark = pytest.mark.core

WORD, OPEN, CLOSE = 1, 4, 5


class Balanced:
    """Brackets balance, and as many words appear as the source has ids."""

    def start(self, source):
        count = ops.sum(ops.cast(source > 0, "int32"), axis=1)
        return {"depth": ops.zeros_like(count), "left": count}

    def allowed(self, state, remaining):
        depth, left, room = state["depth"], state["left"], remaining[:, None]
        needed = depth + left + 1
        nothing = ops.zeros_like(depth, "bool")
        ended = ops.logical_and(depth == 0, left == 0)
        return ops.stack([nothing, left > 0, nothing, ended, needed + 2 <= room, depth > 0], axis=-1)

    def advance(self, state, tokens):
        step = ops.cast(tokens == OPEN, "int32") - ops.cast(tokens == CLOSE, "int32")
        return {"depth": state["depth"] + step, "left": state["left"] - ops.cast(tokens == WORD, "int32")}

    @staticmethod
    def is_whole(tokens, task):
        """By another route: pairs of brackets are taken out, until none is left."""
        *body, last = tokens
        text = "".join({WORD: "w", OPEN: "(", CLOSE: ")"}.get(token, "?") for token in body)
        words, brackets = text.count("w"), text.replace("w", "")
        while "()" in brackets:
            brackets = brackets.replace("()", "")
        return last == END and brackets == "" and words == len(task.source)

    def agrees(self, body, task):
        """Whether some tokens complete `body` within the limit."""
        if END in body:
            return self.is_whole(body, task)
        room = task.limit - len(body) - 1
        rests = (rest for length in range(room + 1) for rest in itertools.product((WORD, OPEN, CLOSE), repeat=length))
        return any(self.is_whole((*body, *rest, END), task) for rest in rests)


RULES = Rules(constraint=Balanced())
TASKS = [Task(6, source=(7, 7)), Task(5, source=(7,)), Task(6)]


def test_a_wide_beam_finds_exactly_the_outputs_that_the_constraint_allows():
    table = script(3, end_bias=-1.0)
    found = run_beam(table, TASKS, beam_size=60, num_results=60, rules=RULES)
    for row, task in enumerate(TASKS):
        everything = [
            (*body, END)
            for length in range(task.limit)
            for body in itertools.product((WORD, OPEN, CLOSE), repeat=length)
            if Balanced.is_whole((*body, END), task)
        ]
        ranked = every_translation(table[row], task, RULES)
        assert {tokens for _, tokens in ranked} == set(everything)
        assert_is_ranked(found, row, ranked)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_beam_is_the_plain_one(width):
    table = script(width, end_bias=0.5)
    found = run_beam(table, TASKS, beam_size=width, num_results=width, rules=RULES)
    for row, task in enumerate(TASKS):
        assert_is_ranked(found, row, plain_beam(table[row], task, width, RULES)[0])


@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_the_plain_one_and_keeps_the_probabilities_of_the_model(seed):
    table = script(seed, end_bias=0.5)
    found = run_greedy(table, TASKS, rules=RULES)
    for row, task in enumerate(TASKS):
        tokens = plain_greedy(table[row], task, RULES)
        assert tokens_of(found.ids[row, 0]) == tokens and found.finished[row, 0]
        np.testing.assert_allclose(found.log_probabilities[row, 0], log_probability(table[row], tokens), rtol=2e-5)


def test_greedy_search_is_free_as_long_as_the_constraint_agrees():
    tasks = TASKS * 12
    table = script(8, end_bias=1.5, batch=len(tasks))
    free, bound = run_greedy(table, tasks), run_greedy(table, tasks, rules=RULES)
    rows = [
        row
        for row, task in enumerate(tasks)
        if free.finished[row, 0] and Balanced.is_whole(tokens_of(free.ids[row, 0]), task)
    ]
    assert 3 <= len(rows) < len(tasks)
    np.testing.assert_array_equal(free.ids[rows], bound.ids[rows])
    np.testing.assert_allclose(free.scores[rows], bound.scores[rows], rtol=1e-6)


def test_every_sample_keeps_to_the_constraint():
    numbers = np.random.default_rng(1).uniform(size=(3, 20, 6))
    found = run_sample(script(2), TASKS, numbers, SamplingOptions(temperature=3.0), rules=RULES)
    for row, task in enumerate(TASKS):
        outputs = {tokens_of(ids) for ids in found.ids[row]}
        assert len(outputs) > 1
        assert all(Balanced.is_whole(tokens, task) for tokens in outputs)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shapes change between segments")
@pytest.mark.parametrize("segment", [1, 2])
def test_the_state_stays_with_the_sentences_when_others_leave_the_batch(segment):
    tasks = [Task(limit, source=(7,) * words) for limit, words in [(9, 2), (3, 1), (6, 0), (8, 5), (3, 0), (9, 1)]]
    table = script(5, end_bias=0.4, batch=len(tasks))
    numbers = np.random.default_rng(1).uniform(size=(len(tasks), 2, 9))
    searches = [
        lambda segment: run_greedy(table, tasks, segment, rules=RULES),
        lambda segment: run_beam(table, tasks, segment, beam_size=3, num_results=3, rules=RULES),
        lambda segment: run_sample(table, tasks, numbers, None, segment, rules=RULES),
    ]
    for search in searches:
        for mine, whole in zip(search(segment), search(None), strict=True):
            np.testing.assert_array_equal(mine, whole)


def test_the_constraint_comes_before_a_prefix_and_other_rules():
    table = script(1)
    tasks = [Task(6, prefix=(OPEN, WORD), source=(7,)), Task(6, prefix=(CLOSE,), source=(7,)), Task(6, source=(7,))]
    for found in (run_beam(table, tasks, beam_size=2, rules=RULES), run_greedy(table, tasks, rules=RULES)):
        assert tokens_of(found.ids[0, 0])[:2] == (OPEN, WORD)
        assert list(found.scores[:, 0] > -1e8) == [True, False, True]  # no output begins with CLOSE
    without_words = RULES._replace(suppressed=(WORD,))
    assert (run_greedy(table, TASKS, rules=without_words).scores[:, 0] > -1e8).tolist() == [False, False, True]
    early = [task._replace(minimum=4) for task in TASKS]
    found = run_beam(table, early, beam_size=2, rules=RULES)
    assert all(Balanced.is_whole(tokens_of(ids[0]), task) for ids, task in zip(found.ids, early, strict=True))


def test_an_object_with_the_three_functions_is_a_constraint():
    assert isinstance(Balanced(), Constraint) and not isinstance(object(), Constraint)
    assert isinstance(pickle.loads(pickle.dumps(Balanced())), Constraint)
