"""Every option of the Translator against the plain search, which calls the whole models."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from plain_search import plain_beam_search, text_of

from keras_transformer import Translator
from keras_transformer.decoding import length_divisor
from keras_transformer.ids import UNK
from keras_transformer.translation.options import SearchOptions, suppressed_ids

SENTENCES = ["4", "3 1 4 1 5", "9 8", "1 2 3 4 5"]
PREFIXES = ["7", "", "2 2 1", "5"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


make_model = functools.cache(tiny.make_opinionated)  # no test changes a model


def make_translator(tokenizer, seeds=(0,), **options):
    models = [make_model(seed) for seed in seeds]
    return Translator(models, tokenizer, **{"beam_size": 3, "max_extra_length": 5, **options})


@pytest.fixture(scope="module")
def default(tokenizer):
    return make_translator(tokenizer)


@pytest.fixture(scope="module")
def default_found(default):
    return default.n_best(SENTENCES)


def best_of_each_text(translator, hypotheses):
    """The hypotheses of a plain search without those whose text came before."""
    texts = [text_of(translator, ids) for ids, *_ in hypotheses]
    return [hypothesis for place, hypothesis in enumerate(hypotheses) if texts[place] not in texts[:place]]


def assert_as_planned(translator, found, prefixes=("", "", "", "")):
    for sentence, prefix, hypotheses in zip(SENTENCES, prefixes, found, strict=True):
        expected = best_of_each_text(translator, plain_beam_search(translator, sentence, prefix))
        assert [h.text for h in hypotheses] == [text_of(translator, ids) for ids, *_ in expected]
        assert [list(h.tokens) for h in hypotheses] == [translator.tokenizer.pieces(ids) for ids, *_ in expected]
        np.testing.assert_allclose([h.log_probability for h in hypotheses], [e[1] for e in expected], rtol=1e-5)
        np.testing.assert_allclose([h.score for h in hypotheses], [e[2] for e in expected], rtol=1e-5)
        assert [h.finished for h in hypotheses] == [e[3] for e in expected]


def test_a_model_with_a_window(tokenizer):
    """Room for the past grows by 8 tokens at a time, and what is out of the window is dropped then."""
    translator = Translator(tiny.make_opinionated(window=3), tokenizer, beam_size=3, max_extra_length=9)
    assert_as_planned(translator, translator.n_best(SENTENCES))


@pytest.mark.parametrize(
    "options",
    [
        {"length_normalization": "power", "length_penalty": 1.3, "min_extra_length": 2},
        {"coverage_penalty": 0.7, "beam_size": 1},
        {"max_length": 4, "suppress": [UNK, 9, 11]},
        {"min_length": 7, "min_extra_length": -1, "max_length": 7},
        {"no_repeat_ngram": 2, "min_length": 5},
    ],
    ids=str,
)
def test_options_do_what_the_plain_search_does(tokenizer, default_found, options):
    translator = make_translator(tokenizer, **options)
    found = translator.n_best(SENTENCES, batch_size=3)
    assert_as_planned(translator, found)
    assert [h[:1] for h in found] != [h[:1] for h in default_found]


def test_a_limit_below_the_minimum_counts(tokenizer):
    translator = make_translator(tokenizer, min_length=9, max_extra_length=1, beam_size=25)
    found = translator.n_best(SENTENCES)
    assert_as_planned(translator, found)
    assert max(len(hypothesis.tokens) for hypothesis in found[0]) == 3  # a piece, its END, one more
    assert any(hypothesis.finished for hypotheses in found for hypothesis in hypotheses)  # at the limit alone


def test_two_models_search_by_the_mean_of_their_probabilities(tokenizer, default_found):
    translator = make_translator(tokenizer, seeds=(0, 1), coverage_penalty=0.2)
    found = translator.n_best(SENTENCES, batch_size=3)
    assert_as_planned(translator, found)
    assert [h[0].text for h in found] != [h[0].text for h in default_found]
    assert translator(SENTENCES, batch_size=1) == [hypotheses[0].text for hypotheses in found]


def test_a_model_twice_is_the_model(tokenizer, default_found):
    found = make_translator(tokenizer, seeds=(0, 0)).n_best(SENTENCES)
    for hypotheses, expected in zip(found, default_found, strict=True):
        assert [h.tokens for h in hypotheses] == [h.tokens for h in expected]
        np.testing.assert_allclose([h.score for h in hypotheses], [h.score for h in expected], rtol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_translation_begins_with_its_prefix(tokenizer, beam_size):
    translator = make_translator(tokenizer, beam_size=beam_size, min_length=3, suppress=[UNK])
    found = translator.n_best(SENTENCES, prefixes=PREFIXES, batch_size=3)
    if beam_size > 1:
        assert_as_planned(translator, found, PREFIXES)
    for prefix, hypotheses in zip(PREFIXES, found, strict=True):
        forced = tokenizer.pieces(tokenizer.encode(prefix))
        assert all(list(h.tokens[: len(forced)]) == forced and h.text.startswith(prefix) for h in hypotheses)
    assert translator(SENTENCES, PREFIXES) == [hypotheses[0].text for hypotheses in found]
    assert translator.n_best(SENTENCES, prefixes=[""] * 4) == translator.n_best(SENTENCES)


def test_a_prefix_may_take_all_but_the_end(tokenizer):
    translator = make_translator(tokenizer, max_length=3, beam_size=25)
    [hypotheses] = translator.n_best(["1 2"], prefixes=["4 2"])
    assert len(hypotheses) == 23  # every piece but [PAD] and [START] may follow
    assert {len(h.tokens) for h in hypotheses} == {3} and {h.text[:3] for h in hypotheses} == {"4 2"}
    assert [h.text for h in hypotheses if h.finished] == ["4 2"]
    with pytest.raises(ValueError, match=r"prefix of sentence 1 has 3 pieces\. With END .* 3 tokens .*'4 2 1'"):
        translator(["1", "1 2"], ["", "4 2 1"])


def test_prefixes_that_cannot_be_are_refused(default):
    with pytest.raises(ValueError, match="got 1 for 2"):
        default(["1", "2"], ["3"])
    with pytest.raises(TypeError, match="must be a list of strings"):
        default(["1"], "3")
    with pytest.raises(ValueError, match="sentence 1 is empty, and so is its translation: it cannot begin with '3'"):
        default(["1", " "], ["", "3"])
    with pytest.raises(ValueError, match="prefix of sentence 0 has text that the tokenizer has no piece for: 'x'"):
        default(["1"], ["x"])
    assert default([], []) == []


def test_the_beam_may_be_as_wide_as_the_vocabulary(tokenizer):
    model = tiny.make_opinionated()
    translator = Translator(model, tokenizer, beam_size=25, max_extra_length=0)
    [hypotheses], plain = translator.n_best(["1"]), plain_beam_search(translator, "1")
    assert len(plain) == 25
    assert [h.text for h in hypotheses] == [
        text_of(translator, ids) for ids, *_ in best_of_each_text(translator, plain)
    ]
    with pytest.raises(ValueError, match="beam_size=26 is wider than the vocabulary of 25 pieces"):
        Translator(model, tokenizer, beam_size=26)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length_normalization": "mean"}, r"length_normalization must be one of \('gnmt', 'power'\), got 'mean'"),
        ({"coverage_penalty": -0.1}, "coverage_penalty must be from 0 to 1000, got -0.1"),
        ({"coverage_penalty": float("inf")}, "coverage_penalty must be from 0 to 1000, got inf"),
        ({"length_penalty": float("nan")}, "length_penalty must be from 0 to 6, got nan"),
        ({"length_penalty": 10**400}, "length_penalty must be from 0 to 6, got 1000"),
        ({"max_length": 0}, "max_length must be from 1 to 2147483647, got 0"),
        ({"max_length": 2**31}, "max_length must be from 1 to 2147483647, got 2147483648"),
        ({"max_extra_length": 2**30 + 1}, "max_extra_length must be from 0 to 1073741824, got 1073741825"),
        ({"min_extra_length": -(2**31)}, "min_extra_length must be from -1073741824 to 1073741824, got -2147483648"),
        ({"min_length": -1}, "min_length must be from 0 to 2147483647, got -1"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram must be from 0 to 2147483647, got -1"),
        ({"min_length": 5, "max_length": 4}, "min_length=5 is more than max_length=4"),
        ({"min_extra_length": 51}, "min_extra_length=51 is more than max_extra_length=50"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SearchOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 4.5}, r"max_length must be an int, got 4\.5"),
        ({"beam_size": None}, "beam_size must be an int, got None"),
        ({"min_length": True}, "min_length must be an int, got True"),
        ({"length_penalty": None}, "length_penalty must be a number, got None"),
        ({"length_penalty": "0.6"}, "length_penalty must be a number, got '0.6'"),
        ({"coverage_penalty": True}, "coverage_penalty must be a number, got True"),
        ({"replace_unknown": "no"}, "replace_unknown must be True or False, got 'no'"),
        ({"suppress": "unk"}, r"suppress must be a list of pieces or ids, got one string: write \['unk'\]"),
        ({"suppress": 5}, "suppress must be a list of pieces or ids, got 5"),
        ({"suppress": [5, 2.5]}, "suppress must hold pieces, by name or id, got 2.5"),
        ({"suppress": [False]}, "suppress must hold pieces, by name or id, got False"),
    ],
)
def test_options_of_another_type_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        SearchOptions(**options)


def test_an_unknown_option_is_refused(tokenizer):
    with pytest.raises(TypeError, match="beam_width"):
        Translator(tiny.make_model(), tokenizer, beam_width=4)


def test_numpys_numbers_become_pythons():
    given = {
        "beam_size": np.int64(3),
        "length_penalty": np.float32(0.5),
        "coverage_penalty": 1,
        "max_length": np.int8(9),
    }
    found = SearchOptions(**given, suppress=np.array([5, 7]))
    assert found == SearchOptions(3, 0.5, coverage_penalty=1.0, max_length=9, suppress=(5, 7))
    assert {type(getattr(found, name)) for name in ("beam_size", "max_length")} == {int}
    assert {type(found.length_penalty), type(found.coverage_penalty)} == {float}
    assert {type(entry) for entry in found.suppress} == {int}


@pytest.mark.parametrize("kind", ["gnmt", "power"])
def test_the_strongest_length_penalty_leaves_scores_of_a_million_tokens(kind):
    scores = -np.float32(1e-1) / np.array(length_divisor(np.array([1, 10**6]), 6.0, kind))
    assert np.isfinite(scores).all() and (scores < -np.finfo(np.float32).tiny).all()


def test_pieces_are_suppressed_by_name_or_id(tokenizer):
    [[three]] = tokenizer.encode(["3"])
    assert suppressed_ids(["unk", "▁3", 7], tokenizer) == tuple(sorted({UNK, three, 7}))
    assert suppressed_ids(["[UNK]", UNK, "[PAD]"], tokenizer) == (UNK,)
    german = SimpleNamespace(
        vocabulary_size=7, pieces=lambda ids: ["[PAD]", "[UNK]", "[START]", "[END]", "P", "unk", "t"]
    )
    assert suppressed_ids(["unk"], german) == (UNK,) and suppressed_ids([5, "t"], german) == (5, 6)
    for entry in ("▁33", 25, -1, 2.5):
        with pytest.raises(
            ValueError, match=rf"suppress has {entry!r}, which is no piece of the tokenizer\. .* from 0 to 24"
        ):
            suppressed_ids([entry], tokenizer)
    with pytest.raises(ValueError, match=r"suppress has '\[END\]'.*no translation can end"):
        suppressed_ids(["[END]"], tokenizer)


def test_models_that_do_not_fit_together_are_refused(tokenizer):
    with pytest.raises(ValueError, match="has 25 pieces, the model's vocabulary_size is 26"):
        Translator([tiny.make_model(), tiny.make_model(vocabulary_size=26)], tokenizer)
    with pytest.raises(ValueError, match="empty list"):
        Translator([], tokenizer)


def test_folders_load_as_an_ensemble(tokenizer, tmp_path):
    one, other = (make_translator(tokenizer, seeds=(seed,)) for seed in (0, 1))
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    loaded = Translator.load([tmp_path / "one", tmp_path / "other"], beam_size=1, max_extra_length=5)
    assert loaded.options == make_translator(tokenizer, seeds=(0, 1), beam_size=1).options
    for model, saved in zip(loaded.models, (one.model, other.model), strict=True):
        for found, expected in zip(model.get_weights(), saved.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"this translator has 2\. Save each in its own folder"):
        loaded.save(tmp_path / "both")
    foreign = tiny.make_tokenizer(tmp_path / "corpus", "bpe")
    foreign.save(tmp_path / "other" / "tokenizer.model", overwrite=True)
    with pytest.raises(
        ValueError, match=r"other/tokenizer\.model differs from .*one/tokenizer\.model\. .*one vocabulary"
    ):
        Translator.load([tmp_path / "one", tmp_path / "other"])
