"""Callbacks that watch `fit`: scores, curves, history and the stop on NaN, each against what fit really did."""

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

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, Translator, parallel_corpus
from keras_transformer.evaluate import evaluate
from keras_transformer.training import (
    Checkpoint,
    HistoryFile,
    NonFiniteLoss,
    StopOnNaN,
    TensorBoardLog,
    Throughput,
    TrainingProgress,
    ValidationBLEU,
    read_history,
)
from keras_transformer.training.progress import TimeLeft

PAIRS = tiny.digit_pairs(60, longest=5)
SOURCES, REFERENCES = (list(side) for side in zip(*PAIRS[:7], strict=True))
LENGTHS = [  # five batches of one shape
    ([7, 6, 2, 1], [9, 8, 1, 3]),
    ([5, 5, 7, 1], [4, 9, 1, 2]),
    ([3, 7, 2, 6], [9, 2, 1, 1]),
    ([7, 1, 1, 2], [1, 1, 9, 1]),
    ([1, 1, 7, 7], [5, 9, 9, 8]),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def batches(lengths=LENGTHS):
    rng = np.random.default_rng(3)
    return [tiny.random_batch(rng, *rows) for rows in lengths]


def dataset(some=None):
    parts = [tf.data.Dataset.from_tensors(batch) for batch in some or batches()]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.concatenate(part)
    return whole


class Spy(keras.callbacks.Callback):
    """Calls a function after each epoch."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def on_epoch_end(self, epoch, logs=None):
        self.look(logs)


def test_a_translator_made_once_sees_the_weights_of_each_epoch(tokenizer):
    with tiny.two_replicas().scope():
        model = tiny.compiled(tiny.make_opinionated(dtype="mixed_bfloat16"), keras.optimizers.Adam(0.02))
    once = Translator(model, tokenizer, beam_size=1)
    before = once(SOURCES)
    seen = []
    model.fit(
        tf.data.Dataset.from_tensors(batches()[0]),
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[ValidationBLEU(once, SOURCES, REFERENCES), Spy(lambda logs: seen.append((logs, once(SOURCES))))],
    )
    anew = Translator(model, tokenizer, beam_size=1)(SOURCES)
    assert seen[1][1] == anew != seen[0][1] != before
    for logs, translations in seen:
        scores = evaluate(translations, REFERENCES)
        assert (logs["val_bleu"], logs["val_chrf"]) == (scores.bleu, scores.chrf)
    assert [graph.experimental_get_tracing_count() for graph in once._searcher.graph._compiled.values()] == [1]


def bleu(every, translate=list, **options):
    callback = ValidationBLEU(translate, REFERENCES, REFERENCES, every, **options)
    callback.set_params({"epochs": 8})
    callback.on_train_begin()
    return callback


@pytest.mark.parametrize(
    ("every", "first", "evaluated"), [(1, 5, [5, 6, 7]), (3, 0, [0, 3, 6, 7]), (3, 4, [4, 6, 7]), (9, 0, [0, 7])]
)
def test_the_first_and_the_last_epoch_are_evaluated_and_others_now_and_then(every, first, evaluated):
    callback, found = bleu(every), []
    assert callback.scores is None
    for epoch in range(first, 8):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        if logs:
            assert logs == {"val_bleu": pytest.approx(100), "val_chrf": pytest.approx(100)}
            found.append(epoch)
    assert found == evaluated
    assert "|tok:13a|" in callback.scores.bleu_signature


def test_it_uses_the_tokenizer_it_is_given():
    callback = bleu(1, tokenize="none")
    callback.on_epoch_end(0, {})
    assert "|tok:none|" in callback.scores.bleu_signature


def test_scores_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="of one length, at least 1; got 2 and 1"):
        ValidationBLEU(list, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        ValidationBLEU(list, [], [])
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        ValidationBLEU(list, ["a"], ["a"], every=0)


class Scripted(keras.Model):
    def save(self, path):
        with open(path, "w") as stream:
            stream.write(self.name)


def test_bleu_stops_early_and_the_best_is_kept(tokenizer, tmp_path):
    """Three of seven right, then five, then four: the second model stays, and patience 2 ends after the fourth."""
    right = iter([3, 5, 4, 4, 7])

    def translate(sources):
        count = next(right)
        return [source if index < count else "wrong" for index, source in enumerate(sources)]

    model = Scripted(name="first")
    callbacks = [
        bleu(1, translate),
        Checkpoint(tmp_path, tokenizer, monitor="val_bleu"),
        keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=2),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    model.stop_training = False
    for epoch, name in enumerate(("first", "second", "third", "fourth")):
        assert not model.stop_training
        model.name, logs = name, {}
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
    assert model.stop_training
    assert (tmp_path / "model.keras").read_text() == "second"


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [
        ("val_bleu", "auto", "high"),
        ("val_chrf", "auto", "high"),
        ("val_accuracy", "auto", "high"),
        ("val_loss", "auto", "low"),
        ("val_perplexity", "auto", "low"),
        ("val_bleu", "min", "low"),
        ("val_loss", "max", "high"),
    ],
)
def test_the_best_is_the_lowest_or_the_highest(tokenizer, tmp_path, monitor, mode, best):
    callback = Checkpoint(tmp_path, tokenizer, monitor=monitor, mode=mode)
    callback.set_model(Scripted(name="model"))
    callback.on_train_begin()
    for name, value in (("nan", math.nan), ("middle", 3.0), ("low", 1.0), ("absent", None), ("high", 7.0), ("x", 4.0)):
        callback.model.name = name
        callback.on_epoch_end(0, {} if value is None else {monitor: value})
        assert (tmp_path / "last.keras").read_text() == name
    assert (tmp_path / "model.keras").read_text() == best


def test_an_unknown_mode_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="mode must be 'auto', 'min' or 'max', got 'most'"):
        Checkpoint(tmp_path, tokenizer, monitor="val_bleu", mode="most")


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
    """Two replicas' `fit` of 2 epochs of 5 batches under every watcher, without tensorboard; and one that goes on."""
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
    options = {"validation_data": dataset(), "callbacks": callbacks, "verbose": 0, "shuffle": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        logs = model.fit(stop.watch(dataset()), epochs=2, **options).history
        model.fit(stop.watch(dataset()), epochs=3, initial_epoch=2, **options)
    return folder, logs, report, file.getvalue(), terminal.getvalue()


def steps_alone():
    """What each of the ten steps of the fixture's model logs, one by one on one device."""
    keras.utils.set_random_seed(5)
    model = tiny.compiled(tiny.make_model(), keras.optimizers.Adam(0.003))
    found = []
    for source, labels in batches() * 2:
        found.append(model.train_on_batch(source, labels, return_dict=True))
        model.reset_metrics()
    return found


def test_tensorboard_gets_means_over_the_steps_since_the_last_point(watched):
    folder, *_ = watched
    train = events(folder / "curves" / "train")
    alone = steps_alone()
    tokens = [int(np.count_nonzero(labels)) for _, labels in batches()] * 2
    for point, chosen in enumerate([(0, 1), (2, 3), (5, 6), (7, 8)]):  # the fifth step of an epoch has no partner
        weights = [tokens[index] for index in chosen]
        mean = np.average([math.log(alone[index]["perplexity"]) for index in chosen], weights=weights)
        assert train["perplexity"][point] == (chosen[-1] + 1, pytest.approx(math.exp(mean), rel=1e-4))
        accuracy = np.average([alone[index]["accuracy"] for index in chosen], weights=weights)
        assert train["accuracy"][point] == (chosen[-1] + 1, pytest.approx(accuracy, abs=1e-5))
    assert min(alone[index]["loss"] for index in (0, 1)) < train["loss"][0][1]
    assert max(alone[index]["loss"] for index in (0, 1)) > train["loss"][0][1]
    assert train["learning_rate"] == [(step, pytest.approx(0.003)) for step in (2, 4, 7, 9, 12, 14)]
    assert all(rate > 0 for _, rate in train["tokens_per_second"])


def test_tensorboard_gets_every_epochs_logs_and_the_padding(watched):
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


def test_tensorboard_itself_reads_the_curves(watched):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = accumulator.EventAccumulator(str(watched[0] / "curves" / "train"))
    run.Reload()
    read = {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in run.Tensors(tag)] for tag in ("perplexity",)
    }
    assert read["perplexity"] == events(watched[0] / "curves" / "train")["perplexity"]


def test_a_curve_needs_at_least_a_step():
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
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


def test_a_broken_run_goes_on_in_its_history(tmp_path):
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
def test_another_file_is_no_history_and_stays(tmp_path, text):
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.jsonl, line [12]: no epoch of a HistoryFile: "):
        history(path, (1, {"loss": 1.0}))
    assert path.read_text() == text


class Poison(keras.losses.Loss):
    """A sum of the logits that becomes infinite where the labels begin with 13."""

    def call(self, y_true, y_pred):
        bad = keras.ops.cast(keras.ops.any(y_true[:, 0] == 13), "float32")
        return keras.ops.mean(y_pred, axis=-1) / (1.0 - bad)


def poisoned(steps_per_execution=1):
    """A model and five batches, of which the fourth has an infinite loss."""
    some = batches()
    for _, labels in some:
        labels[:, 0] = 5
    some[3][1][:, 0] = 13
    model = tiny.make_model()
    model.compile(keras.optimizers.SGD(0.01), loss=Poison(), steps_per_execution=steps_per_execution)
    return model, some


def test_a_loss_that_is_no_number_stops_at_its_batch_and_leaves_what_was_saved(tokenizer, tmp_path):
    model, some = poisoned()
    good = tf.data.Dataset.from_tensors(some[0]).repeat(5)
    stop = StopOnNaN()
    watched = stop.watch(tf.data.Dataset.from_generator(lambda: iter(some), output_signature=good.element_spec))
    callbacks = [stop, Checkpoint(tmp_path, tokenizer)]
    model.fit(stop.watch(good), epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
    saved = (tmp_path / "model.keras").read_bytes()
    ids = " ".join(map(str, some[3][0]["source"][0]))
    message = (
        rf"the loss is (inf|-inf|nan) in epoch 3, batch 4, update 9\.\n"
        rf"Batch 4: source \(4, 7\), target \(4, 9\); its first source begins {ids}\.\nThe model in memory is spoilt"
    )
    with pytest.raises(NonFiniteLoss, match=message):
        model.fit(watched, epochs=4, initial_epoch=2, verbose=0, shuffle=False, callbacks=callbacks)
    assert (tmp_path / "model.keras").read_bytes() == saved
    assert issubclass(NonFiniteLoss, FloatingPointError)


def test_of_several_steps_in_one_execution_all_are_named():
    model, some = poisoned(steps_per_execution=2)
    stop = StopOnNaN()
    watched = stop.watch(dataset(some))
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, one of the batches 3 to 4, update 4\.\nBatch 3: .*\nBatch 4: "):
        model.fit(watched, verbose=0, shuffle=False, callbacks=[stop])


def test_a_step_that_loss_scaling_leaves_out_is_no_nan():
    """A scale of 2^40 overflows float16 in the gradients of the first steps; the loss itself is finite."""
    model = tiny.make_model(dtype="mixed_float16")
    scaled = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**40)
    model.compile(scaled, loss=LabelSmoothedCrossEntropy(0.1), metrics=[MaskedAccuracy(), Perplexity()])
    before = model.get_weights()
    model.fit(dataset(), verbose=0, shuffle=False, callbacks=[StopOnNaN()])
    assert float(scaled.dynamic_scale) == 2.0**35
    for weight, start in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, start)


