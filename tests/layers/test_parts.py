"""What is set on parts of layers comes back on loading: frozen parts and LoRA."""

import keras
import numpy as np
import pytest
from layer_contract import reloaded, values

from keras_transformer import Encoder, EncoderLayer, FeedForward, MultiHeadAttention
from keras_transformer.layers.parts import change_parts
from keras_transformer.layers.residual import Residual

pytestmark = pytest.mark.core

X = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
MAKE = {
    MultiHeadAttention: lambda **options: MultiHeadAttention(2, **options),
    FeedForward: lambda **options: FeedForward(5, **options),
    EncoderLayer: lambda **options: EncoderLayer(num_heads=2, d_ff=5, **options),
    Encoder: lambda **options: Encoder(2, num_heads=2, d_ff=5, norm="pre", **options),
}
PART = {  # a layer inside of each, and another
    MultiHeadAttention: lambda layer: (layer.query_projection, layer.output_projection),
    FeedForward: lambda layer: (layer.inner, layer.outer),
    EncoderLayer: lambda layer: (layer.self_attention, layer.feed_forward.outer),
    Encoder: lambda layer: (layer.layers[1].self_attention.key_projection, layer.layers[0].feed_forward.inner),
}
kinds = pytest.mark.parametrize("kind", MAKE)


def in_a_model(layer):
    x = keras.Input((None, 8))
    return keras.Model(x, layer(x))


def paths(variables):
    return [variable.path.partition("/")[2] for variable in variables]


@kinds
def test_frozen_from_the_constructor_on(kind, tmp_path):
    model = in_a_model(MAKE[kind](trainable=False))
    assert model.weights and not model.trainable_weights
    assert not reloaded(model, tmp_path).trainable_weights
    residual = Residual(trainable=False)
    residual.build((None, None, 8))
    assert not residual.trainable_weights and not residual.layer_norm.trainable


@kinds
def test_frozen_parts_stay_frozen(kind, tmp_path):
    layer = MAKE[kind]()
    model = in_a_model(layer)
    first, second = PART[kind](layer)
    first.trainable = False
    second.weights[0].trainable = False
    again = reloaded(model, tmp_path)
    assert len(again.trainable_weights) < len(again.weights) - 1
    assert paths(again.trainable_weights) == paths(model.trainable_weights)


@kinds
def test_parts_of_a_frozen_layer_that_are_trained(kind, tmp_path):
    layer = MAKE[kind]()
    model = in_a_model(layer)
    layer.trainable = False
    PART[kind](layer)[0].trainable = True
    layer._trainable = True  # else Keras lists nothing
    trained = paths(model.trainable_weights)
    assert trained and paths(reloaded(model, tmp_path).trainable_weights) == trained


@kinds
def test_lora_on_a_part(kind, tmp_path):
    layer = MAKE[kind]()
    model = in_a_model(layer)
    part = PART[kind](layer)[1]
    before = values(model(X))
    part.enable_lora(3, lora_alpha=6)
    np.testing.assert_array_equal(values(model(X)), before)
    part.lora_kernel_b.assign(np.random.default_rng(1).normal(size=part.lora_kernel_b.shape))
    changed = values(model(X))
    assert np.abs(changed - before).max() > 1e-3
    again = reloaded(model, tmp_path)
    np.testing.assert_allclose(values(again(X)), changed, atol=1e-5)
    assert paths(again.trainable_weights) == paths(model.trainable_weights)
    loaded = PART[kind](again.layers[-1])[1]
    assert (loaded.lora_enabled, loaded.lora_rank, loaded.lora_alpha) == (True, 3, 6)


def test_a_part_that_is_not_there_is_named():
    with pytest.raises(ValueError) as error:
        change_parts(FeedForward(5, name="ffn"), {"middle": {"trainable": False}})
    assert str(error.value) == "ffn has no part 'middle', which the file says was changed."
