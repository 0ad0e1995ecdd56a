"""The state of decoding between steps: kept, grown and reordered. Steps are compared with the whole model."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import values

from keras_transformer import Transformer
from keras_transformer.backend import kernels
from keras_transformer.ids import START
from keras_transformer.incremental import IncrementalDecoder

pytestmark = pytest.mark.core

V = 23
SOURCE = np.array([[5, 6, 7, 22, 3], [9, 8, 3, 0, 0], [11, 3, 0, 0, 0], [4, 4, 9, 3, 0]], "int32")
STEPS = 5
MOST_ROWS = 3 * len(SOURCE)  # of the sentences with up to three hypotheses


def make_model(**changes):
    """A model whose weights have all been changed from their initial values."""
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 2, "d_model": 12, "num_heads": 3, "d_ff": 17}
    model = Transformer(**{"vocabulary_size": V, **sizes, "d_k": 5, "d_v": 2, **changes})
    rng = np.random.default_rng(0)
    model.set_weights([weight + rng.normal(size=weight.shape) / 3 for weight in model.get_weights()])
    return model


class Plan:
    """Random ids and reorderings, and the resulting history of each hypothesis."""

    def __init__(self, width):
        self.rng, self.width = np.random.default_rng(width), width
        self.history = np.zeros((len(SOURCE), width, 0), "int32")
        self.sentences = np.arange(len(SOURCE))

    def ids(self):
        shape = self.history.shape[:2]
        ids = self.rng.integers(4, V, shape) if self.history.shape[2] else np.full(shape, START)
        self.history = np.concatenate([self.history, ids[:, :, None].astype("int32")], axis=2)
        return ids.astype("int32")

    def parents(self):
        batch = len(self.history)
        choice = self.rng.integers(0, self.width, (batch, self.width))
        self.history = np.take_along_axis(self.history, choice[:, :, None], axis=1)
        return choice.astype("int32")

    def keep(self, sentences):
        self.history, self.sentences = self.history[sentences], self.sentences[sentences]
        return np.array(sentences, "int32")

    def whole(self, model):
        """The logits of the whole model after the last token, (B, W, V).

        Padding after it, and rows that come again, make one shape of all: JAX compiles each shape, which takes long.
        """
        source = np.repeat(SOURCE[self.sentences], self.width, axis=0)
        rows, length = len(source), self.history.shape[2]
        target = np.pad(self.history.reshape(rows, length), [(0, 0), (0, STEPS + 2 - length)])
        source, target = (np.resize(ids, (MOST_ROWS, ids.shape[1])) for ids in (source, target))
        return values(model({"source": source, "target": target}))[:rows, length - 1].reshape(-1, self.width, V)


def make_decoder(**changes):
    return IncrementalDecoder(make_model(**changes))


def start(decoder, width, room, **options):
    memory = decoder.model.encode(SOURCE)
    return decoder.start(memory, ops.convert_to_tensor(SOURCE), room, num_hypotheses=width, **options)


def stepper(decoder):
    """`decoder.step`. On JAX it is one program: each of its operations by itself takes longer to compile."""
    if keras.backend.backend() != "jax":
        return decoder.step
    import jax

    return jax.jit(decoder.step)


every_backend = {"marks": pytest.mark.each_case}  # all changes and growing room; fixed room, and one hypothesis


@pytest.mark.parametrize(
    ("change", "width"),
    [
        pytest.param("all", 3, **every_backend),
        pytest.param("reorder", 1, **every_backend),
        ("all", 1),
        ("reorder", 3),
        *[(change, width) for change in ("keep", "grow") for width in (1, 3)],
    ],
)
def test_steps_after_a_change_equal_the_whole(change, width, window=None):
    decoder, plan = make_decoder(window=window), Plan(width)
    grows = change in ("grow", "all")
    step = stepper(decoder)
    state = start(decoder, width, 0 if grows else STEPS)
    for t in range(STEPS):
        if grows and t % 2 == 0:
            state = decoder.grow(state, 2)
        logits, state = step(ops.convert_to_tensor(plan.ids()), state)
        np.testing.assert_allclose(values(logits), plan.whole(decoder.model), atol=5e-6)
        if change in ("reorder", "all"):
            state = decoder.reorder(state, ops.convert_to_tensor(plan.parents()))
        if change in ("keep", "all") and t in (1, 3):
            state = decoder.keep(state, ops.convert_to_tensor(plan.keep([2, 0, 3] if t == 1 else [1])))


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(("change", "window"), [("all", 3), ("reorder", 3), ("grow", 5), ("all", 1)])
def test_steps_in_a_window_equal_the_whole(change, width, window):
    test_steps_after_a_change_equal_the_whole(change, width, window)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("constant", ["FEW_PRODUCTS", "FEW_OTHER_PRODUCTS", "FEW_IN_A_MATRIX"])
def test_steps_with_the_kernels_for_much_work_equal_the_whole(monkeypatch, constant, width):
    monkeypatch.setattr(kernels, constant, 0)
    test_steps_after_a_change_equal_the_whole("reorder", width)


def test_growing_drops_slots_that_no_hypothesis_needs():
    """After five tokens, all three hypotheses continue the same one. Of 15 slots 5 remain, in two rows of three."""
    decoder, plan = make_decoder(), Plan(3)
    state = start(decoder, 3, STEPS)
    for _ in range(STEPS):
        _, state = decoder.step(ops.convert_to_tensor(plan.ids()), state)
        state = decoder.reorder(state, ops.convert_to_tensor(plan.parents()))
    plan.history = np.repeat(plan.history[:, 1:2], 3, axis=1)
    one = np.ones((len(SOURCE), 3), "int32")
    state = decoder.grow(decoder.reorder(state, ops.convert_to_tensor(one)), 1)
    assert (int(state.filled), int(state.position)) == (2, 5)
    assert state.past.shape == (len(SOURCE), 3, 3, 3)
    logits, _ = decoder.step(ops.convert_to_tensor(plan.ids()), state)
    np.testing.assert_allclose(values(logits), plan.whole(decoder.model), atol=5e-6)


def test_with_a_window_the_cache_stops_growing():
    """A window of 5 has room for three tokens of the past. All of them stay when room for two more is made."""
    decoder, plan = make_decoder(window=5), Plan(1)
    state, rooms, step = start(decoder, 1, 0), [], stepper(decoder)
    for t in range(10):
        if t % 2 == 0:
            state = decoder.grow(state, 2)
        _, state = step(ops.convert_to_tensor(plan.ids()), state)
        rooms.append((state.past.shape[2], int(ops.sum(ops.cast(state.past, "int32"))) // len(SOURCE)))
    assert rooms == [(2, 1), (2, 2), (4, 3), (4, 3), *[(5, 3)] * 6]


def test_the_room_of_no_sentences_grows():
    decoder = make_decoder(window=3)
    state = decoder.keep(start(decoder, 3, 2), ops.zeros((0,), "int32"))
    assert decoder.grow(state, 2).past.shape == (0, 3, 2, 3)


def test_windows_that_differ_are_refused():
    model = make_model(window=3)
    model.decoder.layers[1].self_attention.window = 5
    with pytest.raises(
        ValueError, match=r"^cached decoding needs one window for all layers of the decoder, got \[3, 5\]\.$"
    ):
        IncrementalDecoder(model)


@pytest.mark.parametrize("grows", [False, True])
def test_hypotheses_become_more_and_fewer(grows):
    """One hypothesis has the first two tokens. Then three continue it, and at the end two of these."""
    if grows and keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles shapes that do not change, and torch has no rows of size 0 to grow")
    decoder, plan = make_decoder(), Plan(1)
    state = decoder.reorder(start(decoder, 3, 0 if grows else STEPS), ops.zeros((len(SOURCE), 1), "int32"))
    for t in range(STEPS):
        if grows and t % 2 == 0:
            state = decoder.grow(state, 2)
        logits, state = decoder.step(ops.convert_to_tensor(plan.ids()), state)
        np.testing.assert_allclose(values(logits), plan.whole(decoder.model), atol=5e-6)
        if t in (1, 3):
            width = {1: 3, 3: 2}[t]
            parents = np.full((len(SOURCE), width), plan.width // 2, "int32")
            parents[:, 0] = 0
            plan.history, plan.width = np.take_along_axis(plan.history, parents[:, :, None], axis=1), width
            state = decoder.reorder(state, ops.convert_to_tensor(parents))


def test_outside_graphs_a_step_does_not_change_its_state():
    decoder, plan = make_decoder(), Plan(2)
    _, state = decoder.step(ops.convert_to_tensor(plan.ids()), start(decoder, 2, 3))
    ids = ops.convert_to_tensor(plan.ids())
    first, _ = decoder.step(ids, state)
    decoder.step(ids + 1, state)
    again, _ = decoder.step(ids, state)
    np.testing.assert_array_equal(values(again), values(first))


def test_attention_is_the_last_layers_mean_over_heads():
    decoder, plan = make_decoder(), Plan(2)
    state = start(decoder, 2, 3, with_attention=True)
    for _ in range(2):
        _, state = decoder.step(ops.convert_to_tensor(plan.ids()), state)
        found = values(decoder.attention(state))
        source, target = np.repeat(SOURCE, 2, axis=0), plan.history.reshape(8, -1)
        last = target.shape[1] - 1
        target = np.pad(target, [(0, 0), (0, 2 - target.shape[1])])  # one shape of both, as in `Plan.whole`
        expected = values(decoder.model.attention_weights(source, target)["cross"])[-1].mean(1)[:, last]
        np.testing.assert_allclose(found.reshape(8, -1), expected, atol=5e-6)
        parents = plan.parents()
        state = decoder.reorder(state, ops.convert_to_tensor(parents))
    found = np.take_along_axis(found, parents[:, :, None], axis=1)
    kept = values(decoder.attention(decoder.keep(state, ops.convert_to_tensor([3, 1]))))
    np.testing.assert_array_equal(kept, found[[3, 1]])


def graph_of(decoder, width):
    """A graph with two while loops of steps. The second loop has a smaller batch and more room.

    The graph takes the source, the ids and parents (T, B, W) of the first loop, the sentences to keep, and the ids and
    parents of the second loop. It gives the logits of each loop, (T, B, W, V). Hypotheses are reordered only after a
    step.
    """
    import tensorflow as tf

    def steps(state, ids, parents):
        count = tf.shape(ids)[0]
        found = tf.TensorArray(tf.float32, count, element_shape=[None, width, V])

        def body(t, state, found):
            logits, state = decoder.step(ids[t], state)
            return t + 1, decoder.reorder(state, parents[t]), found.write(t, logits)

        _, state, found = tf.while_loop(lambda t, *_: t < count, body, (tf.constant(0), state, found))
        return state, found.stack()

    ids = tf.TensorSpec([None, None, width], tf.int32)
    signature = [tf.TensorSpec([None, None], tf.int32), ids, ids, tf.TensorSpec([None], tf.int32), ids, ids]

    def whole(source, first_ids, first_parents, sentences, then_ids, then_parents):
        state = decoder.start(decoder.model.encode(source), source, tf.shape(first_ids)[0] * 0, width)
        state = decoder.grow(state, tf.shape(first_ids)[0])
        state, first = steps(state, first_ids, first_parents)
        state = decoder.grow(decoder.keep(state, sentences), tf.shape(then_ids)[0])
        return first, steps(state, then_ids, then_parents)[1]

    return tf.function(whole, input_signature=signature, autograph=False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow writes to buffers in place")
@pytest.mark.parametrize(("width", "window"), [(1, None), (3, None), (3, 5)])
def test_loops_in_a_graph_equal_the_whole(width, window):
    decoder, plan = make_decoder(window=window), Plan(width)
    expected, fed = ([], []), ([], [])
    sentences = None
    for loop, count in enumerate((3, 4)):
        for _ in range(count):
            ids = plan.ids()
            expected[loop].append(plan.whole(decoder.model))
            fed[loop].append((ids, plan.parents()))
        if loop == 0:
            sentences = plan.keep([3, 0, 2])
    graph = graph_of(decoder, width)
    arguments = [np.stack(x) for pairs in fed for x in zip(*pairs, strict=True)]
    arguments = (SOURCE, *arguments[:2], sentences, *arguments[2:])
    for _ in range(2):  # a second call finds the same buffers as the first
        for found, whole in zip(graph(*arguments), expected, strict=True):
            np.testing.assert_allclose(found, np.stack(whole), atol=5e-6)
