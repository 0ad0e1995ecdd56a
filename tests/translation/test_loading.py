"""A path that is no training folder, and a file that is no model: each has its own message in one line."""

import re
import zipfile

import keras
import pytest
import tiny

from keras_transformer import Tokenizer, Translator
from keras_transformer.training import average, read_history
from keras_transformer.translation import load_model, loading


@pytest.fixture(scope="module")
def saved(digits_translator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    digits_translator.save(folder)
    return folder


@pytest.fixture
def folder(tmp_path, saved):
    """A folder "run" with a model and a tokenizer, and with an average of weights."""
    run = tmp_path / "run"
    run.mkdir()
    for name, source in (("model", "model.keras"), ("average", "model.keras"), ("tokenizer", "tokenizer.model")):
        (run / f"{name}{source[source.rindex('.') :]}").write_bytes((saved / source).read_bytes())
    return run


def refused(message, load=Translator.load, error=(OSError, ValueError), path="."):
    with pytest.raises(error, match=f"^{re.escape(message)}$") as raised:
        load(path)
    assert "\n" not in str(raised.value)


def test_integers_are_not_read_in_floating_point(tmp_path, monkeypatch):
    """A stand-in for a model of integers, which not every processor can make."""
    model = tiny.make_model()
    monkeypatch.setattr(loading, "read_keras", lambda path: model)
    monkeypatch.setattr(model, "quantized", True)
    path = tmp_path / "model.keras"
    path.touch()
    refused(
        f"{path} holds 8-bit integers: it cannot be read under dtype 'mixed_bfloat16'. Give "
        "dtype='int8_from_float32', or the folder that it was quantized from.",
        lambda path: load_model(path, "mixed_bfloat16"),
        path=path,
    )


STRICT = """
import sys
import keras
import tiny
from keras_transformer import Translator, parallel_corpus, plots
from keras_transformer.training import AverageWeights, Checkpoint, Throughput, TrainingProgress, read_history

corpus, tokenizer = parallel_corpus(*sys.argv[1:3], Translator.load("run").tokenizer), Translator.load("run").tokenizer
model = tiny.compiled(tiny.make_model(vocabulary_size=tokenizer.vocabulary_size))
callbacks = [Throughput(), TrainingProgress(), AverageWeights("new"), Checkpoint("new", tokenizer, corpus=corpus)]
history = model.fit(corpus, validation_data=corpus, callbacks=callbacks).history  # without shuffle=False
translator = Translator.load("new", beam_size=1, max_extra_length=1)
translator.translate_file(sys.argv[1], "translated")
translator.export("export/1", check=False)
plots.attention_map(translator.attention("1", "1")[2]["cross"][0], ["日", "</s>"], ["1", "</s>"], "map.png")
"""


def test_warnings_as_errors_end_nothing(folder, tmp_path, monkeypatch):
    """Training, resuming, loading, translating, exporting and drawing in a process with PYTHONWARNINGS=error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    run = tiny.python("-c", STRICT, *map(str, tiny.write_pairs(tmp_path, tiny.digit_pairs(9))))
    assert run.returncode == 0, run.stderr
    made = ("translated", "export/1/saved_model.pb", "new/average.keras", "map.png")
    assert all((tmp_path / name).exists() for name in made)


GIVE = "Give the folder that holds model.keras and tokenizer.model, for example 'run'."


def test_what_is_no_training_folder_is_named_with_what_to_do(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(f"folder='run/model.keras' is a file, and no folder. {GIVE}", path="run/model.keras")
    refused(f"folder='run/tokenizer.model' is a file, and no folder. {GIVE}", path="run/tokenizer.model")
    call = "Translator(load_model('run/average.keras'), Tokenizer.load('run/tokenizer.model'))"
    refused(
        f"folder='run/average.keras' is a file, and no folder. To translate with it: {call}.", path="run/average.keras"
    )
    assert eval(call, {"Translator": Translator, "load_model": load_model, "Tokenizer": Tokenizer}).model is not None
    refused("folder='absent' does not exist.", path="absent")
    refused("folder[1]='absent' does not exist.", path=["run", "absent"])
    refused("folder='.' holds no model.keras. Give the folder of a model in it, for example 'run'.")
    (tmp_path / "empty").mkdir()
    rule = "Give a folder that training or Translator.save wrote."
    refused(f"folder='empty' holds no model.keras. It holds nothing. {rule}", path="empty")
    (tmp_path / "exports" / "1").mkdir(parents=True)
    (tmp_path / "exports" / "1" / "saved_model.pb").touch()
    rule = "Run it with tf.saved_model.load, or give the training folder that it was made from."
    refused(f"folder='exports' holds no model.keras. It holds the export '1'. {rule}", path="exports")
    (folder / "model.keras").unlink()
    refused(f"folder='run' holds no model.keras. It holds average.keras. To translate with it: {call}.", path="run")
    for name, start in (
        ("saved_model.pb", "It is an export. Run it with tf.saved_model.load, or give the training folder that it"),
        ("model.bin", "It is a folder for CTranslate2. Give the training folder"),
        ("vocab.json", "It is a folder of Hugging Face. Read it with keras_transformer.interop.marian.load."),
    ):
        (tmp_path / "empty" / name).write_text("")
        with pytest.raises(FileNotFoundError, match=re.escape(f"holds no model.keras. {start}")):
            Translator.load("empty")
        (tmp_path / "empty" / name).unlink()


def test_a_file_that_is_no_model_is_told_from_a_damaged_one(folder):
    model = folder / "model.keras"
    good, prefix = model.read_bytes(), f"{model} cannot be read as a Keras model: "
    half = len(good) // 2
    for data, message in (
        (b"", "it is empty."),
        (good[:half], f"it is damaged or cut off after {half:,} bytes. Copy it again, or take another file."),
        (b"no model", "it is another kind of file, which begins with b'no model'."),
        (
            b"\x89HDF\r\n",
            "it is an HDF5 file of weights or of an old Keras. Load it with Keras, and save the model as .ke",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a pointer of Git LFS, and not the file itself. Run git ",
        ),
    ):
        model.write_bytes(data)
        for load, path in ((Translator.load, folder), (load_model, model)):
            with pytest.raises(ValueError, match=re.escape(prefix + message)) as raised:
                load(path)
            assert "\n" not in str(raised.value)
    with zipfile.ZipFile(model, "w") as file:
        file.writestr("config.json", "{}")
    refused(f"{prefix}it is a zip file without model.weights.h5.", path=folder)
    damaged = bytearray(good)
    damaged[good.index(b"HDF") + 500] ^= 1  # inside the weights
    model.write_bytes(damaged)
    with pytest.raises(ValueError, match=re.escape(prefix)) as raised:
        Translator.load(folder)
    assert "\n" not in str(raised.value) and "File not found" not in str(raised.value)


def test_other_loaders_name_what_they_got(folder, tmp_path):
    refused(f"path={str(folder)!r} is a folder. Give a file.", Tokenizer.load, path=str(folder))
    refused(f"path={str(folder)!r} is a folder. Give a file.", load_model, path=str(folder))
    refused(f"path={str(folder)!r} is a folder. Give a file.", read_history, path=str(folder))
    refused("path='absent.jsonl' does not exist.", read_history, path="absent.jsonl")
    out = tmp_path / "out.keras"
    refused(f"paths[0]={str(folder)!r} is a folder. Give a file.", lambda path: average([path], out), path=str(folder))
    with pytest.raises(ValueError, match=r"tokenizer\.model ends neither in \.keras nor in \.npz\. Give files that"):
        average([folder / "tokenizer.model"], out)
    (folder / "tokenizer.model").write_bytes((folder / "model.keras").read_bytes())
    with pytest.raises(ValueError, match=r"tokenizer\.model: neither a SentencePiece model nor a WordPiece"):
        Translator.load(folder)
    (folder / "tokenizer.model").unlink()
    rule = "Copy it from the folder where this model was trained."
    refused(f"{folder}/tokenizer.model does not exist: the tokenizer of model.keras is missing. {rule}", path=folder)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(folder / "model.keras")
    with pytest.raises(ValueError, match=r"holds a Sequential, not a Transformer of keras_transformer\.$"):
        load_model(folder / "model.keras")
