"""Marian models as Hugging Face keeps them, the OPUS-MT ones among them: a folder in, a model and a tokenizer out."""

import json
from pathlib import Path

import numpy as np

from keras_transformer.ids import NUM_RESERVED, PAD, START
from keras_transformer.interop.mapping import assign, linear, norm
from keras_transformer.interop.tensors import read_tensors, weights_file
from keras_transformer.model import Transformer
from keras_transformer.text.marian_subwords import pack
from keras_transformer.text.tokenizer import Tokenizer

ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}
# What a configuration must say of the things that vary between models of this family but that no Marian has.
FIXED = {
    "model_type": "marian",
    "is_encoder_decoder": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "static_position_embeddings": True,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "encoder_layerdrop": 0,
    "decoder_layerdrop": 0,
}
# Pairs that may differ there and must not here.
EQUAL = (
    ("encoder_ffn_dim", "decoder_ffn_dim"),
    ("encoder_attention_heads", "decoder_attention_heads"),
    ("vocab_size", "decoder_vocab_size"),
    ("pad_token_id", "decoder_start_token_id"),
)
SIZES = ("vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "encoder_attention_heads")
RATES = {"dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0}  # what counts where none is given
PIECES = {"eos_token_id": "</s>", "pad_token_id": "<pad>"}
UNKNOWN = "<unk>"

SHARED = "model.shared.weight"
COPIES = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
LOGITS_BIAS = "final_logits_bias"


def attention(theirs, ours):
    projections = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
    rows = [linear(f"{theirs}.{a}", f"{ours}.{b}_projection") for a, b in projections.items()]
    return [row for pair in rows for row in pair] + norm(f"{theirs}_layer_norm", f"{ours}_residual.layer_norm")


FEED_FORWARD = [
    *linear("fc1", "feed_forward.inner"),
    *linear("fc2", "feed_forward.outer"),
    *norm("final_layer_norm", "feed_forward_residual.layer_norm"),
]
# Per layer: their tensor, our variable, how one becomes the other.
LAYER = {
    "encoder": [*attention("self_attn", "self_attention"), *FEED_FORWARD],
    "decoder": [
        *attention("self_attn", "self_attention"),
        *attention("encoder_attn", "memory_attention"),
        *FEED_FORWARD,
    ],
}

# START reads Marian's pad row, with which Marian starts; its logit must weigh nothing beside the pad's.
START_BELOW_PAD = 100.0  # exp(-100) is nothing in float32, and label smoothing can bear it


def load(folder):
    """Read a `MarianMTModel` folder of Hugging Face transformers, such as a download of an OPUS-MT model.

    Logits equal those of transformers. Ids are this package's: Marian's </s> becomes END and its pad PAD;
    the decoder, which Marian starts with pad, starts with START, a copy of pad's embedding whose logit is
    lowered by 100, so that the model has one piece more than Marian's. The result trains on in `fit` with
    the dropout that the folder says, and translates in `Translator`.

    Marian's positions are sinusoids, so they go on beyond `max_position_embeddings`. The folder's
    `generation_config.json` is not read: beam and length penalty are `Translator`'s options. Text is not
    put through Moses' punctuation normaliser, which transformers does where sacremoses is installed. A
    typed "</s>" is text, where transformers takes it for the control piece.

    Args:
        folder: holds `config.json`, `vocab.json`, `source.spm`, `target.spm`, and `model.safetensors`
            (read with the extra `interop`) or `pytorch_model.bin` (read with torch).

    Returns:
        A `Transformer` in the present dtype policy, and its `Tokenizer`.

    Raises:
        FileNotFoundError: a missing file.
        ValueError: a broken file, a configuration that is not supported (separate vocabularies among
            others), a tensor missing, left over, of another shape or not finite. The message names file and rule.
        ImportError: the package that reads the weights is not installed.
    """
    folder = Path(folder)
    config = _read_json(folder / "config.json")
    _check_config(config, folder / "config.json")
    pieces = _read_vocabulary(folder / "vocab.json", config)
    path = weights_file(folder)
    models = [_read_bytes(folder / name) for name in ("source.spm", "target.spm")]
    order = [config["pad_token_id"], pieces.index(UNKNOWN), config["pad_token_id"], config["eos_token_id"]]
    order += sorted(set(range(len(pieces))) - set(order))  # our ids, in Marian's
    names = ["<pad>", UNKNOWN, "<start>", "</s>", *(pieces[i] for i in order[NUM_RESERVED:])]
    try:
        tokenizer = Tokenizer(pack(names, *models))
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    model = _model(config)
    assign(model, _table(config), _our_tensors(read_tensors(path), config, order, path), path)
    return model, tokenizer


def _model(config):
    return Transformer(
        vocabulary_size=config["vocab_size"] + 1,
        num_encoder_layers=config["encoder_layers"],
        num_decoder_layers=config["decoder_layers"],
        d_model=config["d_model"],
        num_heads=config["encoder_attention_heads"],
        d_ff=config["encoder_ffn_dim"],
        **{key: config.get(key, default) for key, default in RATES.items()},
        activation=ACTIVATIONS[config["activation_function"]],
        positions="sinusoidal_halves",
        use_bias=True,
        layer_norm_epsilon=1e-5,
        scale_embeddings=config["scale_embedding"],
        output_bias=True,
    )


def _table(config):
    """Every tensor: their name, the path of our variable, how one becomes the other."""
    table = [(SHARED, "source_embedding.embeddings", None), (LOGITS_BIAS, "output_bias.bias", None)]
    for side, rows in LAYER.items():
        for i in range(config[f"{side}_layers"]):
            table += [(f"model.{side}.layers.{i}.{a}", f"{side}.layers.{i}.{b}", change) for a, b, change in rows]
    return table


def _our_tensors(tensors, config, order, path):
    """Marian's tensors, what they keep twice or can be computed checked and left out, rows in our ids' order."""
    tensors = dict(tensors)
    size, d_model = config["vocab_size"], config["d_model"]
    shared = next((tensors[name] for name in (SHARED, *COPIES) if name in tensors), None)
    if shared is None:
        raise ValueError(f"{path} has no tensor {SHARED}.")
    bias = tensors.get(LOGITS_BIAS)
    if bias is None:
        raise ValueError(f"{path} has no tensor {LOGITS_BIAS}.")
    for name, tensor, shape in ((SHARED, shared, (size, d_model)), (LOGITS_BIAS, bias, (1, size))):
        if tensor.shape != shape:
            raise ValueError(f"{path}: {name} has shape {tensor.shape}; config.json asks for {shape}.")
    for name in COPIES:
        if not np.array_equal(tensors.pop(name, shared), shared):
            raise ValueError(f"{path}: {name} is not a copy of {SHARED}. Only tied embeddings are supported.")
    for name in POSITIONS:
        if name in tensors and not _are_sinusoids(tensors.pop(name), d_model):
            raise ValueError(f"{path}: {name} are not Marian's sinusoids. Learned positions are not supported.")
    bias = bias[0, order]
    bias[START] = bias[PAD] - START_BELOW_PAD
    return {**tensors, SHARED: shared[order], LOGITS_BIAS: bias}


def _are_sinusoids(table, d_model):
    columns = np.concatenate([np.arange(0, d_model, 2), np.arange(1, d_model, 2)])
    if table.ndim != 2 or table.shape[1] != d_model:
        return False
    angles = np.arange(len(table))[:, None] / 10000.0 ** (columns // 2 * 2 / d_model)
    expected = np.where(columns % 2 == 0, np.sin(angles), np.cos(angles))
    return np.allclose(table, expected, rtol=0, atol=1e-3)  # files in half precision exist


def _check_config(config, path):
    """Raise ValueError for the first thing of a configuration that is missing or not supported."""
    for key, required in FIXED.items():
        if config.get(key, required) != required:
            raise ValueError(f"{path}: {key}={config[key]!r} is not supported, only {required!r}.")
    for key in (*SIZES, "pad_token_id", "eos_token_id", "decoder_start_token_id"):
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < (key in SIZES):
            raise ValueError(f"{path}: {key} must be a whole number of at least {key in SIZES:d}, got {value!r}.")
    for first, second in EQUAL:
        if config.get(second) not in (None, config[first]):
            raise ValueError(f"{path}: {second}={config[second]} must equal {first}={config[first]}.")
    heads = config["encoder_attention_heads"]
    if config["d_model"] % heads:
        raise ValueError(f"{path}: d_model={config['d_model']} must be a multiple of encoder_attention_heads={heads}.")
    for key, default in RATES.items():
        rate = config.get(key, default)
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
            raise ValueError(f"{path}: {key} must be a number of at least 0 and below 1, got {rate!r}.")
    activation = config.get("activation_function")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"{path}: activation_function={activation!r} is not supported, only {known}.")
    if not isinstance(config.get("scale_embedding"), bool):
        raise ValueError(f"{path}: scale_embedding must be true or false, got {config.get('scale_embedding')!r}.")


def _read_vocabulary(path, config):
    """The piece of each of Marian's ids: list of str."""
    vocabulary = _read_json(path)
    pieces = {i: piece for piece, i in vocabulary.items() if isinstance(i, int)}
    if len(vocabulary) != config["vocab_size"] or sorted(pieces) != list(range(config["vocab_size"])):
        raise ValueError(
            f"{path}: its {len(vocabulary)} pieces must have the ids from 0 to {config['vocab_size'] - 1}, "
            f"one each, as config.json says vocab_size={config['vocab_size']}."
        )
    for key, piece in PIECES.items():
        if vocabulary.get(piece) != config[key]:
            raise ValueError(f"{path}: {piece!r} has id {vocabulary.get(piece)}, config.json's {key} is {config[key]}.")
    if UNKNOWN not in vocabulary:
        raise ValueError(f"{path} has no piece {UNKNOWN!r}.")
    return [pieces[i] for i in range(len(pieces))]


def _read_bytes(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Needed are config.json, vocab.json, source.spm and target.spm.")
    return path.read_bytes()


def _read_json(path):
    """The object in a JSON file."""
    try:
        content = json.loads(_read_bytes(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content
