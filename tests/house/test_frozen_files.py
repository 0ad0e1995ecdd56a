"""Files that an earlier version wrote can still be read, and give the recorded results. See `make_frozen.py`."""

import json
import shutil

import keras
import make_frozen
import numpy as np
import pytest
import session_client
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that the export needs
import tiny
from make_frozen import FROZEN, SENTENCES
from tensorflow.python.framework.config import disable_op_determinism

from keras_transformer import Tokenizer, Transformer, Translator
from keras_transformer.backend.int8 import IntegersNotExact, check_int8
from keras_transformer.training.averaging import average


def read_json(*parts):
    return json.loads(FROZEN.joinpath(*parts).read_text(encoding="utf-8"))


def integers_are_exact():
    try:
        check_int8()
    except IntegersNotExact:
        return False
    return True


@pytest.mark.parametrize("name", [*make_frozen.MODELS, "int8"])
def test_a_model_gives_the_recorded_logits(name):
    if name == "int8" and not integers_are_exact():
        pytest.skip("this processor cannot add up products of 8-bit integers exactly")
    model = keras.saving.load_model(FROZEN / "models" / f"{name}.keras")
    assert type(model) is Transformer
    with np.load(FROZEN / "models" / "logits.npz") as recorded:
        expected = recorded[name]
    # Other processors round differently. With integers, a number close to a half may move by a step of 1/127.
    atol = np.abs(expected).max() / 127 if name == "int8" else 1e-4
    np.testing.assert_allclose(make_frozen.logits(model), expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", make_frozen.MODELS)
def test_a_model_keeps_its_optimizer_loss_and_metrics(name):
    model = keras.saving.load_model(FROZEN / "models" / f"{name}.keras")
    written = tiny.compiled(tiny.make_model())
    assert model.optimizer.get_config() == {**written.optimizer.get_config(), "name": model.optimizer.name}
    assert model.loss.get_config() == written.loss.get_config()
    assert int(model.optimizer.iterations.numpy()) == 1
    assert set(model.train_on_batch(*make_frozen.batch(), return_dict=True)) == {"loss", "accuracy", "perplexity"}


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "marian"])
def test_a_tokenizer_gives_the_recorded_ids(kind):
    tokenizer = Tokenizer.load(FROZEN / "tokenizers" / f"{kind}.model")
    expected = read_json("tokenizers", "expected.json")[kind]
    assert tokenizer.model == kind
    assert tokenizer.vocabulary_size == expected["vocabulary_size"]
    assert tokenizer.pieces(range(tokenizer.vocabulary_size)) == expected["pieces"]
    assert tokenizer.encode(SENTENCES) == expected["ids"]
    assert tokenizer.decode(expected["ids"]) == expected["texts"]


@pytest.fixture
def run(tmp_path):
    """A copy of the training folder of a broken run."""
    tf.config.experimental.enable_op_determinism()
    yield shutil.copytree(FROZEN / "run", tmp_path / "run")
    disable_op_determinism()  # TensorFlow has no public function for this


def test_a_broken_run_resumes_to_the_recorded_weights(run, tmp_path):
    model, history = make_frozen.fit(run, tmp_path)
    for name, values in read_json("run", "end.json").items():
        assert history[name] == pytest.approx(values, rel=1e-5), name
    found = [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]
    averaged = keras.saving.load_model(run / "average.keras").get_weights()
    with np.load(FROZEN / "run" / "end.npz") as end:
        expected = [end[f"variable_{number}"] for number in range(len(found))]
        expected_average = [end[f"average_{number}"] for number in range(len(averaged))]
        assert len(end.files) == len(found) + len(averaged)
    for value, goal in zip([*found, *averaged], [*expected, *expected_average], strict=True):
        np.testing.assert_allclose(value, goal, rtol=1e-4, atol=1e-5)


def test_an_average_and_its_states_are_read(tmp_path):
    recorded = keras.saving.load_model(FROZEN / "run" / "average_of_the_end.keras").get_weights()
    states = sorted((FROZEN / "run" / "averaged_of_the_end").glob("*.npz"))
    assert len(states) == 2
    again = average(states, tmp_path / "average.keras").get_weights()
    for value, goal in zip(again, recorded, strict=True):
        np.testing.assert_array_equal(value, goal)


def test_a_training_folder_gives_the_recorded_translations():
    expected = read_json("export", "expected.json")
    translator = Translator.load(FROZEN / "export" / "training_folder", beam_size=2, max_extra_length=4)
    found = translator.n_best(expected["sentences"])
    assert [[one.text for one in best] for best in found] == expected["translations"]
    for best, goal in zip(found, expected["scores"], strict=True):
        assert [one.score for one in best] == pytest.approx(goal, rel=1e-5)


def test_an_export_gives_the_recorded_translations():
    expected = read_json("export", "expected.json")
    served = session_client.Served(FROZEN / "export" / "digits" / "1")
    found = served("n_best", sentences=[sentence.encode() for sentence in expected["sentences"]])
    for texts, scores, goal, goal_scores in zip(
        *(found["translations"], found["scores"], expected["translations"], expected["scores"]), strict=True
    ):
        assert [text.decode() for text in texts[: len(goal)]] == goal
        assert scores[: len(goal)].tolist() == pytest.approx(goal_scores, rel=1e-5)
