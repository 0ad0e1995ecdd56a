"""Every writer of the package refuses odd paths before its work, and loses nothing on a full disk."""

import errno
import json
import os
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import parallel_corpus, plots
from keras_transformer.files import written_beside
from keras_transformer.training import AverageWeights, Checkpoint, HistoryFile, TensorBoardLog, average, write_card

FACTS = {"seed": 1}


def begun(callback):
    """Bring a callback to the start of a `fit`."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback.set_model(model)
    callback.set_params({"epochs": 1, "steps": 1})
    callback.on_train_begin()
    return callback


@pytest.fixture(scope="module")
def kept(digits_translator, tmp_path_factory):
    """A folder with a source text and two models, for the writers to read."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "source").write_text("1 2\n3\n")
    digits_translator.model.save(folder / "model.keras")
    return folder


# Each writer: what it writes, and a function of a translator, the fixture `kept` and a path.
WRITERS = {
    "Tokenizer.save": ("file", lambda t, kept, path: t.tokenizer.save(path, overwrite=True)),
    "Translator.save": ("folder", lambda t, kept, path: t.save(path, overwrite=True)),
    "export": ("folder", lambda t, kept, path: t.export(path, overwrite=True, check=False)),
    "translate_file": ("file", lambda t, kept, path: t.translate_file(kept / "source", path, overwrite=True)),
    "average": ("file", lambda t, kept, path: average([kept / "model.keras"], path, overwrite=True)),
    "learning_curves": ("file", lambda t, kept, path: plots.learning_curves({"a": ([1], [1])}, "x", "y", path)),
    "training_curves": ("folder", lambda t, kept, path: plots.training_curves([{"update": 1, "loss": 1.0}], path)),
    "write_card": ("folder", lambda t, kept, path: write_card(path, "title", FACTS)),
    "HistoryFile": ("file", lambda t, kept, path: begun(HistoryFile(path))),
    "TensorBoardLog": ("folder", lambda t, kept, path: begun(TensorBoardLog(path))),
    "AverageWeights": ("folder", lambda t, kept, path: begun(AverageWeights(path))),
    "Checkpoint": ("folder", lambda t, kept, path: begun(Checkpoint(path, t.tokenizer))),
}
writers = pytest.mark.parametrize(("kind", "write"), WRITERS.values(), ids=WRITERS)


