"""Means of weights equal those of NumPy, files of other models are refused, and Keras' moving average works too."""

import itertools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Translator
from keras_transformer.training import AverageWeights, Checkpoint, average
from keras_transformer.training.states import read_state, states_in, write_state


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def load(path):
    return keras.saving.load_model(path, compile=False)


def assert_equal(found, expected):
    """Two lists of as many arrays are equal bit for bit."""
    for value, goal in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, goal, strict=True)


@pytest.fixture
def checkpoints(tmp_path):
    """The paths of three saved models of one shape, and their weights."""
    models = [tiny.make_random(seed) for seed in range(3)]
    for number, model in enumerate(models):
        model.save(tmp_path / f"{number}.keras")
    return [tmp_path / f"{number}.keras" for number in range(3)], [weights(model) for model in models]


def test_the_mean_is_that_of_numpy_in_float64(checkpoints, tmp_path):
    paths, stored = checkpoints
    average(paths, tmp_path / "mean.keras")
    for found, *summands in zip(weights(load(tmp_path / "mean.keras")), *stored, strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, (sum(map(np.float64, summands)) / 3).astype(np.float32))


def test_the_mean_of_one_model_or_of_equal_models_is_that_model(checkpoints, tmp_path):
    paths, stored = checkpoints
    for chosen in ([paths[1]], [paths[1]] * 3):
        average(chosen, tmp_path / "mean.keras", overwrite=True)
        assert_equal(weights(load(tmp_path / "mean.keras")), stored[1])


def test_files_of_other_models_and_broken_files_are_refused_and_nothing_is_written(checkpoints, tmp_path):
    paths, _ = checkpoints
    (tmp_path / "broken.keras").write_bytes(paths[0].read_bytes()[:500])
    tiny.make_random(0, d_ff=48).save(tmp_path / "wider.keras")
    for rows in (3, 5):
        keras.Sequential([keras.layers.Input((rows,)), keras.layers.Dense(2, name="out")]).save(
            tmp_path / f"{rows}.keras"
        )
    wrong = [
        ([], "out.keras", ValueError, "paths is empty"),
        (3, "out.keras", TypeError, r"paths must be a list of files, got 3 \(int\)"),
        (paths[0], "out.keras", TypeError, r"paths must be a list of files, got the one path '.*/0\.keras'"),
        ("0.keras", "out.keras", TypeError, r"paths must be a list of files, got the one path '0\.keras'"),
        (paths, "out.h5", ValueError, r"output must end in \.keras, got out\.h5"),
        (
            [paths[0], tmp_path / "absent.keras"],
            "out.keras",
            FileNotFoundError,
            r"^paths\[1\]='.*absent\.keras' does not exist",
        ),
        (
            [paths[0], tmp_path / "broken.keras"],
            "out.keras",
            ValueError,
            r"broken\.keras cannot be read",
        ),
        (
            [paths[0], tmp_path / "wider.keras"],
            "out.keras",
            ValueError,
            r"wider\.keras is of another model than .*0\.keras \(there\): d_ff is 32 there and 48 here\.",
        ),
        ([paths[0], tmp_path / "3.keras"], "out.keras", ValueError, "a Transformer there and a Sequential here"),
        ([tmp_path / "3.keras", tmp_path / "5.keras"], "out.keras", ValueError, r"5\.keras is of another model"),
    ]
    for chosen, output, error, message in wrong:
        output = output if output == "out.h5" else tmp_path / output
        with pytest.raises(error, match=message):
            average(chosen, output)
    assert not (tmp_path / "out.keras").exists()
    (tmp_path / "out.keras").write_text("precious")
    with pytest.raises(FileExistsError, match=r"out\.keras exists already"):
        average(paths, tmp_path / "out.keras")
    assert (tmp_path / "out.keras").read_text() == "precious"


class Record(keras.callbacks.Callback):
    """Keeps the weights of each epoch, and adds a value to its logs."""

    def __init__(self, values):
        super().__init__()
        self.values, self.stored = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_bleu"] = self.values[epoch]
        self.stored.append(weights(self.model))


