"""The example that parses: from trees to scores, an export and drawings; the second time it does not train again."""

import json

import parse_english
import pytest
import tiny
from typer.testing import CliRunner

from keras_transformer.parsing import Parser, evaluate_trees, read_trees
from keras_transformer_cli.parsing import facts

TREES = [
    "(S (NP (DT the) (NN cat)) (VP (VBZ sees) (NP (NNS mice))) (. .))",
    "(S (NP (NNS mice)) (VP (VBP run)) (. .))",
    "(S (NP (PRP it)) (VP (VBZ runs)))",
]
SMALL = ["--preset", "quickstart", "--vocabulary-size", "300", "--epochs", "1", "--average", "1", "--beam-size", "1"]
SMALL += [f"--model={name}={value}" for name, value in tiny.SMALL_PRESET.items()]
SMALL += ["--samples", "0", "--max-extra-length", "20", "--precision", "float32", "--no-deterministic"]


@pytest.fixture
def app():
    import typer

    app = typer.Typer()
    app.command()(parse_english.main)
    return app


def test_the_whole_run(app, tmp_path, monkeypatch):
    for name, trees in {"train": TREES * 9, "dev": TREES[:2], "test": TREES}.items():
        (tmp_path / f"{name}.mrg").write_text("\n".join(trees), encoding="utf-8")
    exported = []
    monkeypatch.setattr(Parser, "export", lambda self, path: path.mkdir(parents=True) or exported.append(path))
    files = [f"--{name}={tmp_path / name}.mrg" for name in ("train", "dev", "test")]
    output = tmp_path / "run"
    arguments = [*files, f"--output={output}", "--beam", "1", "--sentence", "mice run .", "--", *SMALL]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert exported == [output / "saved_model" / "1"] and (output / "tree_1.svg").read_text().startswith("<svg")
    scored = json.loads((output / "scored" / "result.json").read_text(encoding="utf-8"))
    assert list(scored["scores"]) == ["dev", "test"] and scored["trained as"]["model"]["preset"] == "quickstart"
    for name, found in scored["scores"].items():
        assert list(found) == ["beam 1, constrained", "beam 1, free"]
        bound = found["beam 1, constrained"]
        assert bound["outputs that needed repair"] == 0 and bound["sentences a second"] > 0
        parsed, references = (read_trees(path) for path in (output / f"{name}.parsed.mrg", tmp_path / f"{name}.mrg"))
        assert bound | facts(evaluate_trees(parsed, references)) == bound
    for word in ("beam 1, constrained", "a second", "mice"):
        assert word in first.output
    weights = (output / "model.keras").read_bytes()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "This run is finished" in again.output and len(exported) == 1
    assert (output / "model.keras").read_bytes() == weights


def test_a_missing_file_is_named_before_the_training(app, tmp_path):
    (tmp_path / "train.mrg").write_text(TREES[0], encoding="utf-8")
    found = CliRunner().invoke(
        app,
        ["--train", str(tmp_path / "train.mrg"), "--dev", str(tmp_path / "no.mrg"), "--output", str(tmp_path / "x")],
    )
    assert "no.mrg" in str(found.exception)
    assert not (tmp_path / "x").exists()
