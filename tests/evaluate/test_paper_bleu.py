"""The paper's BLEU: tokens and numbers that are worked out by hand, and BLEU computed in another way."""

import math
import sys
from collections import Counter

import pytest
import rival_texts
import sacrebleu

from keras_transformer.evaluate import evaluate, paper_tokens


def score(translations, references, language="de"):
    return evaluate(translations, references, more=["paper_bleu"], language=language)


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("de", "Ein Rich-Text-Format.", "Ein Rich ##AT##-##AT## Text ##AT##-##AT## Format ."),
        ("de", "Das kostet ca. 3,50 Euro - z. B. hier.", "Das kostet ca. 3,50 Euro - z. B. hier ."),
        ("de", "„Müller & Söhne“", "„ Müller &amp; Söhne &quot;"),
        ("de", "Er sagt: ’s ist … “so” （１％）。", "Er sagt : &apos; s ist ... &quot; so &quot; ( 1 % ) ."),
        ("de", "a-b-c x- -y", "a ##AT##-##AT## b-c x- -y"),  # b belongs to the first match already, as in Perl
        ("en", "It's Mr. Smith.", "It &apos;s Mr. Smith ."),
        ("fr", "Est-il là ?", "Est ##AT##-##AT## il là ?"),
        ("de", "", ""),
    ],
)
def test_tokens_are_those_of_moses_with_split_compounds(language, text, tokens):
    assert paper_tokens([text], language) == [tokens]


def test_a_score_worked_out_by_hand():
    """5 of 6 tokens, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; no brevity penalty."""
    found = score(["ein-zwei drei fort."], ["ein-zwei drei vier."])
    assert found.paper_bleu == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    unsplit = evaluate(["ein-zwei drei fort ."], ["ein-zwei drei vier ."], "none")
    assert found.paper_bleu > unsplit.bleu  # split compounds make more n-grams right
    assert score(["ein-zwei"], ["ein-zwei drei"]).paper_bleu == 0  # no 4-gram, and no smoothing


def ngrams(tokens, n):
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def multi_bleu(translations, references):
    """BLEU of tokenized texts as the formula of Papineni et al. has it. `references` are lists, one for a text."""
    right, total, length, closest = [0] * 4, [0] * 4, 0, 0
    for text, others in zip(translations, references, strict=True):
        tokens, others = text.split(), [other.split() for other in others]
        length += len(tokens)
        closest += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        for n in range(1, 5):
            most = Counter()
            for other in others:
                most |= ngrams(other, n)
            right[n - 1] += (ngrams(tokens, n) & most).total()
            total[n - 1] += max(len(tokens) - n + 1, 0)
    if not all(right):
        return 0.0
    precision = math.exp(sum(math.log(one / other) for one, other in zip(right, total, strict=True)) / 4)
    return 100 * precision * min(1, math.exp(1 - closest / length))


@pytest.mark.parametrize("count", [1, 2])
def test_it_is_what_the_formula_gives(count):
    translations = rival_texts.translations(0.2)
    streams = [rival_texts.references(), rival_texts.translations(0.1, seed=5)][:count]
    found = score(translations, streams)
    columns = list(zip(*map(paper_tokens, streams), strict=True))
    assert found.paper_bleu == pytest.approx(multi_bleu(paper_tokens(translations), columns), rel=1e-12)
    assert any("##AT##" in text for text in paper_tokens(translations))
    default = sacrebleu.corpus_bleu(translations, streams)
    assert found.bleu == default.score != found.paper_bleu  # beside sacreBLEU's default
    assert found.paper_bleu_signature.startswith(f"nrefs:{count}|case:mixed|eff:no|tok:none|smooth:none|version:")
    assert "|moses:de|compounds:split|sacremoses:" in found.paper_bleu_signature
    assert f"BLEU of the paper {found.paper_bleu:.2f}  {found.paper_bleu_details}\n" in str(found)


def test_a_missing_reference_stays_missing():
    two = score(["a-b c d e", "f g h i"], [["a-b c d e", "x"], ["f g h i"]])
    assert two.paper_bleu == pytest.approx(100) and two.paper_bleu_signature.startswith("nrefs:var|")


def test_chrf_plus_plus_and_ter_are_sacrebleus():
    translations, reference = rival_texts.translations(0.2), rival_texts.references()
    found = evaluate(translations, reference, more=("ter", "chrf++"))
    assert found.chrf_plus_plus == sacrebleu.corpus_chrf(translations, [reference], word_order=2).score
    assert found.ter == sacrebleu.corpus_ter(translations, [reference]).score
    assert "nw:2|" in found.chrf_plus_plus_signature and "tok:tercom" in found.ter_signature
    assert str(found).splitlines()[4].startswith("chrF++ ") and str(found).splitlines()[6].startswith("TER ")
    assert found.paper_bleu is None and "paper" not in str(found)


def test_wrong_languages_metrics_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"^language must be a language of Moses, one of as, .*, zh; got 'german'\.$"):
        score(["a"], ["b"], "german")
    with pytest.raises(
        ValueError, match=r"^more must be of chrf\+\+, ter, paper_bleu, got 'comet'\. BLEU and chrF are"
    ):
        evaluate(["a"], ["b"], more=["comet"])
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    expected = "paper_bleu and paper_tokens need sacremoses: pip install 'keras-transformer-translation[moses]'. Python"
    with pytest.raises(ImportError) as error:
        score(["a"], ["b"])
    assert str(error.value).startswith(expected)
