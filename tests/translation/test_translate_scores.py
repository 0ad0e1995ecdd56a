"""Scores of given translations, samples, alignment and unknown pieces, each told another way."""

from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tiny
from plain_search import coverage, next_log_probabilities

from keras_transformer import Translator
from keras_transformer.ids import END, START, UNK
from keras_transformer.translation.hypotheses import Hypothesis, Score
from keras_transformer.translation.unknown import replace_unknown, source_words

EXTRA = 5
SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def make_translator(tokenizer, seeds=(0,), dtype=None, **options):
    models = [tiny.make_opinionated(seed, dtype=dtype) for seed in seeds]
    return Translator(models, tokenizer, **{"beam_size": 3, "max_extra_length": EXTRA, **options})


@pytest.fixture(scope="module")
def translator(tokenizer):
    return make_translator(tokenizer)


BFLOAT16_STEP = 2**-6  # between neighbors from 2 to 4, where the largest logits of the test are


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"seeds": (2,)}, {"rel": 1e-5}),
        (
            {"seeds": (0, 1), "length_normalization": "power", "length_penalty": 0.9, "coverage_penalty": 0.3},
            {"rel": 1e-5},
        ),
        ({"seeds": (2,), "dtype": "mixed_bfloat16"}, {"rel": 1e-2, "abs": BFLOAT16_STEP}),
    ],
    ids=["one", "two", "bfloat16"],
)
def test_a_translations_score_is_what_the_search_reported(tokenizer, options, tolerance):
    """In bfloat16, another order of a sum may round a logit to its neighbor, which counts most in a score near 0."""
    close = partial(pytest.approx, **tolerance)
    translator = make_translator(tokenizer, **options)
    found = translator.n_best(SENTENCES, details=True, batch_size=2)
    pairs = [(s, h) for s, hypotheses in zip(SENTENCES, found, strict=True) for h in hypotheses if h.finished]
    assert len(pairs) > 5
    scores = translator.score([s for s, _ in pairs], [h.tokens for _, h in pairs], batch_size=4)
    for (sentence, hypothesis), score in zip(pairs, scores, strict=True):
        assert score.tokens == hypothesis.tokens
        assert score.score == close(hypothesis.score)
        assert score.log_probability == close(hypothesis.log_probability)
        assert score.token_log_probabilities == pytest.approx(hypothesis.token_log_probabilities or (), rel=1e-5)
        if translator.tokenizer.encode(hypothesis.text, side="target") == ids_of(translator, score.tokens)[:-1]:
            [again] = translator.score([sentence], [hypothesis.text])
            assert again.score == close(hypothesis.score)


def ids_of(translator, tokens):
    names = translator.tokenizer.pieces(range(translator.tokenizer.vocabulary_size))
    return [names.index(token) for token in tokens]


def test_token_scores_are_those_of_the_whole_models(tokenizer):
    translator = make_translator(tokenizer, seeds=(0, 1), coverage_penalty=0.3)
    [score] = translator.score(["3 1 4"], ["5 9"])
    source, target = tokenizer.encode(["3 1 4", "5 9"])
    source, target = [*source, END], [*target, END]
    logs = [next_log_probabilities(translator.models, source, [target[:t]])[0, target[t]] for t in range(3)]
    assert score.tokens == ("▁5", "▁9", "[END]")
    assert score.token_log_probabilities == pytest.approx(logs, rel=1e-5)
    assert score.log_probability == pytest.approx(sum(logs), rel=1e-5)
    expected = sum(logs) / (8 / 6) ** 0.6 + coverage(translator.models, source, target, 0.3)
    assert score.score == pytest.approx(expected, rel=1e-5)


def test_details_are_asked_for_and_sum_to_the_log_probability(translator):
    found = translator.n_best(SENTENCES, 2, batch_size=3, details=True)
    without = translator.n_best(SENTENCES, 2, batch_size=3)
    finished = set()
    for sentence, hypotheses, plain in zip(SENTENCES, found, without, strict=True):
        assert len(hypotheses) == (2 if sentence else 1)
        for hypothesis, other in zip(hypotheses, plain, strict=True):
            assert (hypothesis.tokens, other.token_log_probabilities) == (other.tokens, None)
            assert len(hypothesis.token_log_probabilities) == len(hypothesis.tokens)
            assert sum(hypothesis.token_log_probabilities) == pytest.approx(hypothesis.log_probability, abs=1e-4)
            assert hypothesis.finished == (hypothesis.tokens[-1:] == ("[END]",) or not sentence)
            finished.add(hypothesis.finished)
    assert finished == {True, False}
    assert found[2] == [Hypothesis("", 0.0, 0.0, True, (), ())]


