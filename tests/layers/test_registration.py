"""Every layer class of the package can be loaded from a file by its registered name."""

import importlib
import pkgutil

import keras
import numpy as np
import pytest
from layer_contract import reloaded, values

import keras_transformer.layers
from keras_transformer import Transformer

pytestmark = pytest.mark.core


def layer_classes():
    """All subclasses of `keras.layers.Layer` that the core defines."""
    modules = [importlib.import_module("keras_transformer.model")]
    for info in pkgutil.iter_modules(keras_transformer.layers.__path__):
        modules.append(importlib.import_module(f"keras_transformer.layers.{info.name}"))
    found = {x for module in modules for x in vars(module).values() if isinstance(x, type)}
    own = {kind for kind in found if kind.__module__.startswith("keras_transformer.")}
    return sorted((kind for kind in own if issubclass(kind, keras.layers.Layer)), key=lambda kind: kind.__name__)


def test_they_are_registered():
    names = [kind.__name__ for kind in layer_classes()]
    assert {"Dropout", "Encoder", "LayerNormalization", "Projection", "Residual", "Transformer"} <= set(names)
    for kind in layer_classes():
        if kind.__name__ != "TokenTraining":  # a base class of models without a constructor of its own
            assert keras.saving.get_registered_name(kind) == f"keras_transformer>{kind.__name__}"
            assert keras.saving.get_registered_object(f"keras_transformer>{kind.__name__}") is kind


@pytest.mark.parametrize("part", ["encoder", "decoder", "source_dropout", "target_positions", "token_embedding"])
def test_a_part_of_the_model_is_a_model_that_loads(part, tmp_path):
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 8, "num_heads": 2, "d_ff": 3}
    model = Transformer(vocabulary_size=7, norm="pre", **sizes)
    extractor = keras.Model(model.input, model.get_layer(part).output)
    batch = {"source": np.array([[5, 6, 3, 0]]), "target": np.array([[2, 4, 5]])}
    np.testing.assert_array_equal(values(reloaded(extractor, tmp_path)(batch)), values(extractor(batch)))
