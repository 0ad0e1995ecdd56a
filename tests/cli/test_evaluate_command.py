"""The command evaluate: one system, several, with and without models, and what it refuses before it translates."""

import io
import json
import re
import sys
from dataclasses import asdict

import numpy as np
import pytest
import rival_texts
import tiny
from typer.testing import CliRunner

from keras_transformer import Translator
from keras_transformer.evaluate import compare, evaluate
from keras_transformer.translation import Shortlist
from keras_transformer_cli import evaluating
from keras_transformer_cli.app import app

PAIRS = tiny.digit_pairs(11, seed=3, longest=5)
SYSTEMS = {name: rival_texts.translations(errors) for name, errors in {"one": 0.3, "two": 0.1}.items()}


def run(*arguments):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments):
    """The message of a command that fails."""
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code != 0
    return str(result.exception) if not isinstance(result.exception, SystemExit) else " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with translations of two systems, `one` and `two`, and two files of references, `r1` and `r2`."""
    folder = tmp_path_factory.mktemp("texts")
    texts = SYSTEMS | {"r1": rival_texts.references(), "r2": rival_texts.translations(0.05, seed=8)}
    for name, lines in texts.items():
        rival_texts.write(folder / name, lines)
    return folder, [texts["r1"], texts["r2"]]


