"""Hypotheses of equal text count once, in process and in an export."""

import pytest
import tensorflow as tf
import tiny

from keras_transformer import Tokenizer, Translator
from keras_transformer.decoding.hypotheses import LOWEST_SCORE, UNREACHED
from keras_transformer.export.graph.answers import best_of_each_text
from keras_transformer.translation.pieces import pad_rows

PIECES = "[PAD] [UNK] [START] [END] ▁ ▁a ▁aa ##a ##aa ##b".split()  # "aa" can be cut in five ways
SENTENCES = ["aab a", "", "b", "a aa"]
BEAM = 9


@pytest.fixture(scope="module")
def translator():
    tokenizer = Tokenizer("".join(f"{piece}\n" for piece in PIECES).encode())
    model = tiny.make_opinionated(1, vocabulary_size=len(PIECES))
    return Translator(model, tokenizer, beam_size=BEAM, max_extra_length=2)


@pytest.fixture(scope="module")
def raw(translator):
    """The (text, score) of each hypothesis of the search, for each sentence."""
    source = tf.constant(pad_rows(translator._pieces.sources(SENTENCES)))
    found = translator.graph.run({"source": source, "num_results": tf.constant(BEAM)})
    return [
        [(text.decode(), score) for text, score in zip(*row, strict=True) if score > LOWEST_SCORE]
        for row in zip(found["texts"].numpy(), found["scores"].numpy(), strict=True)
    ]


def distinct(pairs):
    """The first of the pairs of each text."""
    first = {}
    for text, score in pairs:
        first.setdefault(text, score)
    return list(first.items())


def test_the_best_hypothesis_of_each_text_is_given(translator, raw):
    assert any(len(distinct(pairs)) < len(pairs) for pairs in raw), "the search finds equal texts"
    for n in (None, 3, 1):
        found = translator.n_best(SENTENCES, n)
        for sentence, hypotheses, pairs in zip(SENTENCES, found, raw, strict=True):
            expected = distinct(pairs)[:n] if sentence else [("", 0)]
            assert [hypothesis.text for hypothesis in hypotheses] == [text for text, _ in expected]
            assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([score for _, score in expected])


def test_the_tokens_are_those_of_the_score(translator):
    [hypotheses] = translator.n_best(SENTENCES[:1], 4, details=True)
    assert len(hypotheses) == 4
    for hypothesis in hypotheses:
        [score] = translator.score(SENTENCES[:1], [hypothesis.tokens])
        assert score.log_probability == pytest.approx(hypothesis.log_probability, rel=1e-5)


def test_an_export_gives_the_same_texts(translator, tmp_path):
    translator.export(tmp_path / "aa" / "1", check=False)
    n_best = tf.saved_model.load(str(tmp_path / "aa" / "1")).signatures["n_best"]
    found = n_best(sentences=tf.constant(SENTENCES))
    for texts, scores, hypotheses in zip(
        found["translations"].numpy(), found["scores"].numpy(), translator.n_best(SENTENCES), strict=True
    ):
        count = len(hypotheses)
        assert [text.decode() for text in texts[:count]] == [hypothesis.text for hypothesis in hypotheses]
        assert scores[:count].tolist() == pytest.approx([hypothesis.score for hypothesis in hypotheses], rel=1e-4)
        assert set(texts[count:]) <= {b""} and set(scores[count:].tolist()) <= {UNREACHED}


def test_the_best_of_each_text_by_hand():
    texts = tf.constant([["a", "b", "a", "c"], ["", "a", "", ""], ["x", "x", "x", ""], ["", "", "", ""]])
    scores = tf.constant([[-1.0, -2, -3, -4], [-1, -2, UNREACHED, -3], [-1, -2, -3, -4], [UNREACHED] * 4])
    texts, scores = best_of_each_text(texts, scores)
    assert texts.numpy().tolist() == [
        [b"a", b"b", b"c", b""],
        [b"", b"a", b"", b""],
        [b"x", b"", b"", b""],
        [b"", b"", b"", b""],
    ]
    low = UNREACHED
    assert scores.numpy().tolist() == [[-1, -2, -4, low], [-1, -2, low, low], [-1, -4, low, low], [low] * 4]
