"""Work that is done once: one tokenization, one graph for every n, no search for blank sentences."""

import numpy as np
import pytest
import tiny

from keras_transformer import Tokenizer, Translator
from keras_transformer.translation import graph, searcher
from keras_transformer.translation.hypotheses import Hypothesis, Score

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def make_translator(tokenizer, **options):
    return Translator(tiny.make_opinionated(), tokenizer, **{"beam_size": 3, "max_extra_length": 5, **options})


@pytest.fixture(scope="module")
def translator(tokenizer):
    return make_translator(tokenizer)


def record_calls(monkeypatch, owner, name):
    """A list that gets the positional arguments of each call of a function."""
    calls, function = [], getattr(owner, name)

    def recording(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, recording)
    return calls


def tokens_of(hypotheses):
    """The tokens of each `Hypothesis` of each sentence."""
    return [[hypothesis.tokens for hypothesis in of_sentence] for of_sentence in hypotheses]


@pytest.mark.parametrize(("beam_size", "search"), [(3, "beam_search"), (1, "greedy_search")])
def test_one_graph_searches_for_every_n(tokenizer, monkeypatch, beam_size, search):
    traced = record_calls(monkeypatch, graph, search)
    translator = make_translator(tokenizer, beam_size=beam_size)
    best = translator.n_best(SENTENCES)
    for n in range(1, beam_size + 1):
        assert tokens_of(translator.n_best(SENTENCES, np.int64(n))) == [tokens[:n] for tokens in tokens_of(best)]
    assert translator(SENTENCES) == [hypotheses[0].text for hypotheses in best]
    assert len(traced) == 1


def test_one_graph_draws_every_number_of_samples(tokenizer, monkeypatch):
    traced = record_calls(monkeypatch, graph, "sample")
    translator = make_translator(tokenizer)
    five = tokens_of(translator.sample(SENTENCES, 5, seed=3))
    for n in (1, 2):
        assert tokens_of(translator.sample(SENTENCES, n, seed=3)) == [tokens[:n] for tokens in five]
    assert len({tokens for of_sentence in five for tokens in of_sentence}) > 8
    assert len(traced) == 1


def test_texts_are_tokenized_once(tokenizer, monkeypatch):
    translator = make_translator(tokenizer)
    calls = record_calls(monkeypatch, Tokenizer, "tokenize")
    translator.n_best(SENTENCES, batch_size=2, details=True)
    assert [len(texts) for _, texts, _ in calls] == [len(SENTENCES)]
    translator(SENTENCES, prefixes=["7", "", "", "2 2", ""], batch_size=2)
    assert [(len(texts), side) for _, texts, side in calls[1:]] == [(5, "source"), (5, "target")]
    translator.score(["1", "2", "3"], ["4", ("▁5", "[END]"), "6"])
    assert [(len(texts), side) for _, texts, side in calls[3:]] == [(3, "source"), (3, "target")]


def test_details_need_no_names(tokenizer):
    translator = make_translator(tokenizer)
    expected = translator.n_best(SENTENCES, details=True)
    translator._pieces.ids.clear()  # id of each name: wrong for a name that two pieces have
    assert translator.n_best(SENTENCES, details=True) == expected


def test_blank_sentences_are_not_searched(translator, monkeypatch):
    runs = record_calls(monkeypatch, translator.graph, "run")
    empty = Hypothesis("", 0.0, 0.0, True)
    blank = ["", " \t", "\u3000", "\u200b", "\ufeff\u00ad "]
    assert translator(blank) == [""] * 5 and translator.n_best(blank, 3) == [[empty]] * 5
    assert translator.sample(blank, 3) == [[empty] * 3] * 5
    assert runs == []
    assert [len(best) for best in translator.n_best(["1", *blank, "2"], 2)] == [2, *[1] * 5, 2]
    assert [inputs["source"].shape[0] for (inputs, _) in runs] == [2]


def test_pairs_with_a_blank_sentence_are_not_computed(translator, monkeypatch):
    computed = record_calls(monkeypatch, translator._teacher_forcing, "log_probabilities")
    scores = translator.score(["", "1", "\u200b"], ["2", "2", "\ufeff\t"])
    assert [len(sources) for sources, _ in computed] == [1]
    assert scores[0].score == -np.inf and scores[2] == Score(0.0, 0.0, (), ())
    assert scores[1] == translator.score(["1"], ["2"])[0]


def test_a_blank_sentence_of_any_length_has_a_translation(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path, "bpe")
    model = tiny.make_model(vocabulary_size=tokenizer.vocabulary_size, positions="learned", max_length=8)
    translator = Translator(model, tokenizer, beam_size=1, max_extra_length=3)
    assert len(tokenizer.encode("\t" * 9)) > 8
    assert translator(["\t" * 9]) == [""]
    with pytest.raises(ValueError, match=r"sentence 1 has .* 8 learned positions"):
        translator(["\t" * 9, "1" * 9])


def test_unknown_pieces_that_stay_are_reported(tokenizer, monkeypatch, caplog):
    plain = make_translator(tokenizer, suppress=range(4, 25))  # only the unknown piece is left
    translator = make_translator(tokenizer, suppress=range(4, 25), replace_unknown=True)
    words = searcher.source_words

    def words_of_others(sentence, *arguments):
        return None if sentence in ("9 8", "1 2 3") else words(sentence, *arguments)

    monkeypatch.setattr(searcher, "source_words", words_of_others)
    sentences = ["4", "9 8", "", "1 2 3"]
    found, marked = translator.n_best(sentences, workers=1), plain.n_best(sentences)
    assert found[1] == marked[1] and found[3] == marked[3] and found[0] != marked[0]
    kept = sum("[UNK]" in hypothesis.tokens for hypothesis in [*found[1], *found[3]])
    assert kept > 2
    assert caplog.messages == [
        f"replace_unknown left the unknown pieces of {kept} translations in place: the pieces of their sentences "
        "cannot be assigned to words. One of these sentences: '1 2 3'"
    ]
    caplog.clear()
    translator.n_best(["4", "5 6"])
    assert caplog.messages == []
