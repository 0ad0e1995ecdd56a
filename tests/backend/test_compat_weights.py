"""One test for each private part of Keras' files of weights. If a new version changes a part, its test fails."""

import keras
import numpy as np
import pytest

from keras_transformer.backend.saved_weights import weights_in, weights_to_save

pytestmark = pytest.mark.core


def model_of_two():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    model.compile("sgd", "mse")
    return model


def test_what_is_to_be_saved_is_what_a_file_has(tmp_path):
    model = model_of_two()
    expected = {place: shape for place, (_, shape) in weights_to_save(model).items()}
    assert {shape for place, shape in expected.items() if "dense" in place} == {(2, 3), (3,)}
    model.save_weights(tmp_path / "model.weights.h5")
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=1e-6)
    model.save(tmp_path / "model.keras")
    for name in ("model.weights.h5", "model.weights.json", "model.keras"):
        assert weights_in(tmp_path / name) == expected


def test_the_name_of_a_weight_is_its_path_and_nothing_is_changed():
    model = model_of_two()
    before = model.get_weights()
    names = {name for name, _ in weights_to_save(model).values()}
    assert {variable.path for variable in model.weights} <= names
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
