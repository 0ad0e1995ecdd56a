"""The baseline of parsing: its search is that of NLTK, and the script writes its results."""

import json
import math

import nltk
import parsing_baseline
import pytest

TREES = [
    "(S (NP (DT the) (NN cat)) (VP (VBD saw) (NP (NP (DT the) (NN dog)) (PP (IN with) (NP (DT the) (NN hat))))) (. .))",
    "(S (NP (DT the) (NN dog)) (VP (VBD saw) (NP (DT the) (NN cat)) (PP (IN with) (NP (DT the) (NN hat)))) (. .))",
    "(S (VP (VBD saw) (NP (NN dog))) (. .))",
    "(NP (NP (DT the) (NN hat)) (PP (IN with) (NP (NN cat))) (. .))",
]
SENTENCES = [
    "the cat saw the dog with the hat .",
    "the hat saw the dog with the cat with the hat .",
    "saw dog .",
    "the hat with cat .",
]


@pytest.fixture
def grammar():
    grammar, known = parsing_baseline.read_grammar([nltk.Tree.fromstring(text) for text in TREES], 1, 1)
    assert known == {"the", "cat", "saw", "dog", "with", "hat", "."}
    return grammar


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_best_tree_is_that_of_nltk(sentence, grammar):
    words = sentence.split()
    theirs = next(iter(nltk.ViterbiParser(grammar).parse(words)))
    tree, log_probability = parsing_baseline.Parser(grammar).parse(words)
    assert math.exp(log_probability) == pytest.approx(theirs.prob(), rel=1e-4)
    assert nltk.Tree.convert(theirs) == tree


def test_a_tree_comes_back_in_its_own_labels_and_words(grammar):
    parser = parsing_baseline.Parser(grammar)
    known = {"the", "cat", "saw", "dog", "with", "hat", "."}
    tree, has_tree = parsing_baseline.answer(parser, "saw dog .".split(), known)
    assert has_tree and str(tree) == TREES[2]
    flat, has_tree = parsing_baseline.answer(parser, "with with".split(), known)
    assert not has_tree and str(flat) == "(TOP (XX with) (XX with))"


def test_unknown_words_have_classes():
    classes = {"Walking": "UNK-cap-ing", "p-53s": "UNK-num-dash-s", "of": "UNK"}
    assert {word: parsing_baseline.word_class(word) for word in classes} == classes
    known = {"the", "UNK-cap-ing"}
    assert [parsing_baseline.known_word(word, known) for word in ("the", "Walking", "dogs")] == [
        "the",
        "UNK-cap-ing",
        "UNK",
    ]


def test_the_script_writes_its_results(tmp_path, capsys):
    for name in ("train.mrg", "dev.mrg"):
        (tmp_path / name).write_text("\n".join(TREES))
    parsing_baseline.main(tmp_path / "train.mrg", tmp_path / "dev.mrg", tmp_path / "out", longest=7)
    results = json.loads((tmp_path / "out" / "parsing_baseline.json").read_text())
    assert results["sentences"] == 2 and results["scores"]["Bracketing F1"] == "100.00"
    assert "| Bracketing F1 | 100.00 | 100.00 |" in capsys.readouterr().out
