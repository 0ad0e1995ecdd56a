"""`fit` finds a misspelled monitor and a wrong order of callbacks before it trains, and tells of its interruption."""

import re
import warnings

import keras
import pytest
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, TransformerSchedule, parallel_corpus
from keras_transformer.train_step.callbacks import accept_missing
from keras_transformer.training import AverageWeights, Checkpoint, Throughput, ValidationBLEU

early = keras.callbacks.EarlyStopping


@pytest.fixture(scope="module")
def model():
    return tiny.compiled_again()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def scores(**options):
    return ValidationBLEU(list, ["a b"], ["a b"], **options)


class Adds(keras.callbacks.Callback):
    """Adds a value to the logs, as a user's callback may do."""

    def on_epoch_end(self, epoch, logs=None):
        logs["mine"] = 1.0


LOGGED = "Logged are accuracy, loss, perplexity"
VALIDATED = f"{LOGGED}, val_accuracy, val_loss, val_perplexity."
WITH_SCORES = f"{LOGGED}, val_bleu, val_chrf."
NO_DATA = " Pass validation_data to fit for values of validation."
LATER = " comes before {0}, which logs this value. Put {0} before it."
best = keras.callbacks.ModelCheckpoint


@pytest.mark.parametrize(
    ("callbacks", "validates", "watching", "reason"),
    [
        (lambda make: [make("val_perplexty")], True, "Checkpoint(monitor='val_perplexty')", VALIDATED),
        (lambda make: [make("val_loss")], False, "Checkpoint(monitor='val_loss')", f"{LOGGED}.{NO_DATA}"),
        (lambda make: [early("val_bleu"), make()], True, "EarlyStopping(monitor='val_bleu')", VALIDATED),
        (lambda make: [scores(), make("val_blue")], False, "Checkpoint(monitor='val_blue')", f"{WITH_SCORES}{NO_DATA}"),
        (
            lambda make: [make("val_bleu"), scores()],
            True,
            "Checkpoint(monitor='val_bleu')",
            LATER.format("ValidationBLEU"),
        ),
        (
            lambda make: [early("val_chrf"), Adds(), scores()],
            True,
            "EarlyStopping(monitor='val_chrf')",
            LATER.format("ValidationBLEU"),
        ),
        (
            lambda make: [AverageWeights("run", monitor="seconds"), Throughput()],
            True,
            "AverageWeights(monitor='seconds')",
            LATER.format("Throughput"),
        ),
        (
            lambda make: [best("best.keras", monitor="vall", save_best_only=True), Adds()],
            True,
            "ModelCheckpoint(monitor='vall')",
            VALIDATED,
        ),
        (
            lambda make: [keras.callbacks.ReduceLROnPlateau("learning_rate"), make()],
            False,
            "ReduceLROnPlateau(monitor='learning_rate')",
            f"{LOGGED}.",
        ),
    ],
)
def test_a_value_that_is_not_logged_is_found_before_training(
    model, tokenizer, tmp_path, monkeypatch, callbacks, validates, watching, reason
):
    monkeypatch.chdir(tmp_path)
    listed = callbacks(lambda monitor=None: Checkpoint(tmp_path / "run", tokenizer, monitor=monitor))
    before = int(model.optimizer.iterations)
    expected = f"callbacks: {watching}{reason if reason[0] == ' ' else f': this value is not logged. {reason}'}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        model.fit(tiny.dataset(), validation_data=tiny.dataset() if validates else None, verbose=0, callbacks=listed)
    assert int(model.optimizer.iterations) == before and list(tmp_path.iterdir()) == []


def test_what_is_logged_may_be_watched(model, tokenizer, tmp_path):
    """Also a value of an unknown callback, of validation in some epochs, and of a metric named by a string."""
    model = tiny.make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), metrics=["accuracy"], log_gradient_norm=True)
    watch = [early(name, patience=9, mode="min") for name in ("accuracy", "val_accuracy", "gradient_norm", "seconds")]
    watch += [keras.callbacks.ReduceLROnPlateau(), early("learning_rate", mode="min")]
    watch += [Adds(), early("mine", mode="min"), Checkpoint(tmp_path / "run", tokenizer, monitor="mine")]
    options = {"validation_data": tiny.dataset(), "validation_freq": 2, "epochs": 2, "verbose": 0, "callbacks": None}
    history = model.fit(tiny.dataset(), **{**options, "callbacks": [Throughput(), *watch]}).history
    assert len(history["val_loss"]) == 1 and len(history["mine"]) == 2


