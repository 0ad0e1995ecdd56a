"""Keras' own harness over every public layer: configuration, files, build, symbolic shapes, a step, mixed precision."""

import keras_harness
import numpy as np
import pytest
from keras import ops

from keras_transformer import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PositionalEncoding,
    TokenEmbedding,
)

X, MEMORY = (2, 5, 12), (2, 7, 12)
LAYER = {"num_heads": 3, "d_ff": 8}
PAIR = {"x_shape": X, "memory_shape": MEMORY}
# class, arguments, shapes of the inputs, trainable weights, seeds
CONFIGURATIONS = [
    (MultiHeadAttention, {"num_heads": 3}, X, 4, 0),
    (MultiHeadAttention, {"num_heads": 3, "d_k": 5, "d_v": 2, "use_bias": True}, X, 8, 0),
    (MultiHeadAttention, {"num_heads": 2, "dropout": 0.1}, {"query_shape": X, "memory_shape": MEMORY}, 4, 1),
    (MultiHeadAttention, {"num_heads": 2, "initial_gain": 0.5}, {"query_shape": X, "memory_shape": (2, 7, 9)}, 4, 0),
    (MultiHeadAttention, {"num_heads": 3, "window": 3, "causal": True}, X, 4, 0),
    (FeedForward, {"d_ff": 7}, X, 4, 0),
    (FeedForward, {"d_ff": 7, "activation": "gelu", "dropout": 0.2}, X, 4, 1),
    (FeedForward, {"d_ff": 7, "activation": "silu", "initial_gain": 0.5}, X, 4, 0),
    (TokenEmbedding, {"vocabulary_size": 11, "d_model": 6}, (2, 5), 1, 0),
    (TokenEmbedding, {"vocabulary_size": 11, "d_model": 6, "scale": False}, (2, 5), 1, 0),
    (PositionalEncoding, {}, X, 0, 0),
    (PositionalEncoding, {"kind": "sinusoidal_halves"}, (2, 5, 7), 0, 0),
    (PositionalEncoding, {"kind": "learned", "max_length": 6}, X, 1, 0),
    (EncoderLayer, LAYER, X, 12, 2),
    (EncoderLayer, {**LAYER, "norm": "pre", "activation": "gelu"}, X, 12, 2),
    (EncoderLayer, {**LAYER, "d_k": 5, "d_v": 2, "use_bias": True}, X, 16, 2),
    (EncoderLayer, {**LAYER, "attention_dropout": 0.1, "activation_dropout": 0.1, "dropout": 0.0}, X, 12, 2),
    (DecoderLayer, LAYER, PAIR, 18, 3),
    (DecoderLayer, {**LAYER, "norm": "pre", "use_bias": True}, PAIR, 26, 3),
    (DecoderLayer, {**LAYER, "d_k": 5, "layer_norm_epsilon": 1e-3}, PAIR, 18, 3),
    (DecoderLayer, {**LAYER, "attention_dropout": 0.1, "activation": "tanh"}, PAIR, 18, 5),
    (Encoder, {"num_layers": 1, **LAYER}, X, 12, 2),
    (Encoder, {"num_layers": 2, **LAYER, "norm": "pre"}, X, 26, 4),
    (Encoder, {"num_layers": 2, **LAYER, "dropout": 0.5, "use_bias": True}, X, 32, 4),
    (Encoder, {"num_layers": 1, **LAYER, "initial_gain": 0.3}, X, 12, 2),
    (Encoder, {"num_layers": 1, **LAYER, "window": 3}, X, 12, 2),
    (Decoder, {"num_layers": 1, **LAYER}, PAIR, 18, 3),
    (Decoder, {"num_layers": 2, **LAYER, "norm": "pre"}, PAIR, 38, 6),
    (Decoder, {"num_layers": 1, **LAYER, "window": 3}, PAIR, 18, 3),
    (Decoder, {"num_layers": 1, **LAYER, "d_v": 5, "activation_dropout": 0.1}, PAIR, 18, 4),
]
STEPS = {MultiHeadAttention, FeedForward, EncoderLayer}  # `layer_contract` takes a step with each layer
ids = [f"{kind.__name__}-{number}" for number, (kind, *_) in enumerate(CONFIGURATIONS)]


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # by the harness itself
@pytest.mark.parametrize(("kind", "arguments", "shapes", "weights", "seeds"), CONFIGURATIONS, ids=ids)
def test_keras_own_test_of_layers(kind, arguments, shapes, weights, seeds):
    first_of_its_class = next(each for each in CONFIGURATIONS if each[0] is kind)[1] is arguments
    inputs = {"input_shape": shapes}
    if kind is TokenEmbedding:
        inputs = {"input_data": np.arange(10).reshape(shapes) % 11}
    shape = shapes if isinstance(shapes, tuple) else next(iter(shapes.values()))
    with keras_harness.keras_test_case() as case:
        case.run_layer_test(
            kind,
            init_kwargs=arguments,
            **inputs,
            expected_output_shape=(*shape, 6) if kind is TokenEmbedding else shape,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=seeds,
            expected_num_losses=0,
            supports_masking=True,
            run_training_check=kind in STEPS and first_of_its_class,  # XLA compiles it, which takes seconds
        )


@pytest.mark.parametrize("kind", sorted({each[0] for each in CONFIGURATIONS}, key=lambda kind: kind.__name__))
def test_keras_hubs_own_tests_of_layers(kind):
    arguments, shapes = next(each[1:3] for each in CONFIGURATIONS if each[0] is kind)
    inputs = ops.ones(X)
    if kind is TokenEmbedding:
        inputs = ops.ones(shapes, "int32")
    elif kind in (DecoderLayer, Decoder):
        inputs = {"x": inputs, "memory": ops.ones(MEMORY)}
    with keras_harness.hub_test_case() as case:
        case.run_serialization_test(kind(**arguments))
        case.run_precision_test(kind, arguments, inputs)
