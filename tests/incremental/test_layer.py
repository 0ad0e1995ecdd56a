"""Decoder layers, one token at a time, are compared with the same layers on whole targets."""

import numpy as np
import pytest
from keras import ops
from layer_contract import values

from keras_transformer import Decoder
from keras_transformer.incremental import layer as incremental_layer
from keras_transformer.incremental.attention import joint_weights
from keras_transformer.incremental.places import places_of_step
from keras_transformer.layers.masks import bias_of

pytestmark = pytest.mark.core

NUM_HEADS = 3
OPTIONS = {"num_heads": NUM_HEADS, "d_ff": 11, "d_k": 5, "d_v": 2, "dropout": 0.0}
MEMORY_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)


def numbers(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_steps_equal_the_whole(norm):
    """W hypotheses that are decoded token by token, with caches, equal W rows that are decoded at once."""
    width, length = 2, 4
    x = numbers(2 * width, length, 7, seed=3)
    decoder, memory = Decoder(2, **OPTIONS, norm=norm), numbers(2, 5, 7, seed=1)
    decoder.build(x.shape, memory.shape)
    decoder.set_weights([w + numbers(*w.shape, seed=5) / 3 for w in decoder.get_weights()])
    rows = np.repeat(np.arange(2), width)
    whole = values(decoder(x, memory[rows], memory_mask=MEMORY_MASK[rows]))
    memory = ops.convert_to_tensor(memory)
    caches = [incremental_layer.start(layer, memory, width, length + 1) for layer in decoder.layers]
    past = ops.zeros((2, width, length + 1, width), "bool")
    for t in range(length):
        places, past = places_of_step(past, t, bias_of(MEMORY_MASK[:, None, None, :]), NUM_HEADS)
        out = ops.convert_to_tensor(x[:, t])
        for number, layer in enumerate(decoder.layers):
            weights = joint_weights(layer.self_attention)
            out, caches[number], _ = incremental_layer.step(layer, out, caches[number], places, weights)
        np.testing.assert_allclose(values(decoder.normalize_output(out)), whole[:, t], atol=2e-6)
