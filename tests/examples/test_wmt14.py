"""The WMT 2014 examples on small local files: where the corpora are, and a run that is interrupted and resumed."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
import wmt14

from keras_transformer_cli import training

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--preset", "quickstart", "--model", "num_encoder_layers=1", "--model", "num_decoder_layers=1"),
    *("--model", "d_model=16", "--model", "d_ff=16", "--subwords", "wordpiece", "--vocabulary-size", "25"),
    *("--tokens-per-batch", "160", "--steps", "20", "--average", "2", "--average-every", "7", "--bleu-every", "0"),
    *("--samples", "0", "--precision", "float32", "--no-deterministic"),
]


def write_corpora(folder, language):
    """The files of a language as in the archives, from different pairs of digits."""
    for seed, (_, names) in enumerate(wmt14.CORPORA[language].values()):
        tiny.write_pairs(folder / f"part{seed}", tiny.digit_pairs(41, seed=seed, longest=5))
        for side, name in zip(("en", "de"), names, strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / f"part{seed}" / f"train.{side}").read_bytes())
    for seed, name in enumerate(wmt14.TEST_SETS):
        tiny.write_pairs(folder / name, tiny.digit_pairs(7, seed=90 + seed, longest=5))
        for side, own in (("en", "en"), ("de", language)):
            (folder / f"{name}.{own}").write_bytes((folder / name / f"train.{side}").read_bytes())


@pytest.mark.parametrize(("language", "parts"), [("de", 3), ("fr", 5)])
def test_the_corpora_are_found_in_a_folder_and_what_is_missing_is_named_with_its_address(tmp_path, language, parts):
    plain = {language: {name: (address, names) for name, (address, names) in wmt14.CORPORA[language].items()}}
    write_corpora(tmp_path, language)
    pairs = wmt14.training_files(language, tmp_path, plain)
    assert len(pairs) == parts and all(path.is_file() for pair in pairs for path in pair)
    assert all(path.suffixes[-1] in (f".{language}", ".gz") for _, path in pairs)
    assert list(wmt14.test_files(language, tmp_path)) == ["newstest2013", "newstest2014"]
    address, names = plain[language]["europarl"]
    (tmp_path / names[1]).unlink()
    with pytest.raises(FileNotFoundError) as error:
        wmt14.training_files(language, tmp_path, plain)
    name = Path(names[1]).name
    assert str(error.value) == f"no {name} in {tmp_path}. It is in {address}; without --data it is downloaded."


def test_the_archives_are_downloaded_and_unpacked_once(tmp_path):
    """A real download, from the address of a file, in a process that has its own folders of Keras and sacreBLEU."""
    write_corpora(tmp_path / "files", "de")
    corpora = {"de": {}}
    for name, (address, names) in wmt14.CORPORA["de"].items():
        archive = tmp_path / "server" / address.rsplit("/", 1)[1]
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            for member in names:
                tar.add(tmp_path / "files" / member, member)
        corpora["de"][name] = (archive.as_uri(), names)
    for known in wmt14.TEST_SETS.values():  # sacreBLEU takes what it has downloaded before
        folder = tmp_path / "sacrebleu" / known
        folder.mkdir(parents=True)
        for field in ("src", "ref", "docid", "genre", "origlang"):
            (folder / f"{known.replace('/', '_')}.en-de.{field}").write_text("1\n", encoding="utf-8")
    code = f"""
import shutil, wmt14
files = wmt14.training_files("de", None, {corpora!r})
shutil.rmtree({str(tmp_path / "server")!r})
assert wmt14.training_files("de", None, {corpora!r}) == files
print(*[len(path.read_text().splitlines()) for pair in files for path in pair])
print(*[path for pair in wmt14.test_files("de").values() for path in pair], sep="\\n")
"""
    environment = {
        **os.environ,
        "KERAS_HOME": str(tmp_path / "keras"),
        "SACREBLEU": str(tmp_path / "sacrebleu"),
        "PYTHONPATH": f"{tiny.PYTHONPATH}:{ROOT / 'examples'}",
    }
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    lines, *paths = result.stdout.splitlines()[-5:]
    assert lines == "41 41 41 41 41 41"
    assert all(path.startswith(str(tmp_path / "sacrebleu")) for path in paths)


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C after the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupted_experiment_goes_on_and_ends_as_one_without_a_break(tmp_path, monkeypatch, capsys):
    data, whole, broken = tmp_path / "data", tmp_path / "whole", tmp_path / "broken"
    write_corpora(data, "de")
    validation = wmt14.test_files("de", data)["newstest2013"]
    wmt14.train(wmt14.training_files("de", data), validation, "paper", whole, SMALL)
    usual, exported = training.make_callbacks, []
    # Exports have tests of their own, and take long.
    monkeypatch.setattr(wmt14.Translator, "export", lambda translator, folder: exported.append(folder))

    def interrupted(*arguments):
        stop, callbacks = usual(*arguments)
        return stop, [*callbacks, Interrupt()]

    with monkeypatch.context() as patch:
        patch.setattr(training, "make_callbacks", interrupted)
        with pytest.raises(SystemExit) as end:
            wmt14.run("de", "paper", broken, data, SMALL)
    assert end.value.code == 130
    assert not (broken / "average.keras").exists()
    wmt14.run("de", "paper", broken, data, SMALL)
    averages = [keras.saving.load_model(folder / "average.keras", compile=False) for folder in (whole, broken)]
    for expected, found in zip(*(model.get_weights() for model in averages), strict=True):
        np.testing.assert_array_equal(found, expected)
    scores = json.loads((broken / "test" / "result.json").read_text())["scores"]
    assert list(scores) == ["newstest2013", "newstest2014"]
    assert all("BLEU of the paper" in each and "BLEU signature" in each for each in scores.values())
    assert len((broken / "newstest2014.de").read_text().splitlines()) == 7
    assert exported == [broken / "saved_model" / "1"]
    assert "WMT 2014 en-de, recipe paper" in capsys.readouterr().out
