"""BLEU and chrF, where the numbers are known."""

import math

import pytest
import sacrebleu

from keras_transformer.evaluate import evaluate

REFERENCES = ["The cat sat on the mat.", "Eine Frau, die liest.", "Two dogs run."]
TRANSLATIONS = ["The cat sat on a mat.", "Eine Frau liest.", "Two dogs run."]


def test_perfect_translations_score_100():
    scores = evaluate(REFERENCES, REFERENCES)
    assert scores.bleu == pytest.approx(100) and scores.chrf == pytest.approx(100)
    assert "100.0/100.0/100.0/100.0" in scores.bleu_details


def test_a_score_worked_out_by_hand():
    """5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; no brevity penalty."""
    scores = evaluate(["a b c d x f"], ["a b c d e f"], tokenize="none")
    assert scores.bleu == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    shorter = evaluate(["a b c d"], ["a b c d e"], tokenize="none")
    assert shorter.bleu == pytest.approx(100 * math.exp(1 - 5 / 4))


def test_it_is_sacrebleus_number():
    scores = evaluate(TRANSLATIONS, REFERENCES)
    assert scores.bleu == sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES]).score
    assert scores.chrf == sacrebleu.corpus_chrf(TRANSLATIONS, [REFERENCES]).score


@pytest.mark.parametrize(("tokenize", "expected"), [("13a", 100), ("none", 0)])
def test_the_tokenizer_is_the_one_named(tokenize, expected):
    scores = evaluate(["one , two . ( three )"] * 2, ["one, two. (three)"] * 2, tokenize)
    assert round(scores.bleu) == pytest.approx(expected, abs=10)
    assert f"tok:{tokenize}|" in scores.bleu_signature


def test_what_is_printed_can_be_compared():
    scores = evaluate(TRANSLATIONS, REFERENCES)
    text = str(scores)
    assert f"BLEU {scores.bleu:.2f}" in text and f"chrF {scores.chrf:.2f}" in text
    assert f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}" in text
    assert "nc:6|nw:0" in text
    assert "BP = " in scores.bleu_details


def test_tokenized_text_brings_no_advice_on_tokenizing(caplog):
    evaluate(["a man ."] * 120, ["a man ."] * 120, tokenize="none")
    assert caplog.records == []


@pytest.mark.parametrize(("translations", "references"), [(["a"], ["a", "b"]), ([], [])])
def test_lists_that_do_not_match_are_refused(translations, references):
    with pytest.raises(ValueError, match=f"got {len(translations)} and {len(references)}"):
        evaluate(translations, references)


def test_one_string_is_no_list():
    for arguments, name in ((("abc", ["abd"]), "translations"), ((["abc"], "abd"), "references")):
        with pytest.raises(TypeError, match=rf"{name} must be a list of strings, got one string: write \['ab"):
            evaluate(*arguments)


def test_any_iterable_will_do():
    assert evaluate(iter(TRANSLATIONS), (text for text in REFERENCES)) == evaluate(TRANSLATIONS, REFERENCES)


def test_an_unknown_tokenizer_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"tokenize must be one of none, .*13a, .*, got 'foo'"):
        evaluate(TRANSLATIONS, REFERENCES, tokenize="foo")