def test_nothing_is_certain_to_be_translated_as_nothing(translator):
    empty, blank, impossible, possible = translator.score(["", " ", "", "1"], ["", "\t", "2", ""])
    assert empty == blank == Score(0.0, 0.0, (), ())
    assert impossible == Score(-np.inf, -np.inf, ("▁2", "[END]"), (-np.inf, -np.inf))
    assert possible.tokens == ("[END]",) and -20 < possible.log_probability < 0
    assert translator.score([], []) == []
    assert translator.sample([""], 2) == [[Hypothesis("", 0.0, 0.0, True)] * 2]


def test_scores_do_not_depend_on_the_batch(translator):
    sources, targets = ["4", "3 1 4 1 5", "9 8", "1 2 3"], ["1", "5 5 5 5 5 5", "", "9 9"]
    scores = translator.score(sources, targets)
    for batch_size in (1, 3):
        again = translator.score(sources, targets, batch_size)
        assert [s.tokens for s in again] == [s.tokens for s in scores]
        np.testing.assert_allclose([s.score for s in again], [s.score for s in scores], rtol=1e-5)


def test_pairs_that_cannot_be_scored_are_refused(tokenizer, translator):
    with pytest.raises(ValueError, match="of one length, got 2 and 1"):
        translator.score(["1", "2"], ["1"])
    with pytest.raises(TypeError, match="must be a list of strings"):
        translator.score("1", ["1"])
    for name in ("▁33", "[PAD]", "[START]", "[END]"):
        with pytest.raises(ValueError, match=rf"'{name.replace('[', '.').replace(']', '.')}' is no piece"):
            translator.score(["1"], [["▁1", name, "▁1"]])
    learned = Translator(tiny.make_model(positions="learned", max_length=4), tokenizer)
    assert len(learned.score(["1 2 3"], ["1 2 3"])) == 1
    with pytest.raises(ValueError, match=r"pair 1 has 2 and 5 tokens, END counted\. The model has 4 learned positions"):
        learned.score(["1", "1"], ["1", "1 2 3 4"])
    for look in (learned.attention, learned.alignment):
        assert look("1 2 3", "1 2 3")[0][:1] == ["▁1"]
        for pair, lengths in ((("1", "1 2 3 4"), "2 and 5"), (("1 2 3 4", "1"), "5 and 2")):
            with pytest.raises(
                ValueError, match=rf"the pair has {lengths} tokens, END counted\. The model has 4 learned"
            ):
                look(*pair)


def test_a_model_of_nan_has_no_scores(tokenizer):
    translator = make_translator(tokenizer)
    kernel = translator.model.decoder.layers[0].feed_forward.inner.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(ValueError, match="pair 1 got no score, '9 8': the model's probabilities are not finite"):
        translator.score(["", "9 8"], ["", "1"])
    assert translator.score([""], [""]) == [Score(0.0, 0.0, (), ())]


def plainly_drawn(translator, sentence, luck, temperature, top_p):
    """Token by token over the whole model: where the luck falls among the probabilities, the likeliest first."""
    [pieces] = translator.tokenizer.encode([sentence])
    ids, total = [], 0.0
    for number in luck:
        [row] = next_log_probabilities(translator.models, [*pieces, END], [ids])
        order = np.argsort(-row, kind="stable")
        share = np.exp(row[order] / temperature)
        share /= share.sum()
        share = np.where(np.cumsum(share) - share < top_p, share, 0)
        token = int(order[np.searchsorted(np.cumsum(share), number * share.sum(), side="right")])
        ids, total = [*ids, token], total + row[token]
        if token == END:
            break
    return ids, total


def test_a_sample_is_where_its_luck_falls(translator):
    found = translator.sample(SENTENCES, 3, temperature=1.7, top_p=0.8, seed=5, batch_size=2)
    for index, (sentence, hypotheses) in enumerate(zip(SENTENCES, found, strict=True)):
        if not sentence:
            continue
        limit = len(sentence.split()) + 1 + EXTRA
        luck = np.random.default_rng([5, index]).random((3, limit), np.float32)
        for hypothesis, numbers in zip(hypotheses, luck, strict=True):
            ids, total = plainly_drawn(translator, sentence, numbers, 1.7, 0.8)
            assert list(hypothesis.tokens) == translator.tokenizer.pieces(ids)
            assert hypothesis.log_probability == pytest.approx(total, rel=1e-5)
            assert hypothesis.score == pytest.approx(total / ((5 + len(ids)) / 6) ** 0.6, rel=1e-5)
            assert hypothesis.finished == (ids[-1] == END)
    assert len({hypothesis.tokens for hypotheses in found for hypothesis in hypotheses}) > 8


def test_one_graph_draws_at_every_temperature(translator):
    translator.sample(["1 2"], temperature=0.7, top_p=0.9)
    before = len(translator.graph._compiled)
    for temperature, top_p in ((0.9, 0.9), (1.1, 0.5)):
        translator.sample(["1 2"], temperature=temperature, top_p=top_p)
    assert len(translator.graph._compiled) == before


