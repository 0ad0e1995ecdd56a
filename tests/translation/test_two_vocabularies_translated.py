"""A Translator with two tokenizers: against the plain search, and against one tokenizer where both are the same."""

import pickle
import re

import numpy as np
import pytest
import tiny
from plain_search import plain_beam_search, text_of

from keras_transformer import Tokenizer, TokenizerPair, Translator
from keras_transformer.ids import END
from keras_transformer.translation import load_model
from keras_transformer.translation.whole_file import work_of

SENTENCES = ["4", "3 1 4 1 5", "9 8"]
OPTIONS = {"beam_size": 3, "max_extra_length": 4}


def other_target():
    """Another tokenizer of letters, of the same size."""
    return Tokenizer.train(["abcdefghij", "a b c d e f g h i j k"], 21, "wordpiece")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny.make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def translator(pair):
    return Translator(tiny.make_opinionated(2, **tiny.PAIR_SIZES), pair, **OPTIONS)


@pytest.fixture(scope="module")
def found(translator):
    return translator.n_best(SENTENCES, details=True)


def assert_as_planned(translator, sentence, prefix, hypotheses):
    expected = plain_beam_search(translator, sentence, prefix)
    assert [h.text for h in hypotheses] == list(dict.fromkeys(text_of(translator, ids) for ids, *_ in expected))
    assert list(hypotheses[0].tokens) == translator.tokenizer.target.pieces(expected[0][0])
    assert hypotheses[0].score == pytest.approx(expected[0][2], rel=1e-5)


def test_the_search_is_the_plain_search(translator, found):
    for sentence, hypotheses in zip(SENTENCES[::2], found[::2], strict=True):
        assert_as_planned(translator, sentence, "", hypotheses)
    [hypotheses] = translator.n_best(["4"], prefixes=["b j"])
    assert_as_planned(translator, "4", "b j", hypotheses)
    assert all(h.text.startswith("b j") for h in hypotheses)


def test_scores_and_samples_are_of_the_target(translator, pair, found):
    [samples] = translator.sample(["3 1"], 2)
    assert {token for sample in samples for token in sample.tokens} <= set(pair.target.pieces(range(21)))
    finished = [(s, h) for s, hypotheses in zip(SENTENCES, found, strict=True) for h in hypotheses if h.finished]
    assert len(finished) > 2
    sources, hypotheses = zip(*finished, strict=True)
    for score, hypothesis in zip(translator.score(sources, [h.tokens for h in hypotheses]), hypotheses, strict=True):
        assert score.tokens == hypothesis.tokens and score.score == pytest.approx(hypothesis.score, rel=1e-5)
        assert score.token_log_probabilities == pytest.approx(hypothesis.token_log_probabilities, abs=1e-5)
    [score] = translator.score(["3 1"], ["b a j"])
    assert list(score.tokens) == pair.target.pieces([*pair.target.encode("b a j"), END])
    with pytest.raises(ValueError, match="'▁3' is no piece of a translation by this tokenizer"):
        translator.score(["3"], [["▁3"]])


def test_labels_are_the_pieces_of_each_side(translator, pair):
    source, target = [*pair.source.encode("3 1 4"), END], [*pair.target.encode("a b"), END]
    for labels in (translator.attention("3 1 4", "a b"), translator.alignment("3 1 4", "a b")):
        assert labels[:2] == (pair.source.pieces(source), pair.target.pieces(target))


def test_suppressed_pieces_are_those_of_the_target(translator, pair, found):
    without = Translator(translator.model, pair, suppress=["▁j"], **OPTIONS | {"beam_size": 1})
    assert "▁j" in {token for hypotheses in found for h in hypotheses for token in h.tokens}
    assert "▁j" not in {token for [h] in without.n_best(SENTENCES) for token in h.tokens}
    for entry in ("▁3", 21):
        with pytest.raises(ValueError, match=r"which is no piece of the tokenizer\. Its ids are from 0 to 20"):
            Translator(translator.model, pair, suppress=[entry])


def test_unknown_pieces_take_words_of_the_source(translator, pair, found):
    before, after = found[2][0].text, Translator(translator.model, pair, replace_unknown=True, **OPTIONS)(["9 8"])[0]
    assert before.count("⁇") > 1 and re.sub("[98]", "⁇", after) == before


