"""The errors of marian.load, and their messages."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from layer_contract import values

from keras_transformer.interop import marian

safetensors = pytest.importorskip("safetensors.numpy", reason="pip install -e '.[interop]' for safetensors")

FOLDER = Path(__file__).parents[1] / "support" / "recorded_marian"
SHARED = "model.shared.weight"


@pytest.fixture
def folder(tmp_path):
    """A copy of the recorded folder that a test may damage."""
    return Path(shutil.copytree(FOLDER, tmp_path / "folder"))


def change_json(path, **changes):
    """Set keys of a JSON object; None removes one."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


def change_tensors(folder, **changes):
    """Set tensors, by names with "__" for a dot; None removes one."""
    changes = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    tensors = {**safetensors.load_file(folder / "model.safetensors"), **changes}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    safetensors.save_file(tensors, folder / "model.safetensors")


def tensor(name):
    return safetensors.load_file(FOLDER / "model.safetensors")[name]


def refused(folder, words, error=ValueError):
    with pytest.raises(error, match=words):
        marian.load(folder)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_type": "bart"}, "model_type='bart' is not supported, only 'marian'"),
        ({"normalize_before": True}, "normalize_before=True is not supported, only False"),
        ({"normalize_embedding": True}, "normalize_embedding=True is not supported"),
        ({"add_final_layer_norm": True}, "add_final_layer_norm=True is not supported"),
        ({"static_position_embeddings": False}, "static_position_embeddings=False is not supported, only True"),
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings=False is not supported"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        ({"encoder_layerdrop": 0.1}, "encoder_layerdrop=0.1 is not supported, only 0"),
        (
            {"activation_function": "gelu_new"},
            "activation_function='gelu_new' is not supported, only swish, silu",
        ),
        ({"activation_function": ["swish"]}, r"activation_function=\['swish'\] is not supported, only swish, silu"),
        ({"dropout": "a"}, "dropout must be a number of at least 0 and below 1, got 'a'"),
        ({"dropout": 1.0}, r"dropout must be a number of at least 0 and below 1, got 1\.0"),
        ({"attention_dropout": float("nan")}, "attention_dropout must be a number .*, got nan"),
        ({"activation_dropout": True}, "activation_dropout must be a number .*, got True"),
        (
            {"encoder_attention_heads": 5, "decoder_attention_heads": 5},
            "d_model=24 must be a multiple of encoder_attention_heads=5",
        ),
        ({"scale_embedding": "yes"}, "scale_embedding must be true or false, got 'yes'"),
        ({"scale_embedding": None}, "scale_embedding must be true or false, got None"),
        ({"d_model": None}, "d_model must be a whole number of at least 1, got None"),
        ({"encoder_layers": 0}, "encoder_layers must be a whole number of at least 1, got 0"),
        ({"eos_token_id": [0, 1]}, r"eos_token_id must be a whole number of at least 0, got \[0, 1\]"),
        ({"decoder_attention_heads": 2}, "decoder_attention_heads=2 must equal encoder_attention_heads=3"),
        ({"decoder_vocab_size": 7}, "decoder_vocab_size=7 must equal vocab_size=105"),
        ({"decoder_start_token_id": 0}, "decoder_start_token_id=0 must equal pad_token_id=104"),
        ({"decoder_start_token_id": 1}, "decoder_start_token_id=1 must equal .*, or be the id of a piece of its own"),
        ({"decoder_start_token_id": 105}, "decoder_start_token_id=105 must equal .*, or be the id of a piece of its"),
    ],
)
def test_a_configuration_that_is_not_supported(folder, changes, words):
    change_json(folder / "config.json", **changes)
    refused(folder, f"config.json: {words}")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"new": 105}, "its 106 pieces must have the ids from 0 to 104, one each"),
        ({"中": 5}, "its 105 pieces must have the ids from 0 to 104, one each"),
        ({"中": "5"}, "its 105 pieces must have the ids from 0 to 104, one each"),
        ({"</s>": 1, "<unk>": 0}, "'</s>' has id 1, config.json's eos_token_id is 0"),
        ({"<pad>": 103, "中": 104}, "'<pad>' has id 103, config.json's pad_token_id is 104"),
        ({"<unk>": None, "unk": 1}, "has no piece '<unk>'"),
    ],
)
def test_a_vocabulary_that_does_not_fit(folder, changes, words):
    change_json(folder / "vocab.json", **changes)
    refused(folder, rf"vocab\.json:? {words}")


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "source.spm", "target.spm"])
def test_missing_files(folder, name):
    (folder / name).unlink()
    refused(folder, f"{name} is missing. Needed are config.json, vocab.json", FileNotFoundError)


