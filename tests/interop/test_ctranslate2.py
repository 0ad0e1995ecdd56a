"""The names and the errors of the writer of CTranslate2 models. These tests need no ctranslate2."""

import math
import sys

import keras
import numpy as np
import pytest
import tiny

from keras_transformer import Transformer, Translator
from keras_transformer.interop import ctranslate2 as writer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def dense(layers):
    """Weight and bias of projections side by side, as (out, in) and (out,)."""
    kernels, biases = zip(*((layer.kernel.numpy().T, layer.bias.numpy()) for layer in layers), strict=True)
    return {"weight": np.vstack(kernels), "bias": np.hstack(biases)}


def norm(layer):
    return {"gamma": layer.gamma.numpy(), "beta": layer.beta.numpy()}


def expected_layer(layer, is_decoder):
    attention, feed_forward = layer.self_attention, layer.feed_forward
    groups = {
        "self_attention/linear_0": dense(
            [attention.query_projection, attention.key_projection, attention.value_projection]
        ),
        "self_attention/linear_1": dense([attention.output_projection]),
        "self_attention/layer_norm": norm(layer.self_attention_residual.layer_norm),
        "ffn/linear_0": dense([feed_forward.inner]),
        "ffn/linear_1": dense([feed_forward.outer]),
        "ffn/layer_norm": norm(layer.feed_forward_residual.layer_norm),
    }
    if is_decoder:
        attention = layer.memory_attention
        groups |= {
            "attention/linear_0": dense([attention.query_projection]),
            "attention/linear_1": dense([attention.key_projection, attention.value_projection]),
            "attention/linear_2": dense([attention.output_projection]),
            "attention/layer_norm": norm(layer.memory_attention_residual.layer_norm),
        }
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def test_every_weight_is_under_its_name():
    model = tiny.make_random(
        vocabulary_size=29,
        target_vocabulary_size=23,
        num_encoder_layers=2,
        num_decoder_layers=3,
        num_heads=3,
        d_k=7,
        d_model=10,
        d_ff=13,
        norm="pre",
        positions="learned",
        max_length=17,
        use_bias=True,
        output_bias=True,
    )
    expected = {
        "encoder/embeddings_0/weight": model.source_embedding.embeddings.numpy(),
        "decoder/embeddings/weight": model.target_embedding.embeddings.numpy(),
        "decoder/projection/weight": model.output_map.embeddings.numpy(),
        "decoder/projection/bias": model.output_bias.bias.numpy(),
        "encoder/position_encodings/encodings": model.source_positions.table.numpy(),
        "decoder/position_encodings/encodings": model.target_positions.table.numpy(),
    }
    for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        expected |= {f"{side}/layer_norm/{name}": array for name, array in norm(stack.final_norm).items()}
        for number, layer in enumerate(stack.layers):
            arrays = expected_layer(layer, side == "decoder")
            expected |= {f"{side}/layer_{number}/{name}": array for name, array in arrays.items()}
    variables = writer.spec_variables(model)
    assert variables.keys() == expected.keys()
    for name, array in expected.items():
        assert variables[name].dtype == "float32"
        np.testing.assert_array_equal(variables[name], array, err_msg=name)
    assert sum(array.size for array in variables.values()) == model.count_params()


def test_tied_matrices_are_in_each_place_that_uses_them():
    names = ["encoder/embeddings_0/weight", "decoder/embeddings/weight", "decoder/projection/weight"]
    for ties, numbers in {"all": [0, 0, 0], "target": [0, 1, 1], "none": [0, 1, 2]}.items():
        model = tiny.make_random(tie_embeddings=ties)
        matrices = [weight.numpy() for weight in model.weights if weight.path.endswith("embeddings")]
        variables = writer.spec_variables(model)
        for name, number in zip(names, numbers, strict=True):
            np.testing.assert_array_equal(variables[name], matrices[number])


def test_sinusoids_are_written_out_interleaved_and_in_float32():
    variables = writer.spec_variables(tiny.make_model(d_model=6, dtype="mixed_bfloat16"), max_length=301)
    angles = [[position / 10000 ** (2 * i / 6) for i in range(3)] for position in range(301)]
    expected = [[wave(angle) for angle in row for wave in (math.sin, math.cos)] for row in angles]
    for side in ("encoder", "decoder"):
        # The rounding error of an angle of 300 in float32 is up to 1.5e-5, and so is that of its sine.
        np.testing.assert_allclose(variables[f"{side}/position_encodings/encodings"], expected, atol=2e-5)
    assert writer.spec_variables(tiny.make_model())["encoder/position_encodings/encodings"].shape == (1024, 16)


