"""Training stops at the batch whose loss is NaN or infinite, names it, and leaves the saved files untouched."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, parallel_corpus
from keras_transformer.training import AverageWeights, Checkpoint, NonFiniteLoss, StopOnNaN


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


class Poison(keras.losses.Loss):
    """A sum of the logits that becomes infinite where the labels begin with 13."""

    def call(self, y_true, y_pred):
        bad = keras.ops.cast(keras.ops.any(y_true[:, 0] == 13), "float32")
        return keras.ops.mean(y_pred, axis=-1) / (1.0 - bad)


def poisoned(steps_per_execution=1):
    """A model and five batches, of which the fourth has an infinite loss."""
    batches = tiny.batches()
    for _, labels in batches:
        labels[:, 0] = 5
    batches[3][1][:, 0] = 13
    model = tiny.make_model()
    model.compile(keras.optimizers.SGD(0.01), loss=Poison(), steps_per_execution=steps_per_execution)
    return model, batches


def test_a_loss_that_is_no_number_stops_at_its_batch_and_leaves_the_saved_model(tokenizer, tmp_path):
    model, batches = poisoned()
    good = tf.data.Dataset.from_tensors(batches[0]).repeat(5)
    stop = StopOnNaN()
    watched = stop.watch(tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=good.element_spec))
    callbacks = [stop, Checkpoint(tmp_path, tokenizer)]
    model.fit(stop.watch(good), epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
    saved = (tmp_path / "model.keras").read_bytes()
    ids = " ".join(map(str, batches[3][0]["source"][0]))
    message = (
        rf"the loss is (inf|-inf|nan) in epoch 3, batch 4, update 9\.\n"
        rf"Batch 4: source \(4, 7\), target \(4, 9\); its first source begins {ids}\.\nThe model in memory is spoiled"
    )
    with pytest.raises(NonFiniteLoss, match=message):
        model.fit(watched, epochs=4, initial_epoch=2, verbose=0, shuffle=False, callbacks=callbacks)
    assert (tmp_path / "model.keras").read_bytes() == saved
    assert issubclass(NonFiniteLoss, FloatingPointError)


def test_of_several_steps_in_one_execution_all_are_named():
    model, batches = poisoned(steps_per_execution=2)
    stop = StopOnNaN()
    watched = stop.watch(tiny.dataset(batches))
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, one of the batches 3 to 4, update 4\.\nBatch 3: .*\nBatch 4: "):
        model.fit(watched, verbose=0, shuffle=False, callbacks=[stop])


def test_a_step_that_loss_scaling_leaves_out_is_no_nan():
    """A scale of 2^40 overflows float16 in the gradients of the first steps; the loss itself is finite."""
    model = tiny.make_model(dtype="mixed_float16")
    scaled = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**40)
    model.compile(scaled, loss=LabelSmoothedCrossEntropy(0.1), metrics=[MaskedAccuracy(), Perplexity()])
    before = model.get_weights()
    model.fit(tiny.dataset(), verbose=0, shuffle=False, callbacks=[StopOnNaN()])
    assert float(scaled.dynamic_scale) == 2.0**35
    for weight, start in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, start)


def test_a_watched_dataset_is_the_same_dataset():
    plain = tiny.dataset()
    plain.report = "a report"
    stop = StopOnNaN()
    watched = stop.watch(plain)
    assert watched.report == "a report"
    assert watched.element_spec == plain.element_spec and watched.cardinality() == plain.cardinality() == 5
    for _ in range(2):
        for found, expected in zip(watched, plain, strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
    assert [index for index, *_ in stop.watched] == [0, 1, 2, 3, 4] * 2


def test_two_replicas_share_a_watched_dataset():
    stop = StopOnNaN()
    with tiny.two_replicas().scope():
        model, batches = poisoned()
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 4, update 4\.\nBatch 4: source \(4, 7\), target \(4, 9\)"):
        model.fit(stop.watch(tiny.dataset(batches)), verbose=0, shuffle=False, callbacks=[stop])


class Explode(keras.callbacks.Callback):
    """Makes the last update of the second epoch infinite. Its loss is computed before it, and is a number."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch + 1) == (1, self.params["steps"]):
            self.model.optimizer.learning_rate = np.inf


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "training.lock"}


@pytest.mark.parametrize("writer", ["Checkpoint", "AverageWeights", "states"])
def test_weights_that_the_last_update_has_spoiled_are_not_written(writer, tokenizer, tmp_path):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(20)), tokenizer)
    callback = {
        "Checkpoint": lambda: Checkpoint(tmp_path / "run", tokenizer),
        "AverageWeights": lambda: AverageWeights(tmp_path / "run", 3),
        "states": lambda: Checkpoint(tmp_path / "run", tokenizer, corpus=corpus),
    }[writer]
    written, after_one = (
        [],
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: written.append(contents(tmp_path / "run"))),
    )

    def fit(*others):
        model = tiny.make_model()
        model.compile(keras.optimizers.SGD(0.01), LabelSmoothedCrossEntropy(0.1))
        model.fit(corpus, epochs=2, verbose=0, shuffle=False, callbacks=[StopOnNaN(), *others])
        return model

    message = (
        rf"^[\w/]+ holds NaN or infinity after update {2 * corpus.report.batches}, so these weights are not written"
    )
    with pytest.raises(FloatingPointError, match=message) as raised:
        fit(Explode(), callback(), after_one)
    assert "\n" not in str(raised.value)
    assert len(written) == 1 and written[0] and contents(tmp_path / "run") == written[0]
    if writer == "states":  # the same command, without what was wrong, goes on after the first epoch
        assert int(fit(callback()).optimizer.iterations) == 2 * corpus.report.batches
