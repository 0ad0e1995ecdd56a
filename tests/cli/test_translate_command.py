"""The command translate: what it refuses before any model is read, and exports that do not run here."""

from types import SimpleNamespace

import pytest
import tensorflow as tf
import tiny
import typer
from test_commands import refused

from keras_transformer import Translator
from keras_transformer.export.graph import weights as weights_of_exports
from keras_transformer.inputs.kinds import SentenceError
from keras_transformer_cli import answers, translating
from keras_transformer_cli.answers import Answer
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
    """A terminal, on which these lines are typed."""

    def __init__(self, *lines):
        self.lines = iter(lines)

    def isatty(self):
        return True

    def __call__(self, prompt):
        try:
            return next(self.lines)
        except StopIteration:
            raise EOFError from None


def test_typed_lines_have_no_columns_and_no_page(monkeypatch):
    monkeypatch.setattr("keras_transformer_cli.translate.sys.stdin", Keyboard())
    for options in (["--tsv"], ["--jsonl"], ["--tsv", "--field", "en"], ["--attention", "page.html"]):
        with pytest.raises(typer.BadParameter, match=f"^{options[0]} has no meaning with lines that are typed. Leave"):
            app(["translate", "m", *options], standalone_mode=False)


def request():
    return Request(["model"], "float32", {"beam_size": 1}, 64, [])


def test_a_typed_line_that_cannot_be_translated_is_named_and_the_next_one_is_read(monkeypatch, capsys):
    def answer(texts):
        if texts == ["3 x"]:
            raise SentenceError(0, "has an x.")
        return [[Answer(f"<{text}>", 0.0)] for text in texts]

    monkeypatch.setattr(translating, "answerer", lambda request: (answer, None))
    monkeypatch.setattr("builtins.input", Keyboard("1 2", "3 x", "", __file__))
    translating.translate_typed(request())
    said = capsys.readouterr()
    assert said.out.splitlines() == ["<1 2>", f"<{__file__}>"]
    assert "Error: the line has an x." in said.err


def test_lines_that_are_names_of_files_are_translated_with_a_warning(monkeypatch, capsys, tmp_path):
    translator = Translator(tiny.make_opinionated(), tiny.make_tokenizer(tmp_path), beam_size=1, max_extra_length=3)
    monkeypatch.setattr(answers, "load", lambda *_, **__: translator)
    (tmp_path / "names").write_text(f"{__file__}\n" * 2, encoding="utf-8")
    (tmp_path / "lines").write_text(f"3 1 4\n{__file__}\n", encoding="utf-8")
    monkeypatch.setattr(translating.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    written = {}
    for name in ("names", "lines"):
        translating.translate_lines(request(), tmp_path / name, None, 1, overwrite=False)  # a line at a time
        said = capsys.readouterr()
        written[name] = said.out.splitlines()
        warned = f"each line of {tmp_path / name} is the name of a file, for example {__file__!r}"
        assert (warned in said.err.replace("\n", "")) == (name == "names"), said.err
    assert written["names"] == [written["lines"][1]] * 2
    with pytest.raises(ValueError, match=r"sentences\[0\]=.* is the name of a file. Give the file's lines"):
        translator([__file__])
    for method in (translator.n_best, translator.sample):
        with pytest.raises(ValueError, match=r"sentences\[0\]=.* is the name of a file. Give the file's lines"):
            method([__file__])
