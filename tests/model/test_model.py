"""The whole model: its counts of weights, its formula in NumPy, decoding, saving, presets and learning."""

import json

import keras
import numpy as np
import pytest
import reference
from keras import ops
from layer_contract import reloaded, values

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, Transformer, TransformerSchedule
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.presets import PRESETS

pytestmark = pytest.mark.core

V = 23
SOURCE = np.array([[5, 6, 7, 22, 3], [9, 8, 3, 0, 0]], "int32")
TARGET = np.array([[2, 7, 5, 9], [2, 11, 4, 0]], "int32")
TINY = {
    "vocabulary_size": V,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "d_model": 12,
    "num_heads": 3,
    "d_ff": 17,
    "d_k": 5,
    "d_v": 2,
}
MARIANS = {"positions": "sinusoidal_halves", "output_bias": True, "use_bias": True, "activation": "silu"}


def tiny(**changes):
    return Transformer(**{**TINY, **changes})


def logits(model, source=SOURCE, target=TARGET):
    return values(model({"source": source, "target": target}))


def per_layer_counts(model):
    return model.encoder.count_params() + model.decoder.count_params()


once = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the numbers of weights need no backend")


@once
def test_base_has_the_papers_parameters():
    model = Transformer(vocabulary_size=11)
    assert per_layer_counts(model) == 44_101_632
    assert model.count_params() == 44_101_632 + 11 * 512


def parameters(n, d, d_ff, d_k, d_v, h):
    """The count by the paper's description: an encoder and a decoder layer have 3 attentions, 2 FFNs and 5 norms."""
    attention = d * h * d_k * 2 + d * h * d_v + h * d_v * d
    return n * (3 * attention + 2 * (2 * d * d_ff + d_ff + d) + 5 * 2 * d)


@once
@pytest.mark.parametrize(
    "changes, millions",
    [
        ({"d_k": 16, "d_v": 64}, 58),
        ({"d_k": 32, "d_v": 64}, 60),
        ({"num_encoder_layers": 2, "num_decoder_layers": 2}, 36),
        ({"d_ff": 1024}, 53),
    ],
)
def test_table_3_counts(changes, millions):
    model = Transformer(vocabulary_size=11, **changes)
    n = changes.get("num_encoder_layers", 6)
    count = parameters(n, 512, changes.get("d_ff", 2048), changes.get("d_k", 64), 64, 8)
    assert per_layer_counts(model) == count
    assert round((count + 41_100 * 512) / 1e6) == millions


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_equals_the_formula(norm):
    model = tiny(norm=norm)
    generator = np.random.default_rng(3)
    model.set_weights([w + generator.normal(size=w.shape, scale=0.1).astype("float32") for w in model.get_weights()])
    expected = reference.transformer(model, SOURCE, TARGET)
    np.testing.assert_allclose(logits(model), expected, atol=3e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"norm": "pre"}, {"positions": "learned", "max_length": 9}, {"tie_embeddings": "none"}, MARIANS],
    ids=["paper", "pre", "learned", "untied", "marians"],
)
@pytest.mark.parametrize("width", [1, 3])
def test_steps_equal_the_whole(changes, width):
    model = tiny(**changes)
    if model.output_bias is not None:
        model.output_bias.set_weights([np.arange(V, dtype="float32") / 7])
    rows = np.repeat([0, 1], width)
    generator = np.random.default_rng(1)
    target = generator.integers(4, V, (2 * width, 4)).astype("int32")
    whole = logits(model, SOURCE[rows], target)
    decoder = IncrementalDecoder(model)
    state = decoder.start(model.encode(SOURCE), ops.convert_to_tensor(SOURCE), 5, num_hypotheses=width)
    for t in range(4):
        step_logits, state = decoder.step(ops.convert_to_tensor(target[:, t].reshape(2, width)), state)
        np.testing.assert_allclose(values(step_logits).reshape(-1, V), whole[:, t], atol=5e-6)