def fit(model, callbacks, epochs):
    data = tf.data.Dataset.from_tensors(tiny.random_batch(np.random.default_rng(0), [3, 5], [4, 2]))
    model.fit(data, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def mean(arrays):
    return [np.mean(np.float64(versions), axis=0).astype(np.float32) for versions in zip(*arrays, strict=True)]


def test_the_last_and_the_best_epochs_and_states_are_averaged(tmp_path):
    record = Record([3.0, 9.0, 5.0, float("nan"), 7.0])
    chosen = {"last": (), "best": ("val_bleu",), "worst": ("val_bleu", "min")}
    callbacks = [AverageWeights(tmp_path / folder, 2, *options) for folder, options in chosen.items()]
    fit(tiny.compiled(tiny.make_model(dropout=0.1)), [record, *callbacks], 5)
    stored = record.stored
    assert any((a != b).any() for a, b in zip(stored[3], stored[4], strict=True))
    for folder, epochs in (("last", (3, 4)), ("best", (1, 4)), ("worst", (0, 2))):
        expected = mean([stored[epoch] for epoch in epochs])
        assert list(states_in(tmp_path / folder / "averaged", "epoch")) == [epoch + 1 for epoch in epochs]
        assert_equal(weights(load(tmp_path / folder / "average.keras")), expected)
    paths = states_in(tmp_path / "best" / "averaged", "epoch").values()
    average([*paths, tmp_path / "last" / "average.keras"], tmp_path / "mixed.keras")  # states and models together
    expected = mean([stored[1], stored[4], mean([stored[3], stored[4]])])
    for found, goal in zip(weights(load(tmp_path / "mixed.keras")), expected, strict=True):
        np.testing.assert_allclose(found, goal, rtol=1e-6)


def test_epochs_that_hold_their_variables_in_another_order_are_averaged_by_their_paths(tmp_path):
    record = Record([1.0] * 2)
    fit(tiny.compiled_again(), [record, AverageWeights(tmp_path, 2)], 2)
    path = states_in(tmp_path / "averaged", "epoch")[2]
    facts, arrays = read_state(path)
    names = facts["paths"]["model"]
    write_state(path, facts, dict(zip(arrays, reversed(arrays.values()), strict=True)))
    with pytest.raises(ValueError, match=r"epoch-000002\.npz does not fit the model that it names: .* has the shape"):
        average(states_in(tmp_path / "averaged", "epoch").values(), tmp_path / "wrong.keras")
    names.reverse()
    write_state(path, facts, dict(zip(arrays, reversed(arrays.values()), strict=True)))
    found = weights(average(states_in(tmp_path / "averaged", "epoch").values(), tmp_path / "mean.keras"))
    assert_equal(found, mean(record.stored))


@keras.saving.register_keras_serializable(package="tests")
class TwoHeads(keras.Model):
    """Two layers of one shape. Every second model holds them in the other order."""

    orders = itertools.cycle(["ab", "ba"])

    def __init__(self, **options):
        super().__init__(**options)
        for name in next(self.orders):
            setattr(self, name, keras.layers.Dense(2, use_bias=False, name=name))

    def call(self, inputs):
        return self.a(inputs) + self.b(inputs)


def test_models_that_hold_their_layers_in_another_order_are_averaged_by_their_paths(tmp_path):
    paths, orders = [tmp_path / "0.keras", tmp_path / "1.keras"], []
    for path in paths:
        model = TwoHeads()
        model(np.ones((1, 2), "float32"))
        for number, layer in enumerate((model.a, model.b)):
            layer.kernel.assign(np.full((2, 2), number))
        orders.append([weight.path.split("/")[-2] for weight in model.weights])
        model.save(path)
    assert orders == [["a", "b"], ["b", "a"]]
    found = average(paths, tmp_path / "mean.keras")
    assert [float(layer.kernel.numpy().mean()) for layer in (found.a, found.b)] == [0, 1]


def test_an_average_resumes_with_its_run(tmp_path):
    """Three epochs, then a new run from the third one: the mean is that of the second and the new third epoch."""
    record = Record([1.0] * 5)
    fit(tiny.compiled_again(), [record, AverageWeights(tmp_path, 2)], 3)
    resumed = tiny.compiled_again()
    resumed.set_weights(record.stored[1])
    again = Record([1.0] * 5)
    data = tf.data.Dataset.from_tensors(tiny.random_batch(np.random.default_rng(0), [3, 5], [4, 2]))
    average_weights = AverageWeights(tmp_path, 2)
    resumed.fit(data, epochs=3, initial_epoch=2, shuffle=False, verbose=0, callbacks=[again, average_weights])
    expected = mean([record.stored[1], again.stored[0]])
    assert_equal(weights(load(tmp_path / "average.keras")), expected)


class RecordSteps(keras.callbacks.Callback):
    """Keeps the weights after each update."""

    def __init__(self):
        super().__init__()
        self.stored = {}

    def on_train_batch_end(self, batch, logs=None):
        self.stored[int(self.model.optimizer.iterations)] = weights(self.model)


def fit_batches(model, callbacks, epochs, initial_epoch=0, **options):
    """Epochs of five batches."""
    batch = tiny.random_batch(np.random.default_rng(0), [3, 5], [4, 2])
    data = tf.data.Dataset.from_tensors(batch).repeat(5)
    options |= {"epochs": epochs, "initial_epoch": initial_epoch, "shuffle": False, "verbose": 0}
    model.fit(data, callbacks=callbacks, **options)


def test_weights_between_epochs_are_averaged_and_the_average_resumes(tmp_path):
    record = RecordSteps()
    model = tiny.compiled(tiny.make_model(dropout=0.1))
    fit_batches(model, [record, AverageWeights(tmp_path, 3, every_steps=4)], 3)  # 15 updates
    assert list(states_in(tmp_path / "averaged", "step")) == [4, 8, 12]
    assert_equal(weights(load(tmp_path / "average.keras")), mean([record.stored[step] for step in (4, 8, 12)]))
    model.set_weights(record.stored[10])  # the run resumes after its second epoch
    model.optimizer.iterations.assign(10)
    again = RecordSteps()
    fit_batches(model, [again, AverageWeights(tmp_path, 3, every_steps=4)], 4, initial_epoch=2)
    assert list(states_in(tmp_path / "averaged", "step")) == [8, 12, 16, 20][1:]
    assert_equal(weights(load(tmp_path / "average.keras")), mean([again.stored[step] for step in (12, 16, 20)]))


def test_updates_that_are_skipped_do_not_count_between_two_averaged_weights(tmp_path):
    """A batch without an update, as when a run resumes inside an epoch or loss scaling skips one."""
    average_weights = AverageWeights(tmp_path, 9, every_steps=3)
    model = tiny.compiled(tiny.make_model())
    fit_batches(model, [AverageWeights(tmp_path / "other", 9, every_steps=3)], 1)  # builds the optimizer
    average_weights.set_model(model)
    average_weights.set_params({"steps": 8, "epochs": 1})
    average_weights.on_train_begin()
    model.optimizer.iterations.assign(0)
    average_weights.on_epoch_begin(0)
    for batch, updates in enumerate([1, 1, 1, 2, 3, 4, 5, 6]):
        model.optimizer.iterations.assign(updates)
        average_weights.on_train_batch_end(batch)
        assert list(states_in(tmp_path / "averaged", "step")) == [step for step in (3, 6) if step <= updates]


def test_bad_arguments_and_a_monitor_that_is_never_logged(tmp_path):
    for options, message in (
        ({"n": 0}, "n must be a whole number of at least 1, got 0"),
        ({"mode": "up"}, "mode must"),
        ({"every_steps": 0}, "every_steps must be a whole number of at least 1, got 0"),
        (
            {"monitor": "loss", "every_steps": 3},
            r"^monitor='loss' has a value after each epoch, so every_steps=3 has none\. Drop one\.$",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            AverageWeights(tmp_path, **options)
    with pytest.raises(
        ValueError,
        match=r"AverageWeights\(monitor='val_los'\): this value is not logged\. Logged are accuracy, loss, perp",
    ):
        fit(tiny.compiled_again(), [AverageWeights(tmp_path, monitor="val_los")], 1)
    remove = keras.callbacks.LambdaCallback(on_train_end=lambda logs: shutil.rmtree(tmp_path / "averaged"))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/averaged holds nothing to average"):
        fit(tiny.compiled_again(), [remove, AverageWeights(tmp_path)], 1)


def test_a_fit_with_nothing_left_to_do_averages_what_there_is_if_anything(tmp_path):
    fit(tiny.compiled_again(), [AverageWeights(tmp_path / "there", 2)], 2)
    written = weights(load(tmp_path / "there" / "average.keras"))
    (tmp_path / "there" / "average.keras").unlink()  # as if the run had been killed before it
    for folder in ("there", "nowhere"):
        fit(tiny.compiled_again(), [AverageWeights(tmp_path / folder, 2)], 0)
    assert_equal(weights(load(tmp_path / "there" / "average.keras")), written)
    assert not (tmp_path / "nowhere").exists()


def test_a_moving_average_of_keras_reaches_the_files(tmp_path):
    """`use_ema`: a plain checkpoint has the raw weights; after `fit`, and after a swap, it is the moving average."""
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus")
    model = tiny.compiled(tiny.make_model(), keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5))
    record = Record([1.0] * 3)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(model, [record, Checkpoint(tmp_path / "raw", tokenizer), swap, Checkpoint(tmp_path / "ema", tokenizer)], 3)
    first, second, third = record.stored  # an epoch is one update
    moving = [0.5 * (0.5 * a + 0.5 * b) + 0.5 * c for a, b, c in zip(first, second, third, strict=True)]
    assert_equal(weights(load(tmp_path / "raw" / "model.keras")), third)
    for found in (weights(model), weights(Translator.load(tmp_path / "ema").model)):
        for value, goal in zip(found, moving, strict=True):
            np.testing.assert_allclose(value, goal, rtol=1e-5, atol=1e-7)


def test_a_finished_run_averages_fewer_if_fewer_are_asked_for(tmp_path):
    fit(tiny.compiled_again(), [AverageWeights(tmp_path, 3)], 3)
    last = states_in(tmp_path / "averaged", "epoch")[3]
    (tmp_path / "average.keras").unlink()
    fit(tiny.compiled_again(), [AverageWeights(tmp_path, 1)], 0)
    average([last], tmp_path / "last.keras")
    assert_equal(weights(load(tmp_path / "average.keras")), weights(load(tmp_path / "last.keras")))
    assert list(states_in(tmp_path / "averaged", "epoch")) == [3]


def test_a_run_that_ends_before_the_first_weights_is_refused_at_its_start(tmp_path):
    model = tiny.compiled_again()
    before = int(model.optimizer.iterations)
    message = r"^AverageWeights: every_steps=11, and training ends after 10 updates, with nothing to average\. Lower "
    with pytest.raises(ValueError, match=message):
        fit_batches(model, [AverageWeights(tmp_path, 3, every_steps=11)], 2)
    assert int(model.optimizer.iterations) == before
    fit_batches(model, [AverageWeights(tmp_path, 3, every_steps=10)], 2)
