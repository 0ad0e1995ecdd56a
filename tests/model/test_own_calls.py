"""One rule of extension: a `call` that a subclass overrides is used in training, evaluation and attention weights."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import values

from keras_transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, LabelSmoothedCrossEntropy, Transformer
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.layers.feed_forward import FeedForward

pytestmark = pytest.mark.core

BATCH = {"source": np.array([[5, 6, 3, 0], [7, 8, 9, 3]], "int32"), "target": np.array([[2, 5, 6], [2, 9, 0]], "int32")}
LABELS = np.array([[5, 6, 3], [9, 3, 0]], "int32")
SIZES = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 8, "num_heads": 2, "d_ff": 5, "dropout": 0.0}


class ScaledLayer(EncoderLayer):
    def __init__(self, factor=3.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x, mask=None, training=None):
        return self.factor * super().call(x, mask=mask, training=training)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class ScaledEncoder(Encoder):
    layer_class = ScaledLayer


class Scaled(Transformer):
    encoder_class = ScaledEncoder


class PunishedLayer(DecoderLayer):
    def call(self, x, memory, x_mask=None, memory_mask=None, training=None):
        y = super().call(x, memory, x_mask, memory_mask, training)
        self.add_loss(0.5 * ops.mean(y**2))
        return y


class PunishedDecoder(Decoder):
    layer_class = PunishedLayer


class Punished(Transformer):
    decoder_class = PunishedDecoder


class Capped(Transformer):
    def call(self, inputs, training=None, mask=None):
        logits = super().call(inputs, training=training, mask=mask)
        self.add_loss(0.25 * ops.mean(logits**2))
        return 2 * ops.tanh(logits / 2)


class Halved(Transformer):
    def encode(self, source):
        return 0.5 * super().encode(source)


class Doubled(Transformer):
    def decoder_vectors(self, inputs, training=None):
        return 2.0 * super().decoder_vectors(inputs, training)


def regularized(**options):
    model = Transformer(**options)
    parts = model.encoder.layers[0].self_attention, model.decoder.layers[0].feed_forward.inner, model.target_embedding
    for part in parts:
        part.activity_regularizer = keras.regularizers.L2(0.01)
    return model


def make(kind):
    keras.utils.set_random_seed(1)
    return kind(vocabulary_size=11, **SIZES)


def losses(kind, **options):
    """The loss that `fit` logs at a rate of 0, and that of `evaluate`."""
    model = make(kind)
    model.compile(keras.optimizers.SGD(0.0), LabelSmoothedCrossEntropy(0.1), **options)
    fitted = model.fit(BATCH, LABELS, batch_size=2, verbose=0).history["loss"][0]
    return fitted, model.evaluate(BATCH, LABELS, batch_size=2, verbose=0)


@pytest.mark.trains
@pytest.mark.parametrize("kind", [Scaled, Punished, Capped, regularized])
def test_fit_and_evaluate_use_it(kind):
    """The reference is the model's call: logits, Keras' own loss of them, and the losses that the call has added."""
    model = make(kind)
    logits = model(BATCH)
    reference = float(LabelSmoothedCrossEntropy(0.1)(LABELS, logits)) + sum(map(float, model.losses))
    np.testing.assert_allclose(losses(kind), reference, rtol=1e-5)
    plain = make(Transformer)
    assert abs(float(LabelSmoothedCrossEntropy(0.1)(LABELS, plain(BATCH))) - reference) > 1e-2


@pytest.mark.trains
def test_methods_that_the_call_does_not_use_change_no_loss():
    np.testing.assert_allclose(losses(Doubled), losses(Transformer), rtol=1e-6)


@pytest.mark.trains
@pytest.mark.parametrize("kind", [Punished, Capped])
def test_micro_batches_would_count_additional_losses_several_times(kind):
    message = "accumulate_steps=2 cannot be combined with regularizers and add_loss: they would count 2 times."
    with pytest.raises(ValueError) as error:
        losses(kind, accumulate_steps=2)
    assert message in str(error.value)


def test_options_of_an_own_layer_are_kept():
    encoder = ScaledEncoder(2, num_heads=2, d_ff=5, factor=1.5)
    config = encoder.get_config()
    again = ScaledEncoder.from_config(config)
    assert config["factor"] == 1.5 and [layer.factor for layer in again.layers] == [1.5, 1.5]
    assert again.get_config() == config


@pytest.mark.parametrize("kind", [Scaled, Capped, regularized])
def test_attention_weights_and_their_logits_are_those_of_the_call(kind):
    model = make(kind)
    logits, weights = model.call_with_weights(BATCH["source"], BATCH["target"])
    np.testing.assert_allclose(values(logits), values(model(BATCH)), atol=1e-6)
    plain = make(Transformer).attention_weights(BATCH["source"], BATCH["target"])
    assert {name: w.shape for name, w in weights.items()} == {name: w.shape for name, w in plain.items()}
    assert (np.abs(values(weights["cross"] - plain["cross"])).max() > 1e-4) == (kind is Scaled)


class HalfFeedForward(FeedForward):
    def call(self, x, training=None):
        return super().call(x, training=training) / 2


class ConnectedLayer(DecoderLayer):
    feed_forward_class = HalfFeedForward

    def connect(self, *arguments, **options):
        return 2 * super().connect(*arguments, **options)


class ConnectedDecoder(Decoder):
    layer_class = ConnectedLayer


class Connected(Scaled):
    decoder_class = ConnectedDecoder


def test_cached_decoding_follows_what_it_can():
    model = make(Connected)
    whole, decoder = values(model(BATCH)), IncrementalDecoder(model)
    state = decoder.start(model.encode(BATCH["source"]), ops.convert_to_tensor(BATCH["source"]), 3)
    for t in range(3):
        logits, state = decoder.step(ops.convert_to_tensor(BATCH["target"][:, t : t + 1]), state)
        np.testing.assert_allclose(values(logits)[:, 0], whole[:, t], atol=5e-6)
    assert np.abs(whole - values(make(Scaled)(BATCH))).max() > 1e-2


REMEDY = (
    " Override DecoderLayer.connect, Residual.enter and leave, the call of FeedForward, or layers of the encoder: "
    "training and cached decoding both use them."
)


def own_attend(model):
    model.decoder.layers[0].memory_attention.attend = lambda *arguments: None


def own_lookup(model):
    class Own(type(model.target_positions)):
        def call(self, x):
            return x

    model.target_positions.__class__ = Own


def foreign_attention(model):
    object.__setattr__(model.decoder.layers[0], "self_attention", keras.layers.MultiHeadAttention(2, 4, name="foreign"))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Capped, None, "cannot follow the own call of Capped (transformer)."),
        (Halved, None, "cannot follow the own encode of Halved (transformer)."),
        (Doubled, None, "cannot follow the own decoder_vectors of Doubled (transformer)."),
        (Punished, None, "cannot follow the own call of PunishedLayer (decoder/layer_0)."),
        (
            Transformer,
            own_attend,
            "cannot follow the own attend of MultiHeadAttention (decoder/layer_0/memory_attention).",
        ),
        (Transformer, own_lookup, "cannot follow the own call of Own (target_positions)."),
        (
            Transformer,
            foreign_attention,
            "needs the MultiHeadAttention of keras_transformer as decoder/layer_0/foreign, got "
            f"{keras.layers.MultiHeadAttention.__module__}.MultiHeadAttention.",
        ),
    ],
)
def test_cached_decoding_refuses_the_rest(kind, change, message):
    model = make(kind)
    if change is not None:
        change(model)
    with pytest.raises(ValueError) as error:
        IncrementalDecoder(model)
    assert str(error.value) == f"cached decoding {message}{REMEDY}"
