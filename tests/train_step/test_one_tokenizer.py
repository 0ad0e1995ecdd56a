"""`fit` refuses validation data and callbacks with other pieces than the training data, though of the same number."""

import functools
import logging

import keras
import pytest
import tiny

from keras_transformer import Tokenizer, TokenizerPair, Translator, parallel_corpus
from keras_transformer.training import Checkpoint, SampleTranslations, ValidationBLEU


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tokenizer of digits, one of letters with as many pieces, and the files of each."""
    folder = tmp_path_factory.mktemp("texts")
    pairs = tiny.digit_pairs(60)
    digits = tiny.write_pairs(folder, pairs)
    letters = tiny.write_pairs(folder, [[side.translate(tiny.LETTERS) for side in pair] for pair in pairs], "letters")
    tokenizers = [Tokenizer.train(paths, 25, "wordpiece") for paths in (digits, letters)]
    assert [tokenizer.vocabulary_size for tokenizer in tokenizers] == [25, 25]
    return digits, letters, *tokenizers


def fit(x, *callbacks, **options):
    model = tiny.compiled_again()
    model.fit(x, verbose=0, shuffle=False, callbacks=[*callbacks, keras.callbacks.TerminateOnNaN()], **options)


REMEDY = r"another tokenizer than x: the same ids are other pieces\. Use one tokenizer for corpus, .* callbacks\.$"


def test_validation_data_with_other_pieces_are_refused(made):
    digits, letters, ours, other = made
    x = parallel_corpus(*digits, ours)
    with pytest.raises(ValueError, match=f"^validation_data was made with {REMEDY}"):
        fit(x, validation_data=parallel_corpus(*letters, other))
    fit(x, validation_data=parallel_corpus(*digits, TokenizerPair(ours, ours)))


def test_callbacks_with_other_pieces_are_refused(made, tmp_path):
    digits, _, ours, other = made
    x, model = parallel_corpus(*digits, ours), tiny.compiled_again()
    translate = functools.partial(Translator(model, other, beam_size=1), max_length=3)
    for callback in (
        Checkpoint(tmp_path / "run", other),
        ValidationBLEU(translate, ["1"], ["1"]),
        SampleTranslations(translate, ["1"], ["1"]),
    ):
        with pytest.raises(ValueError, match=rf"^callbacks: .*{type(callback).__name__} has {REMEDY}"):
            fit(x, callback)
    assert not (tmp_path / "run").exists()


def test_a_translator_of_another_model_is_warned_about(made, caplog):
    digits, _, ours, _ = made
    x, model = parallel_corpus(*digits, ours), tiny.compiled_again()
    for each, messages in ((tiny.make_model(), 1), (model, 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "keras_transformer"):
            fit(x, ValidationBLEU(Translator(each, ours, beam_size=1), ["1"], ["1"]))
        found = [record for record in caplog.messages if "another model than the one in training" in record]
        assert len(found) == messages and all(text.startswith("callbacks: ValidationBLEU ") for text in found)