def snapshot(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@writers
def test_odd_paths_are_refused_before_the_work(digits_translator, kept, tmp_path, monkeypatch, kind, write):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.png").write_text("precious")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "inside").write_text("precious")
    os.mkfifo(tmp_path / "pipe.png")
    odd = ["", "~/x.png", None, "file.png/x.png", "x" * 300, "pipe.png"]
    odd += ["folder.png", "new.png/"] if kind == "file" else ["file.png"]
    before = snapshot(tmp_path)
    for path in odd:
        with pytest.raises((OSError, ValueError, TypeError)) as raised:
            if path is None and write is WRITERS["learning_curves"][1]:
                raise TypeError("None draws without writing")
            write(digits_translator, kept, path)
        message = str(raised.value)
        assert "\n" not in message and len(message) < 600
        assert path is None or path.rstrip("/") in message or path == "", message
    assert snapshot(tmp_path) == before


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


BEFORE_TRAINING = ("HistoryFile", "TensorBoardLog", "AverageWeights", "Checkpoint")  # these write later
AT_ONCE = {name: writer for name, writer in WRITERS.items() if name not in BEFORE_TRAINING}


@pytest.mark.parametrize(("kind", "write"), AT_ONCE.values(), ids=AT_ONCE)
def test_a_full_disk_is_named_with_its_free_space_and_nothing_is_lost(
    digits_translator, kept, tmp_path, monkeypatch, kind, write
):
    path = tmp_path / "out.keras" if write is WRITERS["average"][1] else tmp_path / "out.png"
    write(digits_translator, kept, path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(os, "fsync", full)  # the last thing that a writer does before it moves its file
    with pytest.raises(OSError, match="MiB are free") as raised:
        write(digits_translator, kept, path)
    message = r"\[Errno 28\] No space left on device: writing .*out\S* failed; [\d,.]+ MiB are free\. "
    assert re.match(message, str(raised.value)) and "\n" not in str(raised.value)
    left = {name: data for name, data in snapshot(tmp_path).items() if not name.startswith("out.png.part")}
    assert left == before


def test_a_history_has_no_half_of_a_line_on_a_full_disk(tmp_path, monkeypatch):
    callback = begun(HistoryFile(tmp_path / "history.jsonl"))
    callback.on_epoch_end(0, {"loss": np.float32(2), "counts": np.arange(2)})
    before = (tmp_path / "history.jsonl").read_bytes()
    assert json.loads(before) == {"epoch": 1, "update": 0, "loss": 2.0, "counts": [0, 1]}
    monkeypatch.setattr(os, "fsync", full)
    message = r"history\.jsonl failed; [\d,.]+ MiB are free\. The lines before are intact\."
    with pytest.raises(OSError, match=message):
        callback.on_epoch_end(1, {"loss": 1.0})
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_full_disk_under_the_curves_is_an_error_of_the_system(tmp_path, monkeypatch):
    callback = begun(TensorBoardLog(tmp_path / "curves"))
    callback.on_epoch_begin(0)

    def full_in_tensorflow(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "events.out; No space left on device\n\tCould not flush.")

    monkeypatch.setattr(tf.summary, "write", full_in_tensorflow)
    with pytest.raises(OSError, match=r"No space left on device: writing .*/curves failed; .* are free\."):
        callback.on_epoch_end(0, {"loss": 1.0})


def test_an_error_of_numpy_without_a_number_is_explained(tmp_path, monkeypatch):
    with (
        pytest.raises(OSError, match=r"^100 requested and 3 written: writing .*/out failed; [\d,.]+ MiB are free\."),
        written_beside(tmp_path / "out"),
    ):
        raise OSError("100 requested and 3 written")
    with pytest.raises(ValueError, match=r"^its own error$"), written_beside(tmp_path / "out"):
        raise ValueError("its own error")
    assert list(tmp_path.iterdir()) == []


def test_both_files_of_a_card_stay_or_none(tmp_path, monkeypatch):
    write_card(tmp_path, "old", FACTS)
    before = snapshot(tmp_path)
    path_type = type(tmp_path)
    write_text = path_type.write_text

    def full_at_the_second(path, *arguments, **options):
        return full() if path.suffix == ".json" else write_text(path, *arguments, **options)

    monkeypatch.setattr(path_type, "write_text", full_at_the_second)
    with pytest.raises(OSError, match=rf"writing {tmp_path}/\S+ failed; [\d,.]+ MiB are free"):
        write_card(tmp_path, "new", FACTS)
    assert snapshot(tmp_path) == before


def test_numbers_of_numpy_and_an_argument_that_is_no_unicode_reach_the_card(tmp_path):
    write_card(tmp_path, "title", {"updates": np.int64(3), np.int64(5): np.float32(0.5), "file": "a\udcff"})
    facts = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (facts["updates"], facts["5"], facts["file"]) == (3, 0.5, "a\udcff")
    assert "- file: a\\udcff" in (tmp_path / "RESULT.md").read_text(encoding="utf-8")


def test_a_long_name_and_one_of_many_bytes_can_be_written(tmp_path):
    for name in ("x" * 255, "é" * 127):
        with written_beside(tmp_path / name) as beside:
            beside.write_text("new")
        assert (tmp_path / name).read_text() == "new"


def test_training_with_numbers_of_numpy_writes_plain_ones(tmp_path):
    """NumPy's integers as arguments of the model and of the callbacks."""
    tokenizer = tiny.make_tokenizer(tmp_path / "tokenizer")
    model = tiny.compiled(tiny.make_model(d_model=np.int64(16)))
    averaging = AverageWeights(tmp_path / "run", n=np.int64(1))
    averaging.set_model(model)
    averaging.on_train_begin()
    averaging.on_epoch_begin(0)
    averaging.on_epoch_end(0, {"loss": np.float32(1)})
    averaging.on_train_end()
    assert keras.saving.load_model(tmp_path / "run" / "average.keras").d_model == 16
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(9)), tokenizer)
    checkpoint = Checkpoint(tmp_path / "run", tokenizer, corpus=corpus, keep=np.int64(2), every_steps=np.int64(3))
    checkpoint.set_model(model)
    checkpoint.set_params({"epochs": 1, "steps": corpus.report.batches})
    checkpoint.on_train_begin()
    checkpoint.on_epoch_begin(0)
    checkpoint.on_train_end()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000000.npz"]
