"""Curves, history and progress of `fit` say what it did."""

import io
import json
import math
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from rich.console import Console

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, parallel_corpus
from keras_transformer.training import (
    HistoryFile,
    StopOnNaN,
    TensorBoardLog,
    Throughput,
    TrainingProgress,
    ValidationBLEU,
    read_history,
)
from keras_transformer.training.progress import TimeLeft
from keras_transformer.training.skipping import skip_steps
from keras_transformer.training.sums import Window, target_tokens

PAIRS = tiny.digit_pairs(60, longest=5)
SOURCES, REFERENCES = (list(side) for side in zip(*PAIRS[:7], strict=True))


def events(folder):
    """{tag: [(step, value)]} of a run's event files, read without TensorBoard."""
    found = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Two replicas train 2 epochs of 5 batches under all callbacks, without tensorboard, and then a third epoch."""
    folder = tmp_path_factory.mktemp("watched")
    keras.utils.set_random_seed(5)
    with tiny.two_replicas().scope():
        model = tiny.compiled(tiny.make_model(), keras.optimizers.Adam(0.003))
    file, terminal = io.StringIO(), io.StringIO()
    scores = ValidationBLEU(lambda sources: REFERENCES, SOURCES, REFERENCES, every=2)
    files = tiny.write_pairs(folder, PAIRS)
    report = parallel_corpus(*files, tiny.make_tokenizer(folder / "tokenizer"), tokens_per_batch=160).report
    stop = StopOnNaN()
    callbacks = [
        *(stop, Throughput(), scores),
        TrainingProgress(Console(file=file, width=200)),
        TrainingProgress(Console(file=terminal, force_terminal=True, width=200)),
        TensorBoardLog(folder / "curves", every=2, report=report),
        HistoryFile(folder / "logs" / "history.jsonl"),
    ]
    options = {"validation_data": tiny.dataset(), "callbacks": callbacks, "verbose": 0, "shuffle": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        logs = model.fit(stop.watch(tiny.dataset()), epochs=2, **options).history
        model.fit(stop.watch(tiny.dataset()), epochs=3, initial_epoch=2, **options)
    return folder, logs, report, file.getvalue(), terminal.getvalue()


def single_steps():
    """The logs of each of ten single steps of the fixture's model, on one device."""
    keras.utils.set_random_seed(5)
    model = tiny.compiled(tiny.make_model(), keras.optimizers.Adam(0.003))
    found = []
    for source, labels in tiny.batches() * 2:
        found.append(model.train_on_batch(source, labels, return_dict=True))
        model.reset_metrics()
    return found


def test_tensorboard_gets_means_over_the_steps_since_the_last_point(watched):
    folder, *_ = watched
    train = events(folder / "curves" / "train")
    single = single_steps()
    tokens = [int(np.count_nonzero(labels)) for _, labels in tiny.batches()] * 2
    for point, chosen in enumerate([(0, 1), (2, 3), (4,), (5, 6), (7, 8), (9,)]):  # the fifth has no partner
        weights = [tokens[index] for index in chosen]
        mean = np.average([math.log(single[index]["perplexity"]) for index in chosen], weights=weights)
        assert train["perplexity"][point] == (chosen[-1] + 1, pytest.approx(math.exp(mean), rel=1e-4))
        accuracy = np.average([single[index]["accuracy"] for index in chosen], weights=weights)
        assert train["accuracy"][point] == (chosen[-1] + 1, pytest.approx(accuracy, abs=1e-5))
    assert min(single[index]["loss"] for index in (0, 1)) < train["loss"][0][1]
    assert max(single[index]["loss"] for index in (0, 1)) > train["loss"][0][1]
    assert train["learning_rate"] == [(step, pytest.approx(0.003)) for step in (2, 4, 5, 7, 9, 10, 12, 14, 15)]
    assert all(rate > 0 for _, rate in train["tokens_per_second"])


def test_tensorboard_gets_the_logs_of_each_epoch_and_the_padding(watched):
    folder, logs, report, *_ = watched
    train, validation = events(folder / "curves" / "train"), events(folder / "curves" / "validation")
    for name, values in logs.items():
        run, tag = (validation, name[4:]) if name.startswith("val_") else (train, name)
        expected = [pytest.approx(value, rel=1e-6) for value in values]
        assert [value for _, value in run[f"epoch/{tag}"]][: len(values)] == expected, name
    assert [step for step, _ in train["epoch/loss"]] == [step for step, _ in validation["epoch/loss"]] == [5, 10, 15]
    assert [step for step, _ in validation["epoch/bleu"]] == [5, 10, 15]
    for side in ("source", "target"):
        tokens, positions = getattr(report, f"{side}_tokens"), getattr(report, f"{side}_positions")
        expected = (positions - tokens) / positions
        assert train[f"epoch/{side}_padding"] == [(step, pytest.approx(expected, rel=1e-6)) for step in (5, 10, 15)]


class SkipTwoSteps(keras.callbacks.Callback):
    """Lets the first two steps compute nothing, as a run that resumes after them."""

    def on_epoch_begin(self, epoch, logs=None):
        skip_steps(self.model, 2, {"loss": 9.0})


def test_steps_that_are_skipped_are_neither_drawn_nor_timed(tmp_path):
    progress = TrainingProgress(Console(file=io.StringIO()))
    callbacks = [TensorBoardLog(tmp_path, every=1), progress, SkipTwoSteps()]
    tiny.compiled_again().fit(tiny.dataset(), verbose=0, shuffle=False, callbacks=callbacks)
    assert [step for step, _ in events(tmp_path / "train")["perplexity"]] == [1, 2, 3]
    assert progress.time_left.steps == 3