def test_a_watched_dataset_is_the_same_dataset():
    plain = dataset()
    plain.report = "a report"
    stop = StopOnNaN()
    watched = stop.watch(plain)
    assert watched.report == "a report"
    assert watched.element_spec == plain.element_spec and watched.cardinality() == plain.cardinality() == 5
    for _ in range(2):
        for found, expected in zip(watched, plain, strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
    assert [index for index, *_ in stop.passed] == [0, 1, 2, 3, 4] * 2


def test_two_replicas_share_a_watched_dataset():
    stop = StopOnNaN()
    with tiny.two_replicas().scope():
        model, some = poisoned()
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 4, update 4\.\nBatch 4: source \(4, 7\), target \(4, 9\)"):
        model.fit(stop.watch(dataset(some)), verbose=0, shuffle=False, callbacks=[stop])


def test_the_time_left_is_that_of_steps_and_pauses():
    now = 0.0
    left = TimeLeft(clock=lambda: now)
    left.go_on()
    now = 100.0  # the first step compiles
    left.step(1)
    assert not left.steps
    for step in range(2, 6):
        now += 2.0
        left.step(step)
    assert left.seconds(10, 3) == 20.0  # of pauses, nothing is known yet
    left.stop()
    now += 7.0
    left.stop()
    assert left.seconds(10, 3) == 20.0 + 3 * 7.0
    left.go_on()
    now += 4.0
    left.step(1)  # five timed steps took 12 seconds
    assert left.seconds(10, 3) == pytest.approx(24.0 + 3 * 7.0)


def test_the_screen_says_how_long_it_will_take(watched):
    *_, file, terminal = watched
    first, second, third = file.splitlines()
    assert first.startswith("epoch 1/2  ") and "val_bleu 100" in first
    assert re.search(r"  left 0:00:\d\d$", first) and "left" not in second and "left" not in third
    assert re.search(r"left 0:00:\d\d, of all 0:00:\d\d", terminal)
    assert re.search(r"validating.*left of all 0:00:\d\d", terminal)
