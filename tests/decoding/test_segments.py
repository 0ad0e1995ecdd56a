"""Search in segments, between which caches grow and finished sentences are left out: TensorFlow's alone."""

import keras
import numpy as np
import pytest
from keras import ops
from scripted import Scripted, Task, attention_for, bounds_of, numbers, run_beam, run_greedy, run_sample, script

from keras_transformer.decoding import (
    BeamOptions,
    Bounds,
    Ensemble,
    Rules,
    SamplingOptions,
    beam_search,
    greedy_search,
    sample,
)

pytestmark = pytest.mark.core
if keras.backend.backend() != "tensorflow":
    pytest.skip("shapes change between segments", allow_module_level=True)

BATCH = 7
MASK = np.arange(5) < np.array([5, 3, 4, 1, 5, 2, 3])[:, None]
LIMITS = (11, 2, 7, 1, 5, 3, 11)
PREFIXES = ((), (4,), (5, 5, 1), (4, 4), (), (1,), ())
FREE = [Task(limit) for limit in LIMITS]
ASKED = [Task(*row) for row in zip(LIMITS, (0, 3, 2, 0, 5, 0, 8), PREFIXES, strict=True)]
RULES = Rules(suppressed=(1,), no_repeat_ngram=3)
NUMBERS = np.random.default_rng(3).uniform(size=(BATCH, 2, 11)).astype("float32")
TABLE = script(6, end_bias=0.4, batch=BATCH)
ATTENTION = attention_for(TABLE, 2, 5)

SEARCHES = {
    "greedy": lambda segment, tasks=FREE: run_greedy(TABLE, tasks, segment),
    "greedy by rules": lambda segment: run_greedy(TABLE, ASKED, segment, rules=RULES),
    "beam": lambda segment: run_beam(TABLE, FREE, segment, beam_size=3),
    "all of the beam": lambda segment: run_beam(TABLE, FREE, segment, beam_size=3, num_results=3),
    "beam by rules": lambda segment: run_beam(
        TABLE, ASKED, segment, ATTENTION, MASK, beam_size=3, num_results=2, coverage_penalty=0.3, rules=RULES
    ),
    "sampling": lambda segment: run_sample(TABLE, ASKED, NUMBERS, SamplingOptions(0.7, top_k=3, top_p=0.9), segment),
}


def assert_same(found, expected):
    for mine, whole in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, whole)


@pytest.mark.parametrize("segment", [1, 2, 3, 16])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_segments_change_nothing(search, segment):
    assert_same(search(segment), search(None))


class Counting(Scripted):
    """Remembers how many sentences each step had."""

    def __init__(self):
        super().__init__()
        self.sentences = []

    def step(self, ids, state):
        self.sentences.append(int(ops.shape(ids)[0]))
        return super().step(ids, state)


def test_finished_sentences_are_left_out():
    """Sentences that end at their limits: after each step 6, 5, 4, 4, 3, 3, 2, 2, 2, 2 of the seven are open."""
    counting = Counting()
    never_ending = script(6, end_bias=-60.0, batch=BATCH)
    run_beam(never_ending, FREE, 1, decoder=counting, beam_size=2, num_results=2)
    # left out as soon as a quarter of what is still there is done, wherever the segments end
    assert counting.sentences == [7, 7, 5, 5, 5, 3, 3, 2, 2, 2, 2]
    for segment in (3, 16):
        counting = Counting()
        run_beam(never_ending, FREE, segment, decoder=counting, beam_size=2, num_results=2)
        assert counting.sentences == [7, 7, 5, 5, 5, 3, 3, 2, 2, 2, 2]


def in_graph(search):
    """`search` of the table, the mask, the random_numbers and the bounds, as a graph of unknown shapes."""
    import tensorflow as tf

    whole = tf.int32
    specs = [
        tf.TensorSpec([None, *TABLE.shape[1:]]),
        tf.TensorSpec([None, None, None]),
        tf.TensorSpec([None, None], tf.bool),
        tf.TensorSpec([None, 2, None]),
        tf.TensorSpec([None], whole),
        tf.TensorSpec([None], whole),
        tf.TensorSpec([None, None], whole),
    ]

    def traced(table, attention, mask, random_numbers, *bounds):
        longest = tf.maximum(tf.reduce_max(bounds[0]), 1)
        return search(table, attention, mask, random_numbers, Bounds(*bounds), longest)

    return tf.function(traced, input_signature=specs, autograph=False)


def graph_greedy(segment):
    def search(table, attention, mask, random_numbers, bounds, longest):
        state = Scripted.start(table, 1, 0 if segment else longest)
        return greedy_search(Scripted(), state, bounds, longest, rules=RULES, segment=segment)

    return search


def graph_beam(segment):
    options = BeamOptions(3, coverage_penalty=0.3, rules=RULES, num_results=2)

    def search(table, attention, mask, random_numbers, bounds, longest):
        decoder = Ensemble([Scripted(), Scripted()])
        room = 0 if segment else longest
        state = tuple(Scripted.start(t, 3, room, attention) for t in (table, table[:, ::-1]))
        return beam_search(decoder, state, bounds, longest, options, mask, segment)

    return search


def graph_sample(segment):
    def search(table, attention, mask, random_numbers, bounds, longest):
        state = Scripted.start(table, 2, 0 if segment else longest)
        sampling = SamplingOptions(0.7, top_k=3, top_p=0.9)
        return sample(Scripted(), state, bounds, longest, random_numbers, sampling, rules=RULES, segment=segment)

    return search


@pytest.mark.parametrize("search", [graph_greedy, graph_beam, graph_sample])
def test_a_graph_of_unknown_shapes_finds_the_same(search):
    """One graph a segment, for any batch: whole, in part, empty."""
    bounds = bounds_of(ASKED)
    arguments = [np.asarray(x) for x in (TABLE, ATTENTION, MASK, NUMBERS, *bounds[:3])]
    graphs = [in_graph(search(segment)) for segment in (None, 1, 3, 16)]
    for rows in (slice(None), slice(2, 5), slice(0, 0)):
        part = [x[rows] for x in arguments]
        longest = int(max(part[4], default=1))
        inputs = [ops.convert_to_tensor(x) for x in part]
        expected = numbers(search(None)(*inputs[:4], Bounds(*inputs[4:]), longest))
        assert expected.ids.shape[::2] == (len(part[0]), longest)
        for graph in graphs:
            found = numbers(graph(*part))
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.finished, expected.finished)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
