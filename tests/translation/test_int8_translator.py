"""Translating with a quantized model: the same search, the same scores; and what it is not for."""

import numpy as np
import pytest
import tiny
from processors import needs_vnni

from keras_transformer import Translator
from keras_transformer.interop import ctranslate2
from keras_transformer.training.averaging import average

pytestmark = needs_vnni

INT8 = "int8_from_float32"
SENTENCES = ["3 1 4", "", "1 5 9 2 6 5", "2", "7 7 7 7 7 7 7 7 7", "8 0 8"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two untrained models of which all large matrices become integers, saved with their tokenizer."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = tiny.make_tokenizer(root / "corpus", "bpe")
    for seed in (0, 1):
        model = tiny.make_opinionated(seed, vocabulary_size=tokenizer.vocabulary_size, d_model=256, d_ff=256)
        Translator(model, tokenizer).save(root / str(seed))
    return [root / "0", root / "1"]


def load(folder):
    return Translator.load(folder, INT8, beam_size=3, max_extra_length=5)


def test_a_search_and_scores_of_two_models_agree(folders):
    translator = load(folders)
    assert all(model.quantized for model in translator.models)
    found = translator.n_best(SENTENCES, workers=1, details=True)
    again = translator.n_best(SENTENCES, workers=2, batch_size=2, details=True)
    plain = Translator.load(folders, beam_size=3, max_extra_length=5).n_best(SENTENCES)
    # These models turn a unit of 127 in a weight into much: in float32 they give other scores by far.
    differences = [
        abs(one[0].log_probability - exact[0].log_probability) for one, exact in zip(found, plain, strict=True)
    ]
    assert max(differences) > 0.3
    for sentence, one, other in zip(SENTENCES, found, again, strict=True):
        # Where a rounding falls otherwise, a number is off by one unit of 127.
        assert one[0].log_probability == pytest.approx(other[0].log_probability, abs=0.1)
        for best in one:
            assert sum(best.token_log_probabilities) == pytest.approx(best.log_probability, abs=0.1)
            [score] = translator.score([sentence], [best.tokens])
            of_these = score.token_log_probabilities[: len(best.tokens)]  # END besides, where a limit cut it off
            assert sum(of_these) == pytest.approx(best.log_probability, abs=0.1)


def test_it_is_saved_and_read_as_it_is(folders, tmp_path):
    translator = load(folders[0])
    translator.save(tmp_path / "int8")
    again = Translator.load(tmp_path / "int8", beam_size=3, max_extra_length=5)
    assert again(SENTENCES) == translator(SENTENCES)
    half = Translator.load(tmp_path / "int8", "int8_from_mixed_bfloat16").model
    assert half.compute_dtype == "bfloat16"
    for found, expected in zip(half.get_weights(), translator.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"holds 8-bit integers: it .* under dtype 'float32'\. Give dtype='int8_"):
        Translator.load(tmp_path / "int8", "float32")


def test_what_it_is_not_for(folders, tmp_path):
    translator = load(folders[0])
    translator.save(tmp_path / "int8")
    with pytest.raises(ValueError, match="Save the model that it was made from, with `quantization`"):
        ctranslate2.spec_variables(translator.model)
    with pytest.raises(ValueError, match="they have no mean"):
        average([tmp_path / "int8" / "model.keras"] * 2, tmp_path / "mean.keras")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8"]


def test_a_translator_does_not_outlive_quantizing(folders):
    translator = Translator.load(folders[0], beam_size=2)
    [expected] = translator(["3 1 4"])
    translator.model.quantize("int8")
    for use in (
        lambda: translator(["3 1 4"]),
        lambda: translator.score(["3 1 4"], [expected]),
        lambda: translator.alignment("3 1 4", expected),
    ):
        with pytest.raises(RuntimeError, match="quantized after this Translator was made"):
            use()
    again = Translator(translator.model, translator.tokenizer, beam_size=2)
    assert len(again(["3 1 4"])) == 1
