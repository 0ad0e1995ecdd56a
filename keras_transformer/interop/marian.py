"""Load a Marian model from a folder of Hugging Face transformers, or save one. The OPUS-MT models are such models."""

import json

import numpy as np

from keras_transformer.ids import NUM_RESERVED, PAD, START
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.interop.mapping import assign
from keras_transformer.interop.marian_format import (
    ACTIVATIONS,
    CONFIG,
    COPIES,
    EQUAL,
    FIXED,
    LAYER_NORM_EPSILON,
    LOGITS_BIAS,
    MODELS,
    PIECES,
    POSITIONS,
    RATES,
    SHARED,
    SIZES,
    START_BELOW_PAD,
    UNKNOWN,
    VOCABULARY,
    layers_table,
)
from keras_transformer.interop.marian_writer import save
from keras_transformer.interop.tensors import PYTORCH, SAFETENSORS, read_tensors, weights_file
from keras_transformer.model import Transformer
from keras_transformer.readers.addresses import local_folder
from keras_transformer.text.marian_subwords import pack
from keras_transformer.text.tokenizer import Tokenizer

__all__ = ["load", "save"]

FILES = (CONFIG, VOCABULARY, *MODELS.values(), SAFETENSORS, PYTORCH)  # what is downloaded from an address


def load(folder: AnyPath) -> tuple[Transformer, Tokenizer]:
    """Read a `MarianMTModel` folder of Hugging Face transformers, for example a download of an OPUS-MT model.

    The model gives the same logits as transformers. Its ids are those of this package: Marian's `</s>` is END, and its
    pad is PAD. Marian's decoder starts with pad, and ours with START. START has a copy of pad's embedding, and its
    logit is that of pad minus 100. So the model has one piece more than Marian's. (If the folder's decoder starts with
    a piece of its own, as in some folders that `save` writes, START is this piece.) The model can be trained further in
    `fit`, with the dropout of the folder, and it translates in `Translator`.

    Some things differ from transformers. Positions are sinusoids, so a sentence may be longer than
    `max_position_embeddings`. The folder's `generation_config.json` is not read: beam size and length penalty are
    options of `Translator`. Moses' punctuation normalizer is not applied; transformers applies it if sacremoses is
    installed. A typed `</s>` is text here, and a control piece in transformers.

    Example, with the downloaded folder of an OPUS-MT model:

        model, tokenizer = marian.load("opus-mt-en-de")
        translator = Translator(model, tokenizer)
        print(translator(["Good morning."]))

    Args:
        folder: the path of a folder with `config.json`, `vocab.json`, `source.spm`, `target.spm`, and the weights:
            `model.safetensors`, which needs the extra `interop`, or `pytorch_model.bin`, which needs torch. Or an
            address, "hf://Helsinki-NLP/opus-mt-en-de", from which the folder is downloaded.

    Returns:
        A `Transformer` in the current dtype policy, and its `Tokenizer`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged; the configuration is not supported, for example because it has two vocabularies;
            a tensor is missing, has no place, has another shape or is not finite. The message names the file and the
            rule.
        ImportError: the package that reads the weights, or that downloads, is not installed.
        OSError: the download failed.
    """
    folder = check_source(local_folder(folder, FILES), "folder", "folder")
    config = _read_json(folder / CONFIG)
    _check_config(config, folder / CONFIG)
    pieces = _read_vocabulary(folder / VOCABULARY, config)
    path = weights_file(folder)
    models = [_read_bytes(folder / name) for name in MODELS.values()]
    start = _start(config, pieces, folder / CONFIG)
    order = [config["pad_token_id"], pieces.index(UNKNOWN), start, config["eos_token_id"]]
    order += sorted(set(range(len(pieces))) - set(order))  # Marian's id of each of ours
    own_start = start != config["pad_token_id"]
    names = ["<pad>", UNKNOWN, pieces[start] if own_start else "<start>", "</s>"]
    try:
        tokenizer = Tokenizer(pack([*names, *(pieces[i] for i in order[NUM_RESERVED:])], *models))
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    model = _model(config, len(order))
    table = [(SHARED, "source_embedding.embeddings", None), (LOGITS_BIAS, "output_bias.bias", None)]
    assign(model, table + layers_table(config), _our_tensors(read_tensors(path), config, order, path), path)
    return model, tokenizer


def _model(config, vocabulary_size):
    """A `Transformer` of a configuration, with new weights."""
    return Transformer(
        vocabulary_size=vocabulary_size,
        num_encoder_layers=config["encoder_layers"],
        num_decoder_layers=config["decoder_layers"],
        d_model=config["d_model"],
        num_heads=config["encoder_attention_heads"],
        d_ff=config["encoder_ffn_dim"],
        decoder_d_ff=config["decoder_ffn_dim"],
        **{key: config.get(key, default) for key, default in RATES.items()},
        activation=ACTIVATIONS[config["activation_function"]],
        positions="sinusoidal_halves",
        use_bias=True,
        layer_norm_epsilon=LAYER_NORM_EPSILON,
        scale_embeddings=config["scale_embedding"],
        output_bias=True,
    )


def _our_tensors(tensors, config, order, path):
    """Marian's tensors for `assign`. The rows of the embeddings and of the bias are in the order of our ids.

    Copies of the embeddings and tables of sinusoids are checked and left out.

    Raises:
        ValueError: a tensor is missing, has another shape, or is not such a copy or table.
    """
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
    if order[START] == order[PAD]:
        bias[START] = bias[PAD] - START_BELOW_PAD
    return {**tensors, SHARED: shared[order], LOGITS_BIAS: bias}


def _are_sinusoids(table, d_model):
    """Whether a table holds Marian's sinusoids."""
    columns = np.concatenate([np.arange(0, d_model, 2), np.arange(1, d_model, 2)])
    if table.ndim != 2 or table.shape[1] != d_model:
        return False
    angles = np.arange(len(table))[:, None] / 10000.0 ** (columns // 2 * 2 / d_model)
    expected = np.where(columns % 2 == 0, np.sin(angles), np.cos(angles))
    return np.allclose(table, expected, rtol=0, atol=1e-3)  # some files are in half precision


def _check_config(config, path):
    """Raise a ValueError for the first value of a configuration that is missing or not supported."""
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
    """The piece of each of Marian's ids, after a check of the ids: list of str."""
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


def _start(config, pieces, path):
    """The id of the piece that the decoder starts with, after a check.

    Raises:
        ValueError: it is not pad, and not a piece of its own.
    """
    start, pad = config["decoder_start_token_id"], config["pad_token_id"]
    if start >= len(pieces) or start in (config["eos_token_id"], pieces.index(UNKNOWN)):
        raise ValueError(
            f"{path}: decoder_start_token_id={start} must equal pad_token_id={pad}, or be the id of a piece of its own."
        )
    return start


def _read_bytes(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Needed are config.json, vocab.json, source.spm and target.spm.")
    return check_source(path).read_bytes()


def _read_json(path):
    """The object in a JSON file."""
    try:
        content = json.loads(_read_bytes(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content