def test_the_same_tokenizer_twice_is_that_tokenizer(tmp_path):
    tokenizer, model = tiny.make_tokenizer(tmp_path), tiny.make_opinionated()
    one, two = (Translator(model, each, **OPTIONS) for each in (tokenizer, TokenizerPair(tokenizer, tokenizer)))
    assert one.n_best(SENTENCES, details=True) == two.n_best(SENTENCES, details=True)
    assert one.score(SENTENCES, ["7", "", "1 2"]) == two.score(SENTENCES, ["7", "", "1 2"])
    for ours, theirs in zip(one.alignment("3 1", "7"), two.alignment("3 1", "7"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    Translator(tiny.make_model(tie_embeddings="all"), TokenizerPair(tokenizer, tokenizer))


def test_a_training_folder_holds_both_tokenizers(translator, found, tmp_path):
    translator.save(tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["model.keras", "source_tokenizer.model", "target_tokenizer.model"]
    again = Translator.load(tmp_path / "run", **OPTIONS)
    assert again.n_best(SENTENCES, details=True) == found
    assert pickle.loads(pickle.dumps(again)).tokenizer.fingerprint == translator.tokenizer.fingerprint
    translator.save(tmp_path / "run", overwrite=True)
    average = (tmp_path / "run" / "model.keras").rename(tmp_path / "run" / "average.keras")
    with pytest.raises(NotADirectoryError) as error:
        Translator.load(average)
    call = f"Translator(load_model({str(average)!r}), TokenizerPair.load({str(average.parent)!r}))"
    assert str(error.value).endswith(f"To translate with it: {call}.")
    names = {"Translator": Translator, "load_model": load_model, "TokenizerPair": TokenizerPair}
    assert eval(call, names).tokenizer.fingerprint == translator.tokenizer.fingerprint


def test_the_models_of_an_ensemble_need_the_same_tokenizers(translator, pair, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        translator.save(folder)
    assert Translator.load(folders).tokenizer.fingerprint == pair.fingerprint
    other_target().save(folders[1] / "target_tokenizer.model", overwrite=True)
    with pytest.raises(ValueError, match=r"other/target_tokenizer\.model differs from .*one/target_tokenizer\.model\."):
        Translator.load(folders)
    for name in ("source", "target"):
        (folders[1] / f"{name}_tokenizer.model").unlink()
    pair.source.save(folders[1] / "tokenizer.model")
    with pytest.raises(ValueError, match=r"other/tokenizer\.model differs from .*one/source_tokenizer\.model\."):
        Translator.load(folders)


def test_tokenizers_that_do_not_fit_the_model_are_refused_in_one_line(translator, pair):
    exchanged, model = TokenizerPair(pair.target, pair.source), translator.model
    for arguments, message in (
        (
            (model, exchanged),
            "the tokenizer has 21 source pieces, the model's vocabulary_size is 25: they were not trained together. "
            "Source and target seem to be exchanged.",
        ),
        (
            (model, pair.source),
            "the tokenizer has 25 pieces, the model's target_vocabulary_size is 21: they were not trained together. "
            "The model has two vocabularies: give TokenizerPair(source, target).",
        ),
        (
            (tiny.make_model(), pair),
            "the tokenizer has 21 target pieces, the model's target_vocabulary_size is 25: they were not trained "
            "together. Take the tokenizer of the folder where the model was trained.",
        ),
    ):
        with pytest.raises(ValueError) as error:
            Translator(*arguments)
        assert str(error.value) == message
    with pytest.raises(ValueError, match="beam_size=22 is wider than the vocabulary of 21 pieces"):
        Translator(model, pair, beam_size=22)


def test_one_matrix_for_two_vocabularies_is_refused(pair):
    other = Tokenizer.train(["0123456789", "0 1 2 3 4 5 6 7 8 9 11"], 25, "wordpiece")
    with pytest.raises(ValueError) as error:
        Translator(tiny.make_model(tie_embeddings="all"), TokenizerPair(pair.source, other))
    assert str(error.value) == (
        "the TokenizerPair has two vocabularies, and the model has tie_embeddings='all', one matrix for the pieces of "
        "both: they were not trained together. Make the model with tie_embeddings='target' or 'none'."
    )
    Translator(tiny.make_model(tie_embeddings="target"), TokenizerPair(pair.source, other))


def test_unfinished_work_of_another_tokenizer_names_the_side(translator, pair, tmp_path):
    (tmp_path / "in").write_text("3 1\n9\n")
    translator.translate_file(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "".join(f"{text}\n" for text in translator(["3 1", "9"]))
    changed = Translator(translator.model, TokenizerPair(pair.source, other_target()), **OPTIONS)
    works = [work_of(each, tmp_path / "in", tmp_path / "in", False) for each in (translator, changed)]
    assert [name for name in works[0] if works[0][name] != works[1][name]] == ["target tokenizer"]
