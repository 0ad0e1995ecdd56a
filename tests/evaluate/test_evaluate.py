"""BLEU and chrF, where the numbers are known."""

import importlib
import math
import re

import pytest
import sacrebleu

from keras_transformer.evaluate import evaluate

module = importlib.import_module("keras_transformer.evaluate.metrics")

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


FIRST, SECOND, THIRD = REFERENCES, [text.replace("a", "the") for text in REFERENCES], REFERENCES[::-1]


def test_several_references_are_scored_as_by_sacrebleu():
    count = len(TRANSLATIONS)
    streams = [FIRST, SECOND] if count != 2 else [FIRST, SECOND, THIRD]
    bleu = sacrebleu.corpus_bleu(TRANSLATIONS, streams)
    chrf = sacrebleu.corpus_chrf(TRANSLATIONS, streams)
    for references in (streams, list(zip(*streams, strict=True)), iter(map(list, zip(*streams, strict=True)))):
        scores = evaluate(TRANSLATIONS, references)
        assert (scores.bleu, scores.chrf) == (bleu.score, chrf.score)
        assert scores.bleu_signature.startswith(f"nrefs:{len(streams)}|")
    assert evaluate(["a b c d"], [["x y", "a b c d"]]).bleu == pytest.approx(100)
    assert evaluate(["a b c d"], [["a b c d"]]) == evaluate(["a b c d"], ["a b c d"])


def test_sentences_may_have_different_numbers_of_references():
    translations, references = ["a b c d", "e f g h", "x y z w"], [["a b c d", "q"], ["e f g"], ["x y z w", "s", "t"]]
    streams = [["a b c d", "e f g", "x y z w"], ["q", None, "s"], [None, None, "t"]]
    assert evaluate(translations, references).bleu == sacrebleu.corpus_bleu(translations, streams).score
    assert evaluate(translations, references).bleu_signature.startswith("nrefs:var|")


def test_as_many_references_as_sentences_need_a_word():
    square = [["a b c d", "a b c"], ["e f g h", "e f"]]
    with pytest.raises(ValueError) as error:
        evaluate(["a b c d", "e f g h"], square)
    assert str(error.value) == (
        "references has 2 lists of 2 strings for 2 translations: a list may hold the references of one translation, or "
        "one reference of each. Add None (no reference) to the first list to mean those of one translation, or add a "
        "list of 2 None to mean one reference of each."
    )
    of_one = evaluate(["a b c d", "e f g h"], [[*square[0], None], square[1]])
    of_each = evaluate(["a b c d", "e f g h"], [*square, [None, None]])
    assert round(of_one.bleu) == 100 > of_each.bleu


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["a"], [["b"], ["c", "d"]]), ValueError, "must have the same length, at least 1; got 1 and 2"),
        ((["a", "b"], [["c", "d", "e"], []]), ValueError, "references has none for number 1 of the translations"),
        ((["a"], [[None]]), ValueError, "references has none for number 0 of the translations"),
        ((["a"], [[]]), ValueError, "references has none for number 0 of the translations"),
        ((["a", "b"], [[], []]), ValueError, "references has none for number 0 of the translations"),
        (
            (["a", "b"], [["c"], "d"]),
            TypeError,
            r"references\[1\] must be a list of strings as those before it, got 'd'",
        ),
        ((["a"], [["c", 5]]), TypeError, r"references\[0\]\[1\] must be a string, got 5 \(int\)"),
        ((["a", None], ["c", "d"]), TypeError, r"translations\[1\] must be a string, got None"),
        ((["a", "b"], ["c", None]), TypeError, r"references\[1\] must be a string, got None"),
        ((None, ["c"]), TypeError, r"translations must be a list of strings, got None"),
        ((["a"], 5), TypeError, r"references must be a list of strings, got 5 \(int\)"),
        (([__file__], ["c"]), ValueError, r"translations\[0\]=.* is the name of a file"),
        ((["a"], [__file__]), ValueError, r"references\[0\]=.* is the name of a file"),
    ],
)
def test_what_is_no_list_of_references_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(*arguments)


def test_a_tokenizer_that_cannot_be_had_is_one_line(monkeypatch):
    def fails(error):
        def metric(**options):
            raise error

        metric.TOKENIZERS = module.BLEU.TOKENIZERS
        return metric

    message = "tokenize='ja-mecab' needs pip install 'sacrebleu[ja]': Not there. Please install it."
    for error in (
        RuntimeError("\nNot there.\n\n   Please install it.\n"),
        ImportError("Not there. Please install it."),
    ):
        with monkeypatch.context() as context, pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
            context.setattr(module, "BLEU", fails(error))
            evaluate(["a"], ["a"], "ja-mecab")
    message = (
        "tokenize='flores200' needs a file that sacreBLEU downloads, and that failed: no network. Check the network,"
    )
    with monkeypatch.context() as context, pytest.raises(OSError, match=f"^{re.escape(message)}"):
        context.setattr(module, "BLEU", fails(OSError("no network")))
        evaluate(["a"], ["a"], "flores200")
