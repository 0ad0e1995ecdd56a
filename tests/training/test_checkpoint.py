"""The folder of a `Checkpoint`: one process trains in it, and errors come before training, not after it."""

import fcntl
import gc
import math

import keras
import pytest
import tiny

from keras_transformer import parallel_corpus
from keras_transformer.training import AverageWeights, Checkpoint
from keras_transformer.training.lock import LOCK_FILE


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


class Scripted(keras.Model):
    """A model that saves its name only."""

    def save(self, path):
        with open(path, "w") as stream:
            stream.write(self.name)


def begin(checkpoint):
    """Bring a `Checkpoint` to the start of a `fit`, and return it."""
    checkpoint.set_model(Scripted(name="model"))
    checkpoint.on_train_begin()
    return checkpoint


def is_free(folder):
    """Whether another process may train there. A file that is opened twice is locked as by two processes."""
    with open(folder / LOCK_FILE, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_folder_in_which_another_process_trains_is_refused_and_stays_as_it_is(tokenizer, tmp_path):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(9)), tokenizer)
    folder = tmp_path / "run"
    half_written = folder / ".model.keras.abcdefgh"
    half_written.mkdir(parents=True)
    with open(folder / LOCK_FILE, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for options in ({}, {"corpus": corpus}):
            with pytest.raises(BlockingIOError, match=rf"another process is training in {folder}, or"):
                begin(Checkpoint(folder, tokenizer, **options))
        assert half_written.exists() and (folder / LOCK_FILE).exists()
    begin(Checkpoint(folder, tokenizer)).on_train_end()
    assert not (folder / LOCK_FILE).exists()


def test_a_fit_that_raised_still_holds_the_folder_against_other_processes(tokenizer, tmp_path):
    """`fit` that raises ends without `on_train_end`."""
    raised = begin(Checkpoint(tmp_path, tokenizer))
    assert not is_free(tmp_path)
    begin(raised)
    another = begin(Checkpoint(tmp_path / "." / "", tokenizer))
    raised.on_train_end()  # too late to let others in
    assert not is_free(tmp_path)
    del another
    gc.collect()
    assert is_free(tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("file", NotADirectoryError, r"folder='.*/file' is a file\. Choose a folder"),
        ("file/run", NotADirectoryError, r"folder='.*/file/run' cannot be written in: Not a directory, .*/file/run"),
        ("blocked", IsADirectoryError, rf"folder='.*/blocked' cannot be written in: Is a dir.*/blocked/{LOCK_FILE}"),
    ],
)
def test_a_folder_that_cannot_be_written_in_is_refused_before_training(tokenizer, tmp_path, name, error, message):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "blocked" / LOCK_FILE).mkdir(parents=True)  # root may write in a folder that is read only
    with pytest.raises(error, match=message):
        begin(Checkpoint(tmp_path / name, tokenizer))
    assert (tmp_path / "file").read_text() == "precious"


def test_a_monitor_that_is_no_name_is_refused(tokenizer, tmp_path):
    message = r"^monitor must be the name of a logged value, for example 'val_perplexity', got 3\.$"
    with pytest.raises(TypeError, match=message):
        Checkpoint(tmp_path, tokenizer, monitor=3)


def test_a_wrong_tokenizer_is_refused_before_training(tokenizer, tmp_path):
    for wrong in ("runs/one/tokenizer.model", None):
        with pytest.raises(TypeError, match=rf"tokenizer must be a Tokenizer, .*, got {wrong!r}\."):
            Checkpoint(tmp_path / "run", wrong)
    checkpoint = Checkpoint(tmp_path / "run", tokenizer)
    for sides in ({"vocabulary_size": 31}, {"target_vocabulary_size": 31, "tie_embeddings": "none"}):
        checkpoint.set_model(tiny.make_model(**sides))
        with pytest.raises(
            ValueError, match=rf"tokenizer has 25 pieces, the model's {next(iter(sides))} is 31: .*/run "
        ):
            checkpoint.on_train_begin()


def test_a_monitor_that_is_never_a_number_gives_a_warning_and_an_infinite_one_counts(tokenizer, tmp_path, caplog):
    for folder, values in (("nan", [math.nan, math.nan]), ("infinite", [math.nan, math.inf, math.inf])):
        checkpoint = begin(Checkpoint(tmp_path / folder, tokenizer, monitor="val_loss"))
        for epoch, value in enumerate(values):
            checkpoint.model.name = f"epoch {epoch}"
            checkpoint.on_epoch_end(epoch, {"val_loss": value})
        checkpoint.on_train_end()
    assert not (tmp_path / "nan" / "model.keras").exists()
    assert (tmp_path / "infinite" / "model.keras").read_text() == "epoch 1"
    [message] = caplog.messages
    assert message == (
        f"monitor='val_loss' was NaN after every epoch: this run has written no {tmp_path / 'nan' / 'model.keras'}. "
        "last.keras is of the latest epoch."
    )


def test_the_best_value_of_one_model_says_nothing_about_another(tokenizer, tmp_path):
    checkpoint = begin(Checkpoint(tmp_path, tokenizer, monitor="val_loss", overwrite=True))
    for name, values in (("one", [3.0, 1.0, 2.0]), ("other", [9.0, 8.0, 8.5])):
        checkpoint.set_model(Scripted(name=name))
        checkpoint.on_train_begin()
        for epoch, value in enumerate(values):
            checkpoint.on_epoch_end(epoch, {"val_loss": value})
        checkpoint.on_train_end()
        assert (tmp_path / "model.keras").read_text() == name and checkpoint.best == min(values)


def test_an_epoch_may_lack_a_value_that_later_ones_have(tokenizer, tmp_path, caplog):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(9)), tokenizer)
    for folder, epochs in (("validated", 2), ("never", 1)):
        model, checkpoint = tiny.compiled_again(), Checkpoint(tmp_path / folder, tokenizer, monitor="val_loss")
        options = {"validation_data": corpus, "validation_freq": 2, "verbose": 0}
        model.fit(corpus, epochs=epochs, callbacks=[checkpoint], **options)
        assert (tmp_path / folder / "last.keras").exists()
        assert (tmp_path / folder / "model.keras").exists() == (epochs == 2)
    [record] = [record for record in caplog.records if "monitor" in record.getMessage()]
    assert record.getMessage().startswith("monitor='val_loss' is in the logs of no epoch: this run has written no")


def test_a_run_is_not_resumed_with_another_monitor(tokenizer, tmp_path):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(9)), tokenizer)
    callbacks = {
        "Checkpoint": lambda **options: Checkpoint(tmp_path / "run", tokenizer, corpus=corpus, **options),
        "AverageWeights": lambda **options: AverageWeights(tmp_path / "run", 2, **options),
    }
    first = [make(monitor="perplexity") for make in callbacks.values()]
    tiny.compiled_again().fit(corpus, epochs=1, verbose=0, callbacks=first)
    for name, make in callbacks.items():
        for options, now in (
            ({"monitor": "accuracy"}, "monitor='accuracy', mode='max'"),
            ({"monitor": "perplexity", "mode": "max"}, "monitor='perplexity', mode='max'"),
        ):
            others = [other(monitor="perplexity") for key, other in callbacks.items() if key != name]
            message = f"{name}: the run in .* began with monitor='perplexity', mode='min', and is resumed with {now}"
            model = tiny.compiled_again()
            with pytest.raises(ValueError, match=message):
                model.fit(corpus, epochs=2, verbose=0, callbacks=[make(**options), *others])