@pytest.fixture
def models(tmp_path):
    """A folder with a test set, and what looks like two training folders and an export: no model is ever read."""
    folder = tmp_path / "models"
    tiny.write_pairs(folder, PAIRS, "test")
    tokenizer = tiny.make_tokenizer(tmp_path)
    for name in ("a/model.keras", "b/model.keras", "served/saved_model.pb"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for name in ("a", "b"):
        tokenizer.save(folder / name / "tokenizer.model")
    return folder


def test_files_are_scored_with_every_metric_and_several_references(files):
    folder, references = files
    more = "--more", "chrf++", "--more", "ter", "--more", "paper_bleu"
    paths = folder / "one", folder / "r1", folder / "r2"
    expected = evaluate(SYSTEMS["one"], references, more=["chrf++", "ter", "paper_bleu"])
    assert run("--translated", *paths, *more) == f"{expected}\n"
    assert json.loads(run("--translated", *paths, *more, "--json")) == asdict(expected)
    assert set(json.loads(run("--translated", *paths, "--json"))) == {
        "bleu",
        "bleu_details",
        "bleu_signature",
        "chrf",
        "chrf_signature",
    }


def test_files_are_compared_as_in_python(files):
    folder, references = files
    names = {str(folder / name): texts for name, texts in SYSTEMS.items()}
    options = "--samples", 50, "--more", "ter", "--more", "paper_bleu", "--language", "en"
    command = "--translated", folder / "one", folder / "r1", folder / "r2", "--against", folder / "two", *options
    expected = compare(names, references, more=["ter", "paper_bleu"], language="en", samples=50)
    assert run(*command) == f"{expected}\n"
    assert json.loads(run(*command, "--json")) == asdict(expected)


def test_two_lines_with_two_references_are_no_riddle(tmp_path):
    for name in ("out", "r1", "r2"):
        rival_texts.write(tmp_path / name, ["a b c d", "e f g h"])
    assert run("--translated", *(tmp_path / name for name in ("out", "r1", "r2"))).startswith("BLEU 100.00")


def test_each_model_translates_once_and_the_first_output_is_written_before_the_next_model_works(
    models, tmp_path, monkeypatch
):
    sources, references = zip(*PAIRS, strict=True)
    output, seen = tmp_path / "out", []

    def translate(request, sentences):
        seen.append((request.model, output.exists()))
        return [text.replace("1", request.model[0][-1]) for text in sentences]

    monkeypatch.setattr(evaluating, "translations_of", translate)
    rival_texts.write(tmp_path / "copy", sources)
    a, b, test_set = models / "a", models / "b", (models / "test.en", models / "test.de")
    against = "--against", b, "--against", tmp_path / "copy"
    printed = run(a, *test_set, *against, "--ensemble", b, "-o", output, "--samples", 9, "--json")
    assert seen == [([str(a), str(b)], False), ([str(b)], True)]
    texts = {str(name): [text.replace("1", name.name) for text in sources] for name in (a, b)}
    assert json.loads(printed) == asdict(compare({**texts, str(tmp_path / "copy"): sources}, references, samples=9))
    assert output.read_text(encoding="utf-8").splitlines() == texts[str(a)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_table(monkeypatch):
    comparison = compare(SYSTEMS, rival_texts.references(), samples=50)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", Terminal())
    evaluating.print_comparison(comparison, as_json=False)
    lines = re.sub(r"\x1b\[[\d;]*m", "", sys.stdout.getvalue()).splitlines()
    columns = [[cell.strip() for cell in re.split("[│┃]", line)] for line in lines]
    bleu, chrf = (list(comparison.scores[metric].values()) for metric in ("bleu", "chrf"))
    score, p = str(bleu[1]).split(", ")
    assert ["", "system", "BLEU", "chrF", ""] in columns
    assert ["", "one", str(bleu[0]), str(chrf[0]), ""] in columns
    assert ["", "two", score, str(chrf[1]).split(", ")[0], ""] in columns
    assert any(row[2:3] == [p] for row in columns)
    assert f"BLEU: {comparison.signatures['bleu']}" in lines and comparison.legend in lines
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys, "stdout", Terminal())
    evaluating.print_comparison(comparison, as_json=False)
    assert sys.stdout.getvalue() == f"{comparison}\n"  # a narrow terminal gets lines


def test_what_does_not_fit_is_refused_before_anything_is_translated(files, models, tmp_path, monkeypatch):
    folder, _ = files
    rival_texts.write(tmp_path / "short", ["a"] * 5)
    rival_texts.write(tmp_path / "empty", [])
    monkeypatch.setattr(evaluating, "translations_of", lambda *_: pytest.fail("it translates"))
    source, target, one, two = models / "test.en", models / "test.de", folder / "one", folder / "two"
    belongs = "they must be aligned. Line n of one belongs to line n of the other."
    translating, scoring = (models / "a", source, target), ("--translated", one, folder / "r1")
    for arguments, message in (
        (
            (models / "a", source, target, tmp_path / "short"),
            f"{source} has 11 lines and {tmp_path}/short has 5: {belongs}",
        ),
        (("--translated", one, tmp_path / "short"), f"{one} has 23 lines and {tmp_path}/short has 5: {belongs}"),
        ((*translating, "--against", two), f"{two} has 23 lines and {target} has 11: {belongs}"),
        (
            ("--translated", tmp_path / "empty", tmp_path / "empty"),
            f"{tmp_path}/empty and {tmp_path}/empty are empty. There is nothing to score.",
        ),
        ((*translating, "--against", models / "a"), f"against='{models}/a' is there twice. Give each system once."),
        ((*translating, "--against", tmp_path / "no"), f"against='{tmp_path}/no' does not exist."),
        ((*scoring, "--against", tmp_path / "no"), f"against='{tmp_path}/no' does not exist."),
        (
            (*scoring, "--against", models / "a"),
            f"against='{models}/a' is a folder, and with --translated there are no sentences to translate. Give a file "
            "of translations, or: MODEL SOURCE REFERENCE --against TRANSLATIONS.",
        ),
        (
            (*translating, "--against", models),
            f"against='{models}' holds no model.keras. Give the folder of a model in it, for example '{models}/a'.",
        ),
        (
            (*translating, "--against", models / "served", "--beam-size", 2),
            f"beam_size is fixed in an export, and {models}/served is one. Leave the option out.",
        ),
        (
            (*translating, "--more", "bleurt"),
            "more must be of chrf++, ter, paper_bleu, got 'bleurt'. BLEU and chrF are always there.",
        ),
        (
            (*translating, "--tokenize", "foo"),
            "tokenize must be one of none, zh, 13a, intl, char, ja-mecab, ko-mecab, spm, flores101, flores200, "
            "spBLEU-1K, got 'foo'.",
        ),
    ):
        assert refused(*arguments) == message
    assert "--beam-size has no meaning with --translated" in refused(*scoring, "--beam-size", 2)
    assert "--samples has no meaning without --against" in refused(*scoring, "--samples", 9)
    assert "a reference is missing. Give: MODEL" in refused(models / "a", source)


def test_what_is_read_is_not_written_over(models, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluating, "translations_of", lambda *_: pytest.fail("it translates"))
    source, target, rival = models / "test.en", models / "test.de", tmp_path / "rival"
    rival_texts.write(rival, ["a"] * len(PAIRS))
    (tmp_path / "link").symlink_to(rival)
    for read in (source, target, rival, tmp_path / "link"):
        message = f"output='{read}' is a file that is read here. Choose another path to write to."
        assert refused(models / "a", source, target, "--against", rival, "-o", read, "--overwrite") == message


def test_a_shortlist_must_fit_every_system_before_one_translates(models, monkeypatch):
    sizes = {"source": 25, "target": 25}
    Shortlist(np.full((25, 2), 7), range(4, 20), sizes).save(models / "shortlist.npz")
    tiny.make_tokenizer(models / "words").save(models / "a" / "tokenizer.model", overwrite=True)
    tiny.make_tokenizer(models / "bytes", "bpe").save(models / "b" / "tokenizer.model", overwrite=True)
    monkeypatch.setattr(evaluating, "translations_of", lambda *_: pytest.fail("it translates"))
    command = (models / "a", models / "test.en", models / "test.de", "--shortlist", models / "shortlist.npz")
    message = "the shortlist has 25 source and 25 target pieces, the tokenizer 281 and 281. Learn a shortlist"
    assert refused(*command, "--against", models / "b").startswith(message)


def test_a_shortlist_is_read_once_for_all_systems(models, monkeypatch):
    found, load = [], Shortlist.load
    monkeypatch.setattr(Shortlist, "load", lambda path: found.append(path) or load(path))
    monkeypatch.setattr(Translator, "load", lambda *_, **options: found.append(options["shortlist"]) or echo)
    Shortlist(np.full((25, 2), 7), range(4, 20), {"source": 25, "target": 25}).save(models / "shortlist.npz")
    tokenizer = tiny.make_tokenizer(models / "words")
    monkeypatch.setattr(echo, "tokenizer", tokenizer, raising=False)
    for name in ("a", "b"):
        tokenizer.save(models / name / "tokenizer.model", overwrite=True)
    files = (models / "test.en", models / "test.de", "--shortlist", models / "shortlist.npz")
    run(models / "a", *files, "--against", models / "b")
    assert found[0] == models / "shortlist.npz" and found[1] is found[2] and len(found) == 3


def echo(sentences, **options):
    return sentences