@pytest.mark.parametrize("validate", [False, True])
def test_an_epoch_of_fewer_steps_than_a_point_needs_is_a_point(tmp_path, validate):
    model, log = tiny.compiled_again(), TensorBoardLog(tmp_path, every=100)
    model.evaluate(tiny.dataset(), verbose=0, callbacks=[log])  # draws nothing
    valid = tiny.dataset(tiny.batches()[:1]) if validate else None
    logs = model.fit(tiny.dataset(), validation_data=valid, epochs=2, verbose=0, shuffle=False, callbacks=[log]).history
    expected = [(step, pytest.approx(value, rel=1e-5)) for step, value in zip((5, 10), logs["perplexity"], strict=True)]
    assert events(tmp_path / "train")["perplexity"] == expected


def test_tensorboard_itself_reads_the_curves(watched):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = accumulator.EventAccumulator(str(watched[0] / "curves" / "train"))
    run.Reload()
    read = {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in run.Tensors(tag)] for tag in ("perplexity",)
    }
    assert read["perplexity"] == events(watched[0] / "curves" / "train")["perplexity"]


def test_a_curve_needs_at_least_a_step():
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, got 0"):
        TensorBoardLog("curves", every=0)


def test_the_history_outlives_fit(watched):
    folder, logs, *_ = watched
    rows = read_history(folder / "logs" / "history.jsonl")
    assert [(row["epoch"], row["update"]) for row in rows] == [(1, 5), (2, 10), (3, 15)]
    for name, values in logs.items():
        assert [row[name] for row in rows[:2]] == values


def history(path, *epochs):
    """A `HistoryFile` after these epochs, {number: logs}."""
    callback = HistoryFile(path)
    callback.set_model(tiny.make_model())
    callback.model.optimizer = keras.optimizers.SGD()
    callback.on_train_begin()
    for number, logs in epochs:
        callback.on_epoch_end(number - 1, logs)


def test_numbers_of_numpy_are_written(tmp_path):
    history(tmp_path / "history.jsonl", (1, {"loss": np.float32(0.5), "count": np.int64(3), "bad": np.float32("nan")}))
    [row] = read_history(tmp_path / "history.jsonl")
    assert (row["loss"], row["count"], row["bad"]) == (0.5, 3, None)


def test_a_resumed_run_appends_to_its_history(tmp_path):
    path = tmp_path / "history.jsonl"
    history(path, (1, {"loss": 3.0}), (2, {"loss": math.nan}), (3, {"loss": 1.0}))
    path.write_text(path.read_text() + '{"epoch": 4, "upd')  # killed here
    assert [row["loss"] for row in read_history(path)] == [3.0, None, 1.0]
    history(path, (3, {"loss": 1.5}), (4, {"loss": 0.5}))
    assert [(row["epoch"], row["loss"]) for row in read_history(path)] == [(1, 3.0), (2, None), (3, 1.5), (4, 0.5)]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 3, 4]  # nothing is lost
    history(path, (1, {"loss": 9.0}))
    assert [row["loss"] for row in read_history(path)] == [9.0]


@pytest.mark.parametrize("text", ["precious", '{"loss": 1}\n', "[1]\n", '{"epoch": 1, "update": 2}\nprecious\n'])
def test_another_file_is_refused_as_a_history_and_stays(tmp_path, text):
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.jsonl, line [12]: no epoch of a HistoryFile: "):
        history(path, (1, {"loss": 1.0}))
    assert path.read_text() == text


def test_the_time_left_is_that_of_steps_and_pauses():
    now = 0.0
    left = TimeLeft(clock=lambda: now)
    left.end_pause()
    now = 100.0  # the first step compiles
    left.step(1)
    assert not left.steps
    for step in range(2, 6):
        now += 2.0
        left.step(step)
    assert left.seconds(10, 3) == 20.0  # of pauses, nothing is known yet
    left.begin_pause()
    now += 7.0
    left.begin_pause()
    assert left.seconds(10, 3) == 20.0 + 3 * 7.0
    left.end_pause()
    now += 4.0
    left.step(1)  # five timed steps took 12 seconds
    assert left.seconds(10, 3) == pytest.approx(24.0 + 3 * 7.0)


def test_the_screen_says_how_long_it_will_take(watched):
    *_, file, terminal = watched
    first, second, third = file.splitlines()
    assert first.startswith("epoch 1/2  ") and "val_bleu 100" in first
    assert re.search(r"  left 0:00:\d\d$", first) and "left" not in second and "left" not in third
    assert re.search(r"left 0:00:\d\d, of all 0:00:\d\d", terminal)
    assert re.search(r"validating  left 0:00:00, of all 0:00:\d\d", terminal)


def test_weights_are_no_tokens():
    """Only a metric without sample weights counts target tokens. Without such a metric there is no count."""
    data = tiny.dataset().map(lambda x, labels: (x, labels, tf.fill([4], 0.5)))
    tokens = [int(np.count_nonzero(labels)) for _, labels in tiny.batches()]
    counts, means = [], []
    for metrics in ([MaskedAccuracy()], None):
        model = tiny.make_model()
        model.compile("sgd", LabelSmoothedCrossEntropy(0.1), metrics=metrics, weighted_metrics=[MaskedAccuracy()])
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, model=model: (
                counts.append(target_tokens(model)),
                means.append((Window().means(model), logs)),
            )
        )
        history = model.fit(data, verbose=0, shuffle=False, callbacks=[Throughput(), look]).history
        assert ("target_tokens" in history) == (metrics is not None)
    assert counts == [sum(tokens), None]
    both, logs = means[0]
    assert {name: both[name] for name in ("accuracy", "weighted_accuracy")} == {
        name: pytest.approx(logs[name], rel=1e-5) for name in ("accuracy", "weighted_accuracy")
    }