def test_reordered_hypotheses_continue_from_their_new_past():
    model = tiny()
    generator = np.random.default_rng(1)
    first = generator.integers(4, V, (4, 2)).astype("int32")
    then = generator.integers(4, V, (4, 1)).astype("int32")
    parents = np.array([[1, 1], [1, 0]], "int32")
    decoder = IncrementalDecoder(model)
    state = decoder.start(model.encode(SOURCE), ops.convert_to_tensor(SOURCE), 3, num_hypotheses=2)
    for t in range(2):
        _, state = decoder.step(ops.convert_to_tensor(first[:, t].reshape(2, 2)), state)
    state = decoder.reorder(state, ops.convert_to_tensor(parents))
    step_logits, _ = decoder.step(ops.convert_to_tensor(then.reshape(2, 2)), state)
    whole = logits(model, SOURCE[[0, 0, 1, 1]], np.concatenate([first[[1, 1, 3, 2]], then], axis=1))
    np.testing.assert_allclose(values(step_logits).reshape(4, V), whole[:, 2], atol=5e-6)


def test_the_output_bias_is_added_to_the_logits():
    model, plain = tiny(output_bias=True), tiny()
    bias = np.arange(V, dtype="float32") / 7
    plain.set_weights([w for w in model.get_weights() if w.shape != (V,)])
    np.testing.assert_array_equal(logits(model), logits(plain))
    model.output_bias.set_weights([bias])
    np.testing.assert_allclose(logits(model), logits(plain) + bias, atol=1e-6)


def test_scale_embeddings_multiplies_by_the_root_of_d_model():
    """A model without the factor, whose embeddings are √d_model times as large, gives the same logits."""
    model, plain = tiny(tie_embeddings="none"), tiny(tie_embeddings="none", scale_embeddings=False)
    plain.set_weights(model.get_weights())
    for layer in (plain.source_embedding, plain.target_embedding):
        layer.set_weights([w * np.float32(12**0.5) for w in layer.get_weights()])
    np.testing.assert_allclose(logits(plain), logits(model), atol=5e-6)


@keras.saving.register_keras_serializable("test_model")
def squared(x):
    return ops.square(ops.relu(x))


@pytest.mark.parametrize(("activation", "name"), [(keras.activations.gelu, "gelu"), (squared, "test_model>squared")])
def test_an_activation_may_be_a_function(activation, name):
    model = tiny(activation=activation)
    config = json.loads(json.dumps(model.get_config()))  # a file holds the config as JSON
    assert name in json.dumps(config["activation"])
    again = type(model).from_config(config)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(logits(again), logits(model))


def test_an_activation_that_is_not_registered_runs():
    def half(x):
        return ops.relu(x) / 2

    relu, halved = tiny(), tiny(activation=half)
    halved.set_weights(relu.get_weights())
    for stack in (halved.encoder, halved.decoder):
        for layer in stack.layers:
            kernel = layer.feed_forward.outer.kernel
            kernel.assign(kernel * 2)
    np.testing.assert_allclose(logits(halved), logits(relu), atol=5e-6)


def test_padding_changes_nothing():
    model = tiny()
    alone = logits(model, SOURCE[1:, :3], TARGET[1:, :3])
    np.testing.assert_allclose(logits(model)[1:, :3], alone, atol=5e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": "mixed_bfloat16"},
        {"tie_embeddings": "none", "target_vocabulary_size": 19, "norm": "pre", "activation": "gelu", "use_bias": True},
        {"tie_embeddings": "target", "positions": "learned", "max_length": 8},
        {**MARIANS, "scale_embeddings": False, "tie_embeddings": "none", "target_vocabulary_size": 19},
        {**MARIANS, "dtype": "mixed_float16"},
    ],
)
def test_saved_and_loaded(changes, tmp_path):
    model = tiny(**changes)
    target = TARGET % 19
    again = reloaded(model, tmp_path)
    assert again.get_config() == model.get_config()
    assert len(again.weights) == len(model.weights)
    np.testing.assert_array_equal(logits(again, target=target), logits(model, target=target))


def test_config_is_the_constructors_arguments():
    config = tiny(dropout=0.3).get_config()
    assert {name: config[name] for name in TINY} == TINY
    assert config["dropout"] == 0.3
    assert Transformer.from_config(config).get_config() == config


def test_ties_share_one_matrix():
    embeddings = [
        {id(m.source_embedding), id(m.target_embedding), id(m.output_map)} for m in map(tie, ("all", "target", "none"))
    ]
    assert [len(layers) for layers in embeddings] == [1, 2, 3]


def tie(how):
    return tiny(tie_embeddings=how)


