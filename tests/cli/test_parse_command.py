"""keras-transformer parse: from trees to a parser; each command agrees with the Python interface."""

import json
import re

import pytest
import yaml
from test_commands import SMALL, refused, run

from keras_transformer.parsing import Parser, evaluate_trees, read_trees, words_of, write_tree_pairs
from keras_transformer_cli.evaluating import read_rivals
from keras_transformer_cli.parsing import facts
from keras_transformer_cli.translating import Request

TREES = [
    "(S (NP (DT the) (NN cat)) (VP (VBZ sees) (NP (NNS mice))) (. .))",
    "(S (NP (NNS mice)) (VP (VBP run)) (. .))",
    "(NP (DT the) (NN rat) (-LRB- -LRB-) (NN x) (-RRB- -RRB-))",
    "(S (NP (PRP it)) (VP (VBZ runs)))",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parse")
    for name, trees in {"train": TREES * 9, "dev": TREES[1:]}.items():
        (folder / f"{name}.mrg").write_text("\n".join(trees), encoding="utf-8")
    of_texts = ("bleu_every", "subwords", "samples", "segmentations")
    options = {name: value for name, value in SMALL.items() if name not in of_texts}
    options |= {"vocabulary_size": 300, "beam_size": 1, "max_extra_length": 20, "epochs": 1, "average": 1}
    options |= {"leaves": "tags", "samples": 0, "trees": str(folder / "train.mrg"), "dev": str(folder / "dev.mrg")}
    (folder / "parser.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    result = run("parse", "train", "--config", folder / "parser.yaml", "--output", folder / "run")
    return folder, result


@pytest.fixture(scope="module")
def parser(trained):
    return Parser.load(trained[0] / "run", beam_size=1, max_extra_length=20)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch, parser):
    """A load with the options of `parser` gives it: its search is traced already."""
    load = Parser.load

    def load_once(folder, dtype=None, **options):
        same = {"constrained": True, **options} == {
            "beam_size": 1,
            "length_penalty": 0.3,
            "max_extra_length": 20,
            "constrained": True,
        }
        return parser if same else load(folder, dtype, **options)

    monkeypatch.setattr(Parser, "load", load_once)


SEARCH = ["--beam-size", "1", "--max-extra-length", "20"]


def one_line(tree):
    return tree.pformat(margin=10**6)


def test_training_scores_the_dev_trees_and_can_be_repeated(trained, parser):
    folder, result = trained
    references = read_trees(folder / "dev.mrg")
    found = [each.tree for each in parser([" ".join(words_of(tree)) for tree in references])]
    card = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))
    assert card["scores"] == {"validation, best epoch": facts(evaluate_trees(found, references))}
    assert "- tagging_accuracy:" in result.stdout
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert {"trees", "dev", "leaves", "recipe"} < set(config) and not {"source", "tokenizer"} & set(config)
    assert config["leaves"] == "tags" and config["recipe"] == "parsing_small"
    again = run("parse", "train", "--config", folder / "run" / "config.yaml")
    assert "This run is finished" in again.stderr
    write_tree_pairs(folder / "dev.mrg", folder / "dev.words", folder / "dev.trees", leaves="tags")
    for side in ("words", "trees"):
        assert (folder / "run" / "data" / f"dev.{side}").read_bytes() == (folder / f"dev.{side}").read_bytes()


@pytest.fixture
def piped(monkeypatch, tmp_path):
    """A function that gives the next command the lines of a pipe."""
    from keras_transformer import files

    read = files.read_lines

    def pipe(text):
        path = tmp_path / "pipe"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(
            files, "read_lines", lambda given, name: read(path if given == "/dev/stdin" else given, name)
        )

    return pipe


def test_each_line_gives_a_tree(trained, parser, piped):
    folder = trained[0]
    expected = [one_line(each.tree) for each in parser(["mice run .", "it ( runs )"])]
    assert (
        run("parse", "sentences", folder / "run", "mice run .", "it ( runs )", *SEARCH).stdout.splitlines() == expected
    )
    piped("mice run .\n\nit ( runs )\n")
    assert run("parse", "sentences", folder / "run", *SEARCH).stdout == f"{expected[0]}\n\n{expected[1]}\n"
    piped("mice run .\n\n \nit a\u2581b\n")
    assert refused("parse", "sentences", folder / "run", *SEARCH).startswith(
        "the standard input, line 4, has 2 words, and 3 for the tokenizer: 'it a\u2581b'. Replace the character"
    )
    assert refused("parse", "sentences", folder / "run", "", "it a\u2581b", *SEARCH).startswith("texts[1] has 2 words")
    out, pictures = folder / "out.mrg", folder / "pictures"
    split = ["--split-words", "--output", out, "--svg", pictures]
    piped("\nmice run.\n")
    run("parse", "sentences", folder / "run", *split, *SEARCH)
    assert out.read_text(encoding="utf-8") == f"\n{expected[0]}\n"
    assert [path.name for path in pictures.iterdir()] == ["2.svg"]
    drawn = run("parse", "sentences", folder / "run", "mice run .", "--draw", *SEARCH).stdout
    assert drawn.splitlines()[-2].split() == ["mice", "run", "."] and "(" not in drawn


