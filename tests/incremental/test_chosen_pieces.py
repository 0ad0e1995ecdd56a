"""Logits of chosen pieces are columns of the logits of all."""

import keras
import numpy as np
import pytest
from keras import ops
from processors import needs_vnni

from keras_transformer import Transformer
from keras_transformer.incremental import IncrementalDecoder

pytestmark = pytest.mark.core
SIZE = 29
PIECES = np.array([0, 1, 2, 3, 28, 7, 19], "int32")
SMALL = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 24, "dropout": 0.0}
SOURCE = np.array([[5, 7, 3], [4, 3, 0]], "int32")


def two_steps(model, pieces):
    """The logits of the second token of W = 2, all and those of the pieces."""
    decoder = IncrementalDecoder(model)
    memory, ids = model.encode(SOURCE), (np.array([[2, 2], [2, 2]], "int32"), np.array([[6, 9], [11, 3]], "int32"))
    found = []
    for chosen in (None, decoder.chosen_weights(ops.convert_to_tensor(pieces))):
        state = decoder.start(memory, SOURCE, room=2, num_hypotheses=2)
        for row in ids:
            logits, state = decoder.step(row, state) if chosen is None else decoder.step_among(row, state, chosen)
        found.append(ops.convert_to_numpy(logits))
    return found


@pytest.mark.parametrize("options", [{"tie_embeddings": "none", "output_bias": True}, {}], ids=["bias", "tied"])
def test_float_logits(options):
    keras.utils.set_random_seed(3)
    model = Transformer(vocabulary_size=SIZE, **SMALL, **options)
    for weight in model.weights:
        weight.assign(weight + keras.random.normal(weight.shape, seed=len(weight.path)) / 3)
    every, chosen = two_steps(model, PIECES)
    assert every.shape == (2, 2, SIZE) and np.ptp(every) > 1
    np.testing.assert_allclose(chosen, every[:, :, PIECES], rtol=1e-5, atol=1e-6)


@needs_vnni
def test_integer_logits_are_the_same(monkeypatch):
    monkeypatch.setattr("keras_transformer.backend.int8.SMALLEST", 1)
    model = Transformer(vocabulary_size=SIZE, **SMALL)
    model.quantize("int8")
    every, chosen = two_steps(model, PIECES)
    np.testing.assert_allclose(chosen, every[:, :, PIECES], rtol=1e-6, atol=1e-6)
