"""The Multi30k example on a small corpus: the places of its files, and one tiny run that writes everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import tiny
import translate_multi30k as example
import typer
from tiny_exports import without_checks

from keras_transformer.presets import PRESETS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("raw", "raw/{split}.{language}.gz"),
        ("raw", "{split}.{language}.gz"),
        ("raw", "raw/{split}.{language}"),
        ("raw", "{split}.{language}"),
        ("tok", "tok/{split}.lc.norm.tok.{language}"),
        ("tok", "{split}.lc.norm.tok.{language}"),
    ],
)
def test_the_corpus_is_found_in_each_layout_of_the_folder(tmp_path, variant, name):
    tiny.write_multi30k(tmp_path, name)
    assert example.corpus_files(tmp_path, variant, ("de", "en")) == {
        split: tuple(tmp_path / name.format(split=tiny.SPLITS[split], language=language) for language in ("de", "en"))
        for split in tiny.SPLITS
    }


def test_an_error_for_a_missing_file_names_all_places(tmp_path):
    tiny.write_multi30k(tmp_path, "raw/{split}.{language}")
    (tmp_path / "raw" / "val.de").unlink()
    with pytest.raises(FileNotFoundError, match=r"no valid file for 'de'.*raw/val\.de\.gz.*raw/val\.de,.*/val\.de\."):
        example.corpus_files(tmp_path, "raw", ("en", "de"))


def test_the_corpus_is_downloaded_once(tmp_path):
    """A real download, from the address of a file, in a process whose Keras folder is in `tmp_path`."""
    tiny.write_multi30k(tmp_path / "server", "raw/{split}.{language}.gz")
    code = f"""
import gzip, shutil
from translate_multi30k import corpus_files
files = corpus_files(None, "raw", ("en", "de"), {(tmp_path / "server").as_uri()!r})
shutil.rmtree({str(tmp_path / "server")!r})
assert corpus_files(None, "raw", ("en", "de"), {(tmp_path / "server").as_uri()!r}) == files
print(*sorted(str(path) for pair in files.values() for path in pair), sep="\\n")
print(len(gzip.open(files["train"][1]).read().splitlines()))
"""
    environment = {
        **os.environ,
        "KERAS_HOME": str(tmp_path / "keras"),
        "PYTHONPATH": f"{tiny.PYTHONPATH}:{ROOT / 'examples'}",
    }
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    *paths, lines = result.stdout.splitlines()[-7:]
    assert len(set(paths)) == 6 and all(path.startswith(str(tmp_path / "keras")) for path in paths)
    assert lines == "100"


TINY = {"preset": "quickstart", "vocabulary_size": 281, "epochs": 1, "tokens_per_batch": 400, "warmup_steps": 10}


def test_one_tiny_run_writes_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PRESETS, "quickstart", tiny.SMALL_PRESET)
    without_checks(monkeypatch)
    pairs = tiny.write_multi30k(tmp_path / "corpus", "{split}.lc.norm.tok.{language}")
    output = tmp_path / "run"
    example.main(output, data=tmp_path / "corpus", monitor="val_bleu", **TINY)
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()) == [
        "RESULT.md",
        "bleu.png",
        "history.jsonl",
        "learning_rate.png",
        "loss.png",
        "model/last.keras",
        "model/model.keras",
        "model/tokenizer.model",
        "perplexity.png",
        "result.json",
        "saved_model/1/README.md",
        "saved_model/1/SHA256SUMS",
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.data-00000-of-00001",
        "saved_model/1/variables/variables.index",
        "test_2016.translations",
    ]
    translations = (output / "test_2016.translations").read_text(encoding="utf-8").split("\n")[:-1]
    sources = [source for source, _ in pairs[120:]]
    served = tf.saved_model.load(output / "saved_model" / "1").signatures["serving_default"]
    assert [text.decode() for text in served(sentences=tf.constant(sources))["translations"].numpy()] == translations

    printed, card = capsys.readouterr().out, (output / "RESULT.md").read_text(encoding="utf-8")
    assert card in printed
    facts = json.loads((output / "result.json").read_text(encoding="utf-8"))
    assert facts["corpus"]["pairs"] == facts["corpus"]["kept"] == 100
    assert len(facts["corpus"]["files"]) == 6
    assert "|tok:none|" in facts["scores"]["test_2016"]["BLEU signature"]
    assert "|tok:none|" in facts["kept"] and "val_bleu" in facts["kept"]
    assert {"command", "versions", "seed", "time"} <= facts.keys()


def forbid(*arguments, **options):
    raise AssertionError("the work began")


def test_an_output_that_exists_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(example, "corpus_files", forbid)
    for output in (tmp_path / "folder" / "saved_model", tmp_path / "file"):
        output.parent.mkdir(exist_ok=True)
        output.write_text("precious")
    for output in (tmp_path / "folder", tmp_path / "file"):
        with pytest.raises(typer.BadParameter, match="exists and is not an empty folder"):
            example.main(output)
    with pytest.raises(typer.BadParameter, match="must be one of raw, tok, got 'Raw'"):
        example.main(tmp_path / "new", variant="Raw")
    with pytest.raises(typer.BadParameter, match="must be one of val_perplexity, val_bleu, got 'bleu'"):
        example.main(tmp_path / "new", monitor="bleu")
    with pytest.raises(AssertionError, match="the work began"):
        example.main(tmp_path / "new")