def test_commands_of_translation_models_refuse_a_parser(trained, tmp_path):
    folder = trained[0]
    (tmp_path / "words").write_text("mice run .\n", encoding="utf-8")
    message = f"{folder / 'run'} is a parser, and this would search without its constraint. keras-transformer parse has"
    for command in (
        ["translate", folder / "run", tmp_path / "words"],
        ["translate", folder / "run", tmp_path / "words", "--output", tmp_path / "out"],
        ["evaluate", folder / "run", tmp_path / "words", tmp_path / "words"],
        ["export", folder / "run", tmp_path / "export" / "1"],
    ):
        assert refused(*command).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["words"]
    plain = Request(["other"], "float32", {"shortlist": None}, 64, [])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):  # before any model translates
        read_rivals([str(folder / "run")], "other", plain, "references", 1)
    assert run("score", folder / "run", tmp_path / "words", tmp_path / "words").stdout


def test_scores_are_those_of_evaluate_trees(trained, parser):
    folder = trained[0]
    references = read_trees(folder / "dev.mrg")
    found = [each.tree for each in parser([" ".join(words_of(tree)) for tree in references])]
    made = folder / "made.mrg"
    result = run("parse", "score", folder / "run", folder / "dev.mrg", "--output", made, *SEARCH)
    assert result.stdout == f"{evaluate_trees(found, references)}\n"
    assert result.stderr.startswith("0 of 3 outputs needed repair; ")
    assert made.read_text(encoding="utf-8").splitlines() == list(map(one_line, found))
    printed = run("parse", "score", made, folder / "dev.mrg", "--parsed", "--json").stdout
    assert json.loads(printed) == facts(evaluate_trees(found, references))


def test_export_passes_its_options_on(trained, parser, monkeypatch):
    folder, calls = trained[0], []
    monkeypatch.setattr(parser, "export", lambda *args, **options: calls.append((args, options)), raising=False)
    run("parse", "export", folder / "run", folder / "parser" / "1", "--serving", "--no-check", *SEARCH)
    assert calls == [((folder / "parser" / "1", False), {"serving": True, "max_source_length": 256, "check": False})]


SMALLER = ["--vocabulary-size", "300"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "{}/broken.mrg", "{}/dev.mrg", "-o", "{}/x"], "broken.mrg, line 1: "),
        (["train", "{}/no.mrg", "{}/dev.mrg", "-o", "{}/x"], "no.mrg"),
        (
            ["train", "{}/train.mrg", "{}/dev.mrg", "-o", "{}/x", "--leaves", "places", *SMALLER],
            "beam_size=21 is wider than the vocabulary of",
        ),
        (
            ["train", "{}/train.mrg", "{}/dev.mrg", "-o", "{}/run", "--leaves", "words"],
            "leaves was 'tags' and is 'words'",
        ),
        (
            ["train", "{}/train.mrg", "{}/dev.mrg", "-o", "{}/x", "--subwords", "wordpiece"],
            "subwords=wordpiece cannot go with leaves=words",
        ),
        (["sentences", "{}/nothing", "mice"], "nothing"),
        (["sentences", "{}/run", "mice", "--svg", "{}/run"], "/run exists already"),
        (
            ["score", "{}/train.mrg", "{}/dev.mrg", "--parsed"],
            "has 36 trees and {}/dev.mrg has 3: they must be aligned",
        ),
        (["score", "{}/dev.mrg", "{}/dev.mrg", "--parsed", "--beam-size", "2"], "--beam-size has no meaning"),
        (["export", "{}/run", "{}/dev.mrg"], "dev.mrg"),
    ],
)
def test_mistakes_are_named(trained, arguments, message):
    folder = str(trained[0])
    (trained[0] / "broken.mrg").write_text("(S (NP (NN a)", encoding="utf-8")
    said = refused("parse", *(argument.format(folder) for argument in arguments))
    assert message.format(folder) in said, said
