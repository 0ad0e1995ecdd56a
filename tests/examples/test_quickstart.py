"""A tiny run of the quickstart, from corpus to served translation, and runs after an earlier one."""

import json

import pytest
import quickstart
import tiny
import typer
from tiny_exports import without_checks
from typer.testing import CliRunner

from keras_transformer import Translator
from keras_transformer.presets import PRESETS

TINY = "--num-pairs 300 --vocabulary-size 400 --epochs 1".split()


def run(folder, *arguments):
    app = typer.Typer()
    app.command()(quickstart.main)
    paths = ["--output", str(folder / "run"), "--export", str(folder / "numbers" / "1")]
    return CliRunner().invoke(app, [*arguments, *paths])


def shown(result):
    return [line.removeprefix("  → ") for line in result.stdout.split("\n") if line.startswith("  → ")]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder after a whole run that replaced the files of an earlier run, and its result."""
    folder = tmp_path_factory.mktemp("quickstart")
    for name in ("run/corpus/train.en", "run/model/model.keras", "numbers/1/saved_model.pb"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quickstart", tiny.SMALL_PRESET)
        without_checks(patch)
        result = run(folder, "It is half past six.", "--overwrite", *TINY)
    assert result.exit_code == 0, result.output
    return folder, result


@pytest.fixture(scope="module")
def translator(trained):
    return Translator.load(trained[0] / "run" / "model")


def test_a_run_writes_everything(trained):
    folder, result = trained
    files = contents(folder)
    sides = {f"run/corpus/{split}.{language}" for split in ("train", "valid", "test") for language in ("en", "de")}
    names = "RESULT.md result.json history.jsonl attention.png loss.png perplexity.png test.translations".split()
    names.append("model/model.keras")
    assert sides | {f"run/{name}" for name in names} | {"numbers/1/saved_model.pb"} <= files.keys()
    assert b"old" not in files.values()
    assert {data[:8] for path, data in files.items() if path.endswith(".png")} == {b"\x89PNG\r\n\x1a\n"}
    assert "epoch 1/1" in result.stdout
    assert "It is half past six.\n  → " in result.stdout


def test_the_card_counts_exact_matches(trained, translator):
    folder = trained[0] / "run"
    names = "corpus/test.en", "corpus/test.de", "test.translations"
    english, german, translations = ((folder / name).read_text("utf-8").split("\n")[:-1] for name in names)
    assert translations == translator(english)
    exact = sum(map(str.__eq__, german, translations))
    facts = json.loads((folder / "result.json").read_text("utf-8"))
    assert facts["exact match"] == f"{exact / len(german):.2%}, {exact} of {len(german)} held-out sentences"
    assert "nrefs:1|case:mixed|eff:no|tok:13a" in facts["scores"]["test"]["BLEU signature"]
    assert facts["model"]["preset"] == "quickstart" and facts["model"]["changes"].keys() == {"vocabulary_size"}


def test_after_training_it_only_translates_and_without_this_project(trained, translator, monkeypatch):
    check = "\nassert not {'keras_transformer', 'keras_hub', 'keras_nlp'} & set(sys.modules)"
    monkeypatch.setattr(quickstart, "SERVE", quickstart.SERVE + check)
    before = contents(trained[0])
    sentences = ["The ticket costs nine euros.", "[bold] Zug? 100 %", ""]
    result = run(trained[0], *sentences)
    assert result.exit_code == 0, result.output
    assert "epoch" not in result.stdout
    assert shown(result) == translator(sentences)
    assert contents(trained[0]) == before


def test_an_export_that_does_not_run_is_an_error_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "numbers" / "1").mkdir(parents=True)
    monkeypatch.setattr(quickstart, "SERVE", "raise OSError('no saved_model.pb')")
    result = run(tmp_path, "one")
    assert result.exit_code == 1
    assert str(tmp_path / "numbers" / "1") in str(result.exception)
    assert "no saved_model.pb" in str(result.exception)


@pytest.mark.parametrize("left", ["run", "numbers/1"])
def test_a_second_run_replaces_nothing_and_says_what_to_do(tmp_path, left):
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / left / "file").write_text("mine")
    result = run(tmp_path, *TINY)
    assert result.exit_code == 1
    assert f"{tmp_path / left} exists already" in result.output
    assert "--overwrite" in result.output
    assert ("To translate with it" in result.output) == (left == "numbers/1")
    assert contents(tmp_path) == {f"{left}/file": b"mine"}
