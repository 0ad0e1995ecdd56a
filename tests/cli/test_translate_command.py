"""The command translate: what it refuses before any model is read, and exports that do not run here."""

from types import SimpleNamespace

import pytest
import tensorflow as tf
import typer
from test_commands import refused

from keras_transformer.export.graph import weights as weights_of_exports
from keras_transformer_cli import answers
from keras_transformer_cli.app import app
from keras_transformer_cli.translating import Request


def test_an_export_in_integers_says_why_it_does_not_run_here(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_of_exports, "sums_of_ones", lambda: tf.ones((1, 4)))  # wrong sums
    module = tf.Module()
    module.check = weights_of_exports.Computed(weights_of_exports._checked_integers, "never_exact")
    tf.saved_model.save(module, tmp_path / "1")
    (tmp_path / "text").write_text("3 1 4\n", encoding="utf-8")
    reason = (
        "This export computes in 8-bit integers, and they are not exact on this processor, which lacks VNNI. Use "
        "another machine, or make the export again without compute='int8'."
    )
    for command in (["translate"], ["evaluate", tmp_path / "text"]):
        message = refused(command[0], tmp_path / "1", tmp_path / "text", *command[1:])
        assert message == f"{tmp_path / '1'} cannot be loaded: {reason}"


def test_sentences_that_an_export_cuts_are_counted(monkeypatch, capsys):
    """The signature stands for one that reads seven characters."""

    def signature(sentences):
        cut = tf.strings.length(sentences) > 7
        return {
            "translations": tf.strings.substr(sentences, 0, 7),
            "scores": tf.fill(cut.shape, -1.0),
            "truncated": cut,
        }

    module = SimpleNamespace(signatures={"serving_default": signature})
    monkeypatch.setattr(answers, "load_export", lambda folder: module)
    answer = answers.exported_answers(Request(["export"], "float32", {}, 64, []))
    texts = ["1 2 3 4"] * 64 + ["1 2 3 4 5"] * 3 + ["5"]
    assert [found[0].text for found in answer(texts)] == [text[:7] for text in texts]
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("Warning: 3 of 68 sentences are longer than export reads, and only their beginnings are ")
    answer(["1 2 3"])
    assert capsys.readouterr().err == ""


class Keyboard:
    def isatty(self):
        return True


def test_typed_lines_have_no_columns_and_no_page(monkeypatch):
    monkeypatch.setattr("keras_transformer_cli.translate.sys.stdin", Keyboard())
    for options in (["--tsv"], ["--jsonl"], ["--tsv", "--field", "en"], ["--attention", "page.html"]):
        with pytest.raises(typer.BadParameter, match=f"^{options[0]} has no meaning with lines that are typed. Leave"):
            app(["translate", "m", *options], standalone_mode=False)
