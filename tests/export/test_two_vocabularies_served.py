"""An export with two tokenizers gives what the translator gives, in each signature."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import TokenizerPair, Translator
from keras_transformer.ids import END

SENTENCES = ["4", "3 1 4 1 5", "", "9 8"]
TRANSLATIONS = ["a", "b j a", "", "7 x"]  # the last has pieces that the target's tokenizer lacks
OPTIONS = {"beam_size": 2, "max_extra_length": 4}
close = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny.make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def served(pair, tmp_path_factory):
    """A translator, the folder of its export, which a clean process has checked, and its signatures."""
    translator = Translator(tiny.make_opinionated(2, **tiny.PAIR_SIZES), pair, **OPTIONS)
    folder = tmp_path_factory.mktemp("exports") / "letters" / "1"
    translator.export(folder, serving=True)
    return translator, folder, tf.saved_model.load(folder).signatures


def texts(tensor):
    return [text.decode() for text in tensor.numpy().ravel()]


def test_every_signature_gives_what_the_translator_gives(served, pair):
    translator, _, signatures = served
    found = translator.n_best(SENTENCES)
    best = [hypotheses[0] for hypotheses in found]
    sentences = tf.constant(SENTENCES)
    for name in ("serving_default", "align"):
        outputs = signatures[name](sentences=sentences)
        assert texts(outputs["translations"]) == [h.text for h in best]
        np.testing.assert_allclose(outputs["scores"], [h.score for h in best], **close)
    for sentence, h, sources, targets, array in zip(
        SENTENCES, best, *(outputs[key] for key in ("source_pieces", "target_pieces", "alignment")), strict=True
    ):
        if sentence:
            source, _, alignment = translator.alignment(sentence, list(h.tokens))
            assert [piece for piece in texts(sources) if piece] == source
            assert [piece for piece in texts(targets) if piece] == list(h.tokens)
            rows = len(h.tokens)
            np.testing.assert_allclose(array[:rows, : len(source)], alignment[:rows], **close)
    outputs = signatures["n_best"](sentences=sentences)
    expected = [h.text for hypotheses in found for h in [*hypotheses, *[None] * (2 - len(hypotheses))] if h]
    assert [text for text in texts(outputs["translations"]) if text] == [text for text in expected if text]
    outputs = signatures["score"](sentences=sentences, translations=tf.constant(TRANSLATIONS))
    np.testing.assert_allclose(outputs["scores"], [s.score for s in translator.score(SENTENCES, TRANSLATIONS)], **close)

    rows = [[*pair.source.encode(sentence), END] for sentence in SENTENCES]
    ids = tf.ragged.constant(rows, tf.int32).to_tensor(END)
    outputs = signatures["ids"](source_ids=ids)
    assert [pair.decode(row) for row in outputs["ids"].numpy()] == [h.text for h in best]
    np.testing.assert_allclose(outputs["scores"], [h.score for h in best], **close)
    signatures["ids"](source_ids=tf.constant([[24, END]]))  # more than the target's pieces
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 4 to 24 before"):
        signatures["ids"](source_ids=tf.constant([[25, END]]))


def test_the_readme_of_an_export_tells_the_pieces_of_each_side(served):
    text = (served[1] / "README.md").read_text(encoding="utf-8")
    assert "- pieces: 25 of the source, 21 of the target\n" in text
    assert (served[1] / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_the_same_tokenizer_twice_is_that_tokenizer(tmp_path):
    tokenizer, model = tiny.make_tokenizer(tmp_path / "corpus"), tiny.make_opinionated(3)
    one, two = (Translator(model, each, beam_size=1) for each in (tokenizer, TokenizerPair(tokenizer, tokenizer)))
    two.export(tmp_path / "two", check=False)
    serve = tf.saved_model.load(tmp_path / "two").signatures["serving_default"]
    assert texts(serve(sentences=tf.constant(SENTENCES))["translations"]) == one(SENTENCES)
