"""`load_weights`: a file that does not fit is refused in one line, and the weights stay as they were."""

import re

import keras
import numpy as np
import pytest
from layer_contract import values

from keras_transformer import LabelSmoothedCrossEntropy, Transformer

pytestmark = pytest.mark.core

SIZES = {
    **{"vocabulary_size": 23, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 4, "num_heads": 1},
    "d_ff": 6,
}
REMEDY = (
    "Make the model with the arguments of the one that was saved. keras.saving.load_model reads whole .keras files, "
    "and Translator.load training folders."
)


@pytest.fixture(scope="module")
def model():
    return Transformer(**SIZES)


def refused(error, message, model, path, **options):
    before = [values(variable) for variable in model.variables]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        model.load_weights(path, **options)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(values(variable), old)


OTHERS = {
    "a larger vocabulary": (
        {"vocabulary_size": 29},
        "token_embedding/embeddings has shape (29, 4) there, and (23, 4) here",
    ),
    "a wider network": (
        {"d_ff": 9},
        "encoder/layer_0/feed_forward/inner/kernel has shape (4, 9) there, and (4, 6) here",
    ),
    "more layers": (  # Keras would load the first ones, and say nothing
        {"num_encoder_layers": 2},
        "it also has layers/encoder/layers/encoder_layer_1/feed_forward/inner/0, of shape (4, 6)",
    ),
    "untied": ({"tie_embeddings": "none"}, "it also has layers/token_embedding_1/0, of shape (23, 4)"),
    "pre-norm": ({"norm": "pre"}, "it also has layers/decoder/final_norm/0, of shape (4,)"),
}


@pytest.mark.each_case
@pytest.mark.parametrize("name", OTHERS)
def test_the_weights_of_another_model(model, tmp_path, monkeypatch, name):
    changes, difference = OTHERS[name]
    monkeypatch.chdir(tmp_path)
    Transformer(**{**SIZES, **changes}).save_weights("other.weights.h5")
    message = f"filepath='other.weights.h5' has other weights than the model: {difference}. {REMEDY}"
    refused(ValueError, message, model, "other.weights.h5")


def test_a_weight_that_the_file_lacks(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    model.save("model.keras")
    model.save_weights("model.weights.json", max_shard_size=1e-6)  # a file for each weight
    deeper = Transformer(**{**SIZES, "num_decoder_layers": 2})
    lacks = "it has no decoder/layer_1/feed_forward/inner/kernel, here of shape (4, 6)"
    for path in ("model.keras", "model.weights.json"):
        refused(ValueError, f"filepath={path!r} has other weights than the model: {lacks}. {REMEDY}", deeper, path)
        again = Transformer(**SIZES)
        again.load_weights(path)
        np.testing.assert_array_equal(values(again.source_embedding.embeddings), values(model.weights[0]))
    with pytest.warns(UserWarning, match="could not be loaded"):
        deeper.load_weights("model.keras", skip_mismatch=True)  # what fits, as Keras does
    np.testing.assert_array_equal(values(deeper.source_embedding.embeddings), values(model.weights[0]))


def test_files_that_hold_no_weights(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    model.save_weights("whole.weights.h5")
    (tmp_path / "cut.weights.h5").write_bytes((tmp_path / "whole.weights.h5").read_bytes()[:3000])
    (tmp_path / "text.weights.h5").write_text("hello")
    (tmp_path / "empty.weights.h5").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "broken.keras").write_bytes(b"PK\3\4")
    (tmp_path / "folder.weights.h5").mkdir()
    (tmp_path / "run").mkdir()
    model.save("run/model.keras")
    read = "cannot be read as weights: it is"
    for path, error, message in (
        ("hole.weights.h5", FileNotFoundError, "does not exist. Did you mean 'whole.weights.h5'?"),
        ("cut.weights.h5", ValueError, "is damaged or cut off after 3,000 bytes. Copy it again, or take another file."),
        ("text.weights.h5", ValueError, f"{read} another kind of file, which begins with b'hello'."),
        ("empty.weights.h5", ValueError, f"{read} empty."),
        (
            "notes.txt",
            ValueError,
            "must end in .weights.h5, as model.save_weights writes it, or in .keras, as model.save does.",
        ),
        (
            "broken.keras",
            ValueError,
            "cannot be read as a Keras model: it is damaged or cut off after 4 bytes. Copy it again, or take another "
            "file.",
        ),
        ("folder.weights.h5", IsADirectoryError, "is a folder. Give a file."),
        ("run", ValueError, "is a training folder. Load it with Translator.load, or give its model.keras."),
    ):
        refused(error, f"filepath={path!r} {message}", model, path)
    refused(TypeError, "filepath must be a path, a str or a pathlib.Path, got None.", model, None)


def test_a_failure_in_the_middle_leaves_all_weights_as_they_were(tmp_path, monkeypatch, model):
    path = tmp_path / "model.weights.h5"
    Transformer(**SIZES).save_weights(path)

    def fail(self, store):
        raise OSError("the disk\nis gone")

    monkeypatch.setattr(type(model.decoder.layers[0].feed_forward.outer), "load_own_variables", fail)
    with pytest.raises(ValueError) as error:
        model.load_weights(path)
    assert "\n" not in str(error.value) and "the disk is gone" in str(error.value)
    refused(ValueError, str(error.value), model, path)


@pytest.mark.trains
def test_the_optimizers_state_may_be_there_or_not(tmp_path):
    trained, new = Transformer(**SIZES), Transformer(**SIZES)
    trained.compile(keras.optimizers.SGD(0.1), LabelSmoothedCrossEntropy())
    trained.optimizer.build(trained.trainable_variables)
    trained.save_weights(tmp_path / "trained.weights.h5")
    new.load_weights(tmp_path / "trained.weights.h5")
    for one, other in zip(trained.weights, new.weights, strict=True):
        np.testing.assert_array_equal(values(one), values(other))