def test_a_seed_repeats_its_sample_whatever_the_batches(translator):
    def tokens(**options):
        return [[h.tokens for h in hypotheses] for hypotheses in translator.sample(SENTENCES, 2, **options)]

    drawn = tokens(seed=3)
    assert tokens(seed=3, batch_size=1) == tokens(seed=3, batch_size=2) == drawn
    assert tokens(seed=4) != drawn
    [[begun], [free]] = translator.sample(["1 2", "1 2"], prefixes=["7 7", ""], seed=1)
    assert begun.tokens[:2] == ("▁7", "▁7") != free.tokens[:2]


def test_sampling_the_likeliest_is_greedy_search(tokenizer):
    greedy = make_translator(tokenizer, beam_size=1)
    expected = greedy.n_best(SENTENCES)
    for one in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        found = greedy.sample(SENTENCES, **one)
        assert [h.tokens for [h] in found] == [h.tokens for [h] in expected]
        np.testing.assert_allclose([h.score for [h] in found], [h.score for [h] in expected], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"temperature": 0}, "temperature must be positive and finite in float32, got 0"),
        ({"top_k": -1}, "top_k must be a whole number of at least 0, got -1"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\] in float32, got 1\.5"),
    ],
)
def test_bad_arguments_of_a_sample_are_refused(translator, options, message):
    with pytest.raises(ValueError, match=message):
        translator.sample(["1"], **options)


def test_alignment_is_the_mean_of_the_last_layers_heads(tokenizer):
    translator = make_translator(tokenizer, seeds=(0, 1))
    source, target, weights = translator.attention("3 1 4", "4 1")
    labels, names, alignment = translator.alignment("3 1 4", "4 1")
    assert (labels, names, alignment.shape) == (source, target, (3, 4))
    ids = np.array([[*tokenizer.encode("3 1 4"), END]]), np.array([[START, *tokenizer.encode("4 1")]])
    second = keras.ops.convert_to_numpy(translator.models[1].attention_weights(*ids)["cross"])[-1, 0]
    np.testing.assert_allclose(alignment, (weights["cross"][-1].mean(0) + second.mean(0)) / 2, rtol=1e-5)
    again = translator.alignment("3 1 4", ("▁4", "▁1", "[END]"))[2]
    np.testing.assert_allclose(again, alignment, rtol=1e-6)
    assert translator.attention("3", ["▁4", "##1"])[1] == ["▁4", "##1", "[END]"]


def words_of(sentence, tokenizer):
    return source_words(sentence, tokenizer.encode(sentence), tokenizer)


def test_a_piece_belongs_to_the_word_around_it(tokenizer):
    assert words_of("12 3  x", tokenizer) == ["12", "12", "3", "x", "x"]
    assert words_of("\u200b", SimpleNamespace(encode=lambda x: [] if isinstance(x, str) else [[]])) is None
    assert words_of(" 1\t2 ", tokenizer) == ["1\t2"] * 3  # a space, UNK, a space
    assert words_of("", tokenizer) is None


def test_words_whose_pieces_are_not_the_sentences_tell_nothing():
    class Joining:
        def encode(self, text):
            return [4] if isinstance(text, str) else [[5] for _ in text]

    assert words_of("1 2", Joining()) is None


def test_an_unknown_piece_becomes_the_word_it_attends_to(tokenizer):
    [[seven]] = tokenizer.encode(["7"])
    words = words_of("12 3  x", tokenizer)
    alignment = np.zeros((4, 6), np.float32)  # of 5 pieces and END, which has most and is no word
    alignment[:, 5] = 0.9
    alignment[0, 4], alignment[1, 2], alignment[2, 1], alignment[3, 2], alignment[3, 0] = 0.1, 0.1, 0.1, 0.1, 0.05
    assert replace_unknown([UNK, seven, UNK, UNK], alignment, words, tokenizer) == "x 7 12 3"


def test_the_translator_replaces_unknown_pieces_where_asked(tokenizer):
    others = range(4, 25)  # so that the unknown piece alone is left
    plain = make_translator(tokenizer, suppress=others)
    translator = make_translator(tokenizer, suppress=others, replace_unknown=True)
    sentences = ["4", "12 x 56 78 90", "", "9 8"]
    found, marked = translator.n_best(sentences), plain.n_best(sentences)
    changed = 0
    for sentence, hypotheses, others in zip(sentences, found, marked, strict=True):
        for hypothesis, other in zip(hypotheses, others, strict=True):
            assert (hypothesis.tokens, hypothesis.score) == (other.tokens, other.score)
            words = words_of(sentence, tokenizer)
            text = other.text
            for t, token in enumerate(hypothesis.tokens):
                if token == "[UNK]":
                    row = translator.alignment(sentence, hypothesis.tokens)[2][t, :-1]
                    text = text.replace("⁇", words[row.argmax()], 1)
                    changed += 1
            assert hypothesis.text == text
    assert changed > 5
    with pytest.raises(ValueError, match="replace_unknown=True is not possible in an export"):
        translator.export("nowhere")
