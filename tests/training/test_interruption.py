"""Ctrl-C in `fit`: one line says what is saved and how to go on, and nothing of it stays in the model."""

import re

import keras
import pytest
import tiny
from resumable import Run

from keras_transformer.training import Checkpoint, SampleTranslations
from keras_transformer.training.states import states_in


def interrupt(epoch, batch):
    """A callback that acts as Ctrl-C after a batch of an epoch."""
    callback = tiny.BreakAt(epoch, batch)

    def on_train_batch_end(number, logs=None):
        if (callback.epoch, number) == (epoch, batch):
            raise KeyboardInterrupt

    callback.on_train_batch_end = on_train_batch_end
    return callback


def said(caplog):
    """The lines of the log, without those about the short schedule of these runs."""
    return [message for message in caplog.messages if "warmup_steps" not in message]


def test_a_resumable_run_says_where_it_was_interrupted_where_it_goes_on_and_that_it_is_finished(
    tmp_path, paths, tokenizer, caplog
):
    """Validated on the corpus that it trains on, which a resumed epoch begins in the middle."""
    keras.utils.set_random_seed(7)
    whole = Run(tmp_path / "whole", paths, tokenizer)
    whole.valid = whole.corpus
    expected = whole.fit(epochs=1)
    assert said(caplog) == []

    first = Run(tmp_path / "run", paths, tokenizer, again=whole)
    with pytest.raises(KeyboardInterrupt):
        first.fit(interrupt(0, 9), epochs=1)
    states = tmp_path / "run" / "checkpoints"
    newest = states / "step-000000008.npz"
    again = "Start the same command again to resume from it."
    assert said(caplog) == [f"Training was interrupted. The newest state is {newest}. {again}"]

    caplog.clear()
    resumed = Run(tmp_path / "run", paths, tokenizer, after=first)
    resumed.valid = resumed.corpus
    samples = []
    reads = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: samples.append(rows_of(resumed)))
    found = resumed.fit(reads, epochs=1)
    assert said(caplog) == [f"Training resumes from {newest}: in epoch 1 of 1, after batch 8 of 13, after update 8."]
    assert found["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-6)
    assert len(set(samples)) == 1 and samples[0] > 0  # any reader but `fit` sees the whole corpus at any time

    caplog.clear()
    assert Run(tmp_path / "run", paths, tokenizer).fit(epochs=1) == {}
    last = states_in(states, "step")[13]
    assert said(caplog) == [f"This run is finished: {last} is of the end of epoch 1, and fit has epochs=1."]

    message = rf"^{tmp_path}/run holds a model\.keras already and states of a run\. .* To resume it, pass corpus=\.$"
    with pytest.raises(FileExistsError, match=message):
        Checkpoint(tmp_path / "run", tokenizer)


def rows_of(run):
    """How many rows of the first five batches hold a sentence."""
    return sum(int((inputs["source"][:, 0] != 0).numpy().sum()) for inputs, _ in run.corpus.take(5))


def test_an_interruption_while_steps_are_skipped_leaves_nothing_behind(tmp_path, paths, tokenizer):
    first = Run(tmp_path, paths, tokenizer)
    with pytest.raises(tiny.Broken):
        first.fit(tiny.BreakAt(0, 9), epochs=1)
    second = Run(tmp_path, paths, tokenizer, after=first)
    with pytest.raises(KeyboardInterrupt):
        second.fit(interrupt(0, 2), epochs=1)
    assert int(second.model.optimizer.iterations) == 8
    second.model.fit(second.valid, epochs=2, initial_epoch=1, shuffle=False, verbose=0)  # without Checkpoint
    assert int(second.model.optimizer.iterations) == 8 + second.valid.report.batches


def test_a_run_without_states_says_what_its_folder_holds(tmp_path, tokenizer, caplog):
    model = tiny.compiled_again()
    for options, epoch, message in (
        ({}, 0, rf"Nothing was saved in {tmp_path}/0 yet\. Start the same command again\."),
        (
            {},
            1,
            rf"{tmp_path}/1/model\.keras is of epoch 1\. Read it with keras\.saving\.load_model to train on\.",
        ),
        ({"monitor": "loss"}, 1, rf"{tmp_path}/2/last\.keras is of epoch 1\. Read it with "),
    ):
        caplog.clear()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        callbacks = [interrupt(epoch, 1), Checkpoint(folder, tokenizer, **options)]
        with pytest.raises(KeyboardInterrupt):
            model.fit(tiny.dataset(), epochs=2, verbose=0, callbacks=callbacks)
        [found] = said(caplog)
        assert re.match(f"Training was interrupted. {message}", found), found


def test_samples_on_a_terminal_without_unicode_do_not_end_training(monkeypatch, capsys):
    callback = SampleTranslations(lambda sentences: ["日 [b] :smile:"], ["a"], ["Ä"])
    callback.set_params({"epochs": 1})

    class Ascii:
        encoding = "ascii"
        written = ""

        def write(self, text):
            text.encode("ascii")
            self.written += text

        def flush(self):
            pass

    monkeypatch.setattr("sys.stdout", stream := Ascii())
    callback.on_epoch_end(0)
    assert stream.written == "    a\n  \\u2192 \\u65e5 [b] :smile:\n  \\u2260 \\xc4\n"