def test_sinusoids_are_written_as_the_model_lays_them_out():
    model = tiny.make_model(positions="sinusoidal_halves", d_model=6)
    table = writer.spec_variables(model, max_length=7)["decoder/position_encodings/encodings"]
    interleaved = writer.spec_variables(tiny.make_model(d_model=6), max_length=7)[
        "decoder/position_encodings/encodings"
    ]
    np.testing.assert_array_equal(table, interleaved[:, [0, 2, 4, 1, 3, 5]])


def test_a_weight_without_a_place_is_named(monkeypatch):
    model = tiny.make_model(norm="pre")
    monkeypatch.setattr(writer, "_LAYERS", [row for row in writer._LAYERS if "final_norm" not in row[0]])
    with pytest.raises(ValueError, match="weight 'encoder/final_norm/gamma' has no place in a CTranslate2 model"):
        writer.spec_variables(model)
    monkeypatch.undo()
    monkeypatch.delitem(writer._WEIGHTS, "beta")
    with pytest.raises(ValueError, match="weight 'encoder/layer_0/self_attention_residual/layer_norm/beta' has no"):
        writer.spec_variables(model)


def test_an_option_without_a_place_is_named(monkeypatch):
    model = tiny.make_model()
    config = {**model.get_config(), "scale": 2.0}
    monkeypatch.setattr(model, "get_config", lambda: config)
    with pytest.raises(ValueError, match="option 'scale' has no place in a CTranslate2 model"):
        writer.spec_variables(model)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"quantization": "int4"}, r"quantization='int4' is unknown. It is None or one of \('int8', "),
        ({}, {"max_length": 0}, "max_length must be a whole number of at least 1, got 0"),
        ({"positions": "learned", "max_length": 31}, {"max_length": 7}, "max_length=7 is .* has 31 learned positions"),
        ({"vocabulary_size": 23}, {}, "tokenizer has 25 pieces, the model's vocabulary_size is 23"),
        ({"activation": "softplus"}, {}, "does not have activation='softplus'. It has relu, gelu, silu"),
        ({"d_k": 5, "d_v": 3}, {}, "d_k=5 and d_v=3 differ"),
        ({"d_v": 3}, {}, "d_k=8 and d_v=3 differ"),
        ({"window": 5}, {}, "^window=5 has no place in a CTranslate2 model, where self-attention sees all positions.$"),
    ],
)
def test_a_model_that_cannot_be_written_is_refused(tokenizer, tmp_path, changes, options, message):
    with pytest.raises(ValueError, match=message):
        writer.save(tiny.make_model(**changes), tokenizer, tmp_path / "ct2", **options)
    assert list(tmp_path.iterdir()) == []


class Tanh(Transformer):
    def call(self, inputs, training=None):
        return keras.ops.tanh(super().call(inputs, training=training))


def test_an_own_method_has_no_place(tokenizer, tmp_path):
    model = Tanh.from_config(tiny.make_model().get_config())
    with pytest.raises(ValueError, match=r"the own call of Tanh \(transformer\) has no place in a CTranslate2 model"):
        writer.save(model, tokenizer, tmp_path / "ct2")


def test_wrong_arguments_are_named(tokenizer, tmp_path):
    model, order = tiny.make_model(), r"The order is save\(model, tokenizer, folder\)"
    with pytest.raises(TypeError, match=rf"model must be a Transformer, got .*Give translator\.model\. {order}"):
        writer.save(Translator(model, tokenizer), tokenizer, tmp_path / "ct2")
    with pytest.raises(TypeError, match=f"tokenizer must be a Tokenizer, got <Transformer.*{order}"):
        writer.save(model, model, tmp_path / "ct2")
    model.output_map.embeddings.assign(model.output_map.embeddings * np.inf)
    with pytest.raises(ValueError, match="the model's weight 'token_embedding/embeddings' holds numbers that are not"):
        writer.save(model, tokenizer, tmp_path / "ct2")
    assert list(tmp_path.iterdir()) == []


def test_lora_is_added_to_its_kernel():
    model = tiny.make_model()
    inner = model.encoder.layers[0].feed_forward.inner
    inner.enable_lora(2)
    inner.lora_kernel_b.assign(np.ones(inner.lora_kernel_b.shape))
    variables = writer.spec_variables(model)
    np.testing.assert_array_equal(variables["encoder/layer_0/ffn/linear_0/weight"], inner.kernel.numpy().T)


def test_a_training_folder_is_not_replaced(tokenizer, tmp_path):
    (tmp_path / "model.keras").write_text("precious")
    with pytest.raises(FileExistsError, match=r"also holds model\.keras, which would be lost"):
        writer.save(tiny.make_model(), tokenizer, tmp_path, overwrite=True)
    assert (tmp_path / "model.keras").read_text() == "precious"


def test_without_the_package_the_error_names_the_extra(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-transformer-translation\[interop\]'"):
        writer.save(tiny.make_model(), tokenizer, tmp_path / "ct2")
    assert list(tmp_path.iterdir()) == []