@pytest.mark.parametrize(("monitor", "added"), [("val_bleu", [scores()]), ("gradient_norm", []), ("mine", [Adds()])])
def test_a_value_whose_better_direction_keras_does_not_know_needs_a_mode(monitor, added):
    """Keras asks after the first epoch."""
    model = tiny.make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), metrics=[MaskedAccuracy()], log_gradient_norm=True)
    for kind, options in ((early, {}), (keras.callbacks.ReduceLROnPlateau, {}), (best, {"save_best_only": True})):
        name = [monitor] if kind is not best else ["best.keras", monitor]
        message = f"callbacks: {kind.__name__}(monitor='{monitor}') needs mode: Keras does not know this value. Give "
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            model.fit(tiny.dataset(), verbose=0, callbacks=[*added, kind(*name, **options)])
        assert int(model.optimizer.iterations) == 0


def test_callbacks_that_a_checkpoint_counts_come_before_it(model, tokenizer, tmp_path):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(20)), tokenizer)
    counted, other = early("loss"), early("loss")
    checkpoint = Checkpoint(tmp_path / "run", tokenizer, corpus=corpus, callbacks=[counted])
    late = "comes before EarlyStopping, whose counts it writes. Put EarlyStopping before it."
    missing = "(callbacks=...) counts EarlyStopping, which fit does not have. Give it to fit, too."
    for callbacks, reason in (([checkpoint, counted], f" {late}"), ([other, checkpoint], missing)):
        with pytest.raises(ValueError, match=f"^{re.escape(f'callbacks: Checkpoint{reason}')}$"):
            model.fit(corpus, verbose=0, callbacks=callbacks)
    assert not (tmp_path / "run").exists()


def test_an_epoch_of_a_run_that_resumes_is_one_pass_over_the_corpus(model, tokenizer, tmp_path):
    """With `repeat`, Keras starts no pass for each epoch, and the second epoch would be the first once more."""
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(60)), tokenizer, tokens_per_batch=200)
    batches = corpus.report.batches
    assert batches > 1
    checkpoint = Checkpoint(tmp_path / "run", tokenizer, corpus=corpus)
    for data, count in ((corpus.repeat(), "endlessly many"), (corpus.repeat(2), 2 * batches), (corpus.take(1), 1)):
        message = f"x has {count} batches, and the corpus of Checkpoint has {batches}. To resume, an epoch must be one "
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            model.fit(data, steps_per_epoch=batches, epochs=2, verbose=0, callbacks=[checkpoint])
    model.fit(corpus.prefetch(1), epochs=2, verbose=0, shuffle=False, callbacks=[checkpoint])


def test_only_the_warning_about_a_missing_value_is_silent():
    watching = early("val_bleu", mode="max")
    with pytest.warns(UserWarning, match="val_bleu` which is not available"):
        watching.get_monitor_value({"loss": 1.0})
    with warnings.catch_warnings():
        accept_missing("val_bleu")
        watching.get_monitor_value({"loss": 1.0})
        with pytest.raises(UserWarning, match="val_blue"):
            early("val_blue", mode="max").get_monitor_value({"loss": 1.0})


def test_callbacks_hear_what_ended_fit(model):
    class Hears(keras.callbacks.Callback):
        def on_interrupt(self, error):
            heard.append(error)

    for error in (KeyboardInterrupt, tiny.Broken):
        heard, kind = [], error

        def end(batch, logs, kind=kind):
            raise kind("now")

        ends = keras.callbacks.LambdaCallback(on_train_batch_end=end)
        with pytest.raises(error, match="now"):
            model.fit(tiny.dataset(), verbose=0, callbacks=[[Hears()], ends])
        assert [type(each) for each in heard] == [error]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    "callback", [keras.callbacks.ReduceLROnPlateau("loss"), keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)]
)
def test_the_rate_of_a_schedule_is_not_set(callback, scaled):
    optimizer = keras.optimizers.Adam(TransformerSchedule(16, 10))
    model = tiny.compiled(tiny.make_model(), keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    name = type(callback).__name__
    message = (
        f"callbacks: {name} sets the learning rate, and the optimizer's is a schedule, TransformerSchedule. Give the"
    )
    with pytest.raises(ValueError, match=f"^{message}"):
        model.fit(tiny.dataset(), verbose=0, callbacks=[callback])
    assert int(optimizer.iterations) == 0
