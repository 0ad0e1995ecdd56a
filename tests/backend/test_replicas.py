"""Two replicas give the same weights, loss and metrics as one, however the tokens are divided between them."""

import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Translator, parallel_corpus
from keras_transformer.training import Checkpoint, Throughput

UNEVEN = [([7, 6, 2, 1], [9, 8, 1, 2]), ([5, 5, 1, 1], [1, 7, 1, 1]), ([3, 8, 2, 2], [9, 9, 1, 3])]
SECOND_HALF_EMPTY = [([7, 6, 0, 0], [9, 8, 0, 0]), ([5, 2, 0, 0], [3, 4, 0, 0]), ([3, 8, 0, 0], [1, 6, 0, 0])]
FEWER_ROWS = [([7, 6, 2, 1], [9, 8, 1, 2]), ([5], [7]), ([3, 8, 2], [9, 9, 1])]  # one replica has fewer rows, or none


def dataset(lengths):
    """One global batch a step. A strategy gives the first half of its rows to one replica, the rest to the other."""
    rng = np.random.default_rng(3)
    batches = [tiny.random_batch(rng, *rows) for rows in lengths]
    ids = tf.TensorSpec((None, None), tf.int32)  # one shape for all batches: the step is traced once
    data = tf.data.Dataset.from_generator(lambda: batches, output_signature=({"source": ids, "target": ids}, ids))
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))


@functools.cache
def traced(strategy):
    """A compiled model, the variables of model and optimizer, and their first values. `train` begins with these."""
    keras.utils.set_random_seed(5)
    with strategy.scope():
        model = tiny.compiled(tiny.make_model(), keras.optimizers.SGD(0.1))
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    return model, variables, [keras.ops.convert_to_numpy(variable) for variable in variables]


def train(strategy, lengths):
    """The weights after three steps, and the logs of `fit`."""
    model, variables, first = traced(strategy)
    for variable, value in zip(variables, first, strict=True):
        variable.assign(value)
    logs = model.fit(dataset(lengths), epochs=1, verbose=0, shuffle=False).history
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights], logs


@pytest.mark.parametrize(
    "lengths", [UNEVEN, SECOND_HALF_EMPTY, FEWER_ROWS], ids=["uneven", "second half empty", "fewer rows"]
)
def test_two_replicas_are_one(lengths):
    """With SGD, whose steps have the size of the gradients. `test_accumulation.py` and `test_adam.py` have Adam."""
    weights, logs = train(tiny.two_replicas(), lengths)
    expected_weights, expected_logs = train(tf.distribute.get_strategy(), lengths)
    assert sorted(logs) == ["accuracy", "loss", "perplexity"]
    for name, values in expected_logs.items():
        assert logs[name] == pytest.approx(values, rel=1e-5), name
    for weight, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=2e-6)


def test_a_corpus_trains_and_validates_under_a_strategy(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path)
    files = tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(101))
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=160, num_shapes=1, shuffle=False)
    results = []
    for strategy in (tiny.two_replicas(), tf.distribute.get_strategy()):
        keras.utils.set_random_seed(5)
        with strategy.scope():
            model = tiny.compiled(tiny.make_model(), keras.optimizers.Adam(0.01))
        folder = tmp_path / f"{strategy.num_replicas_in_sync} replicas"
        callbacks = [Throughput(), Checkpoint(folder, tokenizer, monitor="val_perplexity")]
        logs = model.fit(
            corpus, validation_data=corpus, epochs=2, verbose=0, shuffle=False, callbacks=callbacks
        ).history
        assert logs["target_tokens"] == [corpus.report.target_tokens, 2 * corpus.report.target_tokens]
        del logs["seconds"], logs["tokens_per_second"]
        saved = Translator.load(folder).model.get_weights()
        for weight, expected in zip(saved, model.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
        assert model.optimizer.iterations == 2 * corpus.report.batches
        results.append(logs)
    for name, values in results[1].items():
        assert results[0][name] == pytest.approx(values, rel=1e-4), name
    assert results[0]["val_perplexity"][1] < results[0]["val_perplexity"][0]


def scopes():
    """No scope, and two different strategies."""
    return [contextlib.nullcontext, tiny.two_replicas().scope, tf.distribute.MirroredStrategy(["CPU:0"]).scope]


@pytest.mark.parametrize(("made", "compiled"), [(0, 1), (1, 0), (1, 2)])
def test_a_model_of_another_scope_is_refused_in_one_line(made, compiled):
    names = ["outside of a strategy's scope", *["in the scope of a MirroredStrategy"] * 2]
    with scopes()[made]():
        model, optimizer = tiny.make_model(), keras.optimizers.Adam()
    message = (
        f"the model was made {names[made]}, and is compiled {names[compiled]}. Make the model and the optimizer, and"
    )
    with pytest.raises(ValueError, match=f"^{message}"), scopes()[compiled]():
        tiny.compiled(model)
    with scopes()[compiled]():
        model = tiny.make_model()
        with pytest.raises(
            ValueError, match=f"^the optimizer was made {names[made]}, and is compiled {names[compiled]}"
        ):
            tiny.compiled(model, optimizer)


def test_an_optimizer_that_accumulates_gradients_is_compiled():
    """Its `iterations` are no variable."""
    model = tiny.compiled(tiny.make_model(), keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    before = model.get_weights()
    rng = np.random.default_rng(0)
    batches = [tiny.random_batch(rng, [3, 2], [4, 1]) for _ in range(2)]
    model.train_on_batch(*batches[0])
    assert all(map(np.array_equal, model.get_weights(), before))
    model.train_on_batch(*batches[1])
    assert not all(map(np.array_equal, model.get_weights(), before))


def test_fit_in_the_scope_of_another_strategy_is_refused():
    model = tiny.compiled(tiny.make_model())
    message = "the model was made outside of a strategy's scope, and fit is called in the scope of a MirroredStrategy"
    with pytest.raises(ValueError, match=f"^{message}"), tiny.two_replicas().scope():
        model.fit(dataset(UNEVEN), verbose=0)


def test_devices_that_are_not_there_are_named_before_tensorflow_waits_for_them():
    with tf.distribute.MirroredStrategy(["CPU:1", "GPU:0", "CPU:7"]).scope():
        model = tiny.make_model()
        with pytest.raises(
            ValueError,
            match=r"^MirroredStrategy is to train on CPU:1, GPU:0, CPU:7, but there is no GPU:0, CPU:7: this process "
            r"has CPU:0, CPU:1\. Name these, or leave the names out to take every GPU\.$",
        ):
            tiny.compiled(model)