def test_attention_weights_are_those_of_the_model():
    model = tiny()
    weights = {name: values(w) for name, w in model.attention_weights(SOURCE, TARGET).items()}
    assert {name: w.shape for name, w in weights.items()} == {
        "encoder": (2, 2, 3, 5, 5),
        "decoder": (3, 2, 3, 4, 4),
        "cross": (3, 2, 3, 4, 5),
    }
    for w in weights.values():
        np.testing.assert_allclose(w.sum(-1), np.ones(w.shape[:-1]), rtol=1e-5)
    assert weights["cross"][:, 1, :, :, 3:].max() == 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_logits(policy):
    model = tiny(dtype=policy)
    exact = tiny()
    exact.set_weights(model.get_weights())
    result = model({"source": SOURCE, "target": TARGET})
    assert keras.backend.standardize_dtype(result.dtype) == model.output.dtype == "float32"
    np.testing.assert_allclose(values(result), logits(exact), atol=0.15)


@pytest.mark.trains
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns(policy):
    model = tiny(dtype=policy, dropout=0.1)
    model.compile(keras.optimizers.Adam(0.01), loss=LabelSmoothedCrossEntropy(0.1))
    losses = model.fit({"source": SOURCE, "target": TARGET}, TARGET, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 0.5
    assert all(keras.backend.standardize_dtype(weight.dtype) == "float32" for weight in model.trainable_weights)


@pytest.mark.parametrize("side", ["source", "target"])
def test_dropout_on_the_embeddings(side):
    """Section 5.4: dropout also acts on the sums of embedding and position. All other dropout is off here."""
    model = tiny(dropout=0.5)
    assert model.source_dropout.rate == model.target_dropout.rate == 0.5
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout) and layer.name != f"{side}_dropout":
            layer.rate = 0.0
    dropped = values(model({"source": SOURCE, "target": TARGET}, training=True))
    getattr(model, f"{side}_dropout").rate = 0.0
    expected = values(model({"source": SOURCE, "target": TARGET}, training=True))
    assert abs(dropped - expected).max() > 0.01
    np.testing.assert_allclose(expected, logits(model), atol=1e-6)  # in training, a normalization adds in another order


def test_summary_names_the_parts(capsys):
    tiny().summary(line_length=120)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("token_embedding", "source_positions", "encoder", "decoder"))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_build(name):
    model = Transformer.from_preset(name, vocabulary_size=11, num_encoder_layers=1, num_decoder_layers=1)
    config = model.get_config()
    assert all(config[key] == value for key, value in PRESETS[name].items() if not key.startswith("num_"))


def test_the_published_tiny_model():
    """Wu et al. 2021 report about 2.6M parameters for a joint vocabulary of 10K merges."""
    assert round(Transformer.from_preset("multi30k_tiny", vocabulary_size=10_000).count_params() / 1e6, 1) == 2.6


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: Transformer.from_preset("base", vocabulary_size=5),
            r"unknown preset 'base'\. Did you mean 'paper_base'\? Known presets: multi30k_small",
        ),
        (lambda: tiny(tie_embeddings="some"), "tie_embeddings must be one of"),
        (lambda: tiny(target_vocabulary_size=7), "needs one vocabulary"),
        (lambda: tiny(positions="learned"), "learned positions need max_length"),
        (lambda: tiny(num_heads=5, d_k=None), "num_heads=5 does not divide d_model=12"),
    ],
)
def test_wrong_options_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_mistyped_argument_is_refused():
    with pytest.raises(TypeError, match="droput"):
        tiny(droput=0.3)


@pytest.mark.trains
def test_it_learns_to_copy_a_batch():
    model = tiny(dropout=0.0, num_decoder_layers=2)
    model.compile(
        keras.optimizers.Adam(TransformerSchedule.with_peak(5e-3, 12, warmup_steps=20), beta_2=0.98, epsilon=1e-9),
        loss=LabelSmoothedCrossEntropy(0.0),
        metrics=[MaskedAccuracy(), Perplexity()],
    )
    source = np.random.default_rng(0).integers(4, V, (8, 5)).astype("int32")
    target = np.concatenate([np.full((8, 1), 2), source[:, :-1]], axis=1)
    many = [np.tile(ids, (149, 1)) for ids in (source, target)]  # an epoch takes longer than its update
    model.fit(dict(zip(("source", "target"), many, strict=True)), many[0], batch_size=8, shuffle=False, verbose=0)
    history = model.fit({"source": source, "target": target}, source, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] == 1.0
    assert history["perplexity"][-1] < 1.5