def test_missing_weights(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "holds neither model.safetensors nor pytorch_model.bin", FileNotFoundError)


def test_broken_files(folder):
    (folder / "model.safetensors").write_bytes(b"nothing")
    refused(folder, "model.safetensors is not a safetensors file, or it is damaged")
    (folder / "target.spm").write_bytes(b"nothing")
    refused(folder, r"folder: target\.spm is not a SentencePiece model, or it is damaged")
    (folder / "source.spm").write_bytes(b"")
    refused(folder, r"folder: source\.spm is not a SentencePiece model, or it is damaged")
    (folder / "vocab.json").write_text("[1, 2]")
    refused(folder, "vocab.json must hold a JSON object, got list")
    (folder / "config.json").write_text("{")
    refused(folder, "config.json is not JSON")


LAYER = "model__encoder__layers__1__"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({f"{LAYER}fc1__weight": None}, r"lacks tensors that .* for: model\.encoder\.layers\.1\.fc1\.weight\.$"),
        (
            {"model__encoder__layers__2__fc1__bias": np.zeros(29, "float32")},
            r"holds tensors that belong to no part of the model: model\.encoder\.layers\.2\.fc1\.bias\.$",
        ),
        ({f"{LAYER}fc1__weight": np.zeros((24, 29), "float32")}, r"fc1\.weight has shape \(24, 29\); .* \(29, 24\)"),
        ({f"{LAYER}fc1__bias": np.zeros((24,), "float32")}, r"fc1\.bias has shape \(24,\); .* \(29,\)"),
        ({f"{LAYER}fc1__bias": np.full(29, np.nan, "float32")}, r"fc1\.bias holds numbers that are not finite"),
        ({"model__shared__weight": np.full((105, 24), np.inf, "float32")}, f"{SHARED} holds numbers that are not"),
        ({"model__shared__weight": None}, f"has no tensor {SHARED}"),
        ({"final_logits_bias": None}, "has no tensor final_logits_bias"),
        ({"final_logits_bias": np.zeros((1, 9), "float32")}, r"final_logits_bias has shape \(1, 9\); .* \(1, 105\)"),
        ({"model__shared__weight": np.zeros((105, 8), "float32")}, r"weight has shape \(105, 8\); .* \(105, 24\)"),
        ({"lm_head__weight": np.zeros((105, 24), "float32")}, f"lm_head.weight is not a copy of {SHARED}"),
        (
            {"model__decoder__embed_positions__weight": np.zeros((9, 24), "float32")},
            "embed_positions.weight are not Marian's sinusoids. Learned positions are not supported",
        ),
    ],
)
def test_tensors_that_do_not_fit(folder, changes, words):
    change_tensors(folder, **changes)
    refused(folder, f"model.safetensors.*{words}")


def test_copies_in_older_files_are_checked_and_left_out(folder):
    """Files of older versions of transformers hold the sinusoids, and up to four copies of the shared matrix."""
    expected = [values(weight) for weight in marian.load(FOLDER)[0].weights]
    exponents = 10000.0 ** (np.arange(12) / 12)
    angles = np.arange(7)[:, None] / exponents
    sinusoids = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype("float32")
    names = ("lm_head__weight", "model__encoder__embed_tokens__weight", "model__decoder__embed_tokens__weight")
    copies = {name: tensor(SHARED) for name in names}
    change_tensors(folder, model__shared__weight=None, model__encoder__embed_positions__weight=sinusoids, **copies)
    for weight, other in zip(marian.load(folder)[0].weights, expected, strict=True):
        np.testing.assert_array_equal(values(weight), other)


def test_half_precision_files(folder):
    half = {name: t.astype("float16") for name, t in safetensors.load_file(FOLDER / "model.safetensors").items()}
    safetensors.save_file(half, folder / "model.safetensors")
    model = marian.load(folder)[0]
    assert {weight.dtype for weight in model.weights} == {"float32"}
    kernel = values(model.encoder.layers[1].feed_forward.inner.kernel)
    np.testing.assert_array_equal(kernel.T, half["model.encoder.layers.1.fc1.weight"])


def test_a_package_that_is_not_installed_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused(
        folder,
        r"model.safetensors needs safetensors: pip install 'keras-transformer-translation\[interop\]'",
        ImportError,
    )
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin needs torch: pip install torch", ImportError)
