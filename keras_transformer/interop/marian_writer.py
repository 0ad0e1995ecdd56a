"""Write a model as a Marian folder of Hugging Face transformers."""

import json

import numpy as np

from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK
from keras_transformer.inputs.paths import AnyPath
from keras_transformer.inputs.tokenizers import is_pair
from keras_transformer.interop.checks import check_pair, may_replace, weights_by_path
from keras_transformer.interop.mapping import collect
from keras_transformer.interop.marian_format import (
    ACTIVATIONS,
    CONFIG,
    FILES,
    FIXED,
    GENERATION,
    LAYER_NORM_EPSILON,
    LOGITS_BIAS,
    MODELS,
    PIECES,
    RATES,
    SHARED,
    START_BELOW_PAD,
    TOKENIZER,
    UNKNOWN,
    VOCABULARY,
    layers_table,
)
from keras_transformer.interop.tensors import SAFETENSORS
from keras_transformer.model import Transformer
from keras_transformer.text import Tokenizer

TARGET = "a Marian model"
# Arguments of `Transformer` that have one value in every Marian model.
ONLY = {
    "positions": "sinusoidal_halves",
    "norm": "post",
    "tie_embeddings": "all",
    "layer_norm_epsilon": LAYER_NORM_EPSILON,
}
MAX_LENGTH = 1024  # positions that transformers computes; it fails on longer sentences
# What a folder asks of the search in transformers, as the OPUS-MT models do.
SEARCH = {"max_length": 512, "num_beams": 4}


def save(model: Transformer, tokenizer: Tokenizer, folder: AnyPath, overwrite: bool = False) -> None:
    """Write a folder that `MarianMTModel` and `MarianTokenizer` of Hugging Face transformers read.

    The model is one that `load` gave, trained further or not, or one of our own with Marian's architecture. Its logits
    in transformers are the same. With `num_beams=4, length_penalty=0.0, early_stopping="never"` its `generate` finds
    the translations that `Translator` finds with `beam_size=4, length_penalty=0`. `load` reads the folder, too.

    Marian's architecture is `Transformer` with `positions="sinusoidal_halves"`, `norm="post"`, `tie_embeddings="all"`,
    `layer_norm_epsilon=1e-5`, the activation "relu", "silu" or "gelu", and d_model = num_heads · d_k. Biases that the
    model lacks are written as zeros. The tokenizer is of the kind "marian", or of the kind "bpe" or "unigram" without a
    `normalization` and without `>>codes<<`. Anything else is refused.

    The ids in the folder: those of an own tokenizer stay. For kind "marian", END is 0, UNK is 1, then come the other
    pieces, and PAD is the last, as in the OPUS-MT models. Transformers starts a translation with the config's
    `decoder_start_token_id`. As long as START is a copy of PAD, as `load` makes it, that is PAD. Training further makes
    them different. Then START is one piece more, after PAD, so that nothing is lost. (CTranslate2's own converter
    starts every Marian model from zeros and would ignore START. `keras_transformer.interop.ctranslate2` does not.)

    In a text, transformers takes a typed `</s>`, `<pad>` or `<unk>` as the special piece, and a `>>code<<` in front as
    one piece. For an own tokenizer they are text.

    Example:
        ```python
        from keras_transformer import Tokenizer, Transformer
        from keras_transformer.interop import marian

        tokenizer = Tokenizer.train(["the cat sat", "the dog sat"], vocabulary_size=280)
        sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 32}
        model = Transformer(
            vocabulary_size=280, positions="sinusoidal_halves", layer_norm_epsilon=1e-5, **sizes
        )  # and train it
        marian.save(model, tokenizer, "en_de_marian")
        model, tokenizer = marian.load("en_de_marian")
        ```

    Args:
        model: a `Transformer` of any dtype policy. Its variables are written as float32.
        tokenizer: the `Tokenizer` that the model was trained with.
        folder: the new folder.
        overwrite: whether to replace `folder` if it exists and is not empty.

    Raises:
        FileExistsError: `folder` is not empty and `overwrite` is False, or it also holds other files.
        ImportError: the package `safetensors` is not installed.
        TypeError: `model` is no `Transformer`, or `tokenizer` is no `Tokenizer`.
        ValueError: the tokenizer and the model have vocabularies of different sizes; Marian cannot express the model or
            the tokenizer (the message lists all reasons); a weight has no place in a Marian model, or is not finite.
    """
    check_pair(model, tokenizer, TARGET)
    if reasons := [*_reasons_of_model(model), *_reasons_of_tokenizer(tokenizer)]:
        raise ValueError(f"{TARGET} cannot express this one: {'; '.join(reasons)}. Train a model with Marian's values.")
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError(
            "writing a Marian model needs the package safetensors: pip install 'keras-transformer-translation[interop]'"
        ) from error
    # An error about the folder comes before the work.
    with written_beside(folder, may_replace(folder, overwrite), FILES, argument="folder") as beside:
        embeddings, bias, others = _tensors(model)
        order = _order(tokenizer, embeddings, bias)
        tensors = {SHARED: embeddings[order], LOGITS_BIAS: bias[None, order], **others}
        tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        beside.mkdir()
        save_file(tensors, beside / SAFETENSORS, metadata={"format": "pt"})  # transformers asks for a format
        for name, data in zip(MODELS.values(), tokenizer.sentencepiece_models, strict=True):
            (beside / name).write_bytes(data)
        for name, content in _settings(model, tokenizer, order).items():
            (beside / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _options(model):
    """The options of a model, with those of its layers in the form that a file holds."""
    return {**model.get_config(), **model.encoder.layers[0].saved_options}


def _reasons_of_model(model):
    """What Marian's architecture lacks, each with the rule: list of str."""
    options = _options(model)
    reasons = [f"{name}={options[name]!r}, Marian has {only!r}" for name, only in ONLY.items() if options[name] != only]
    if options["activation"] not in ACTIVATIONS.values():
        known = ", ".join(map(repr, sorted(set(ACTIVATIONS.values()))))
        reasons.append(f"activation={options['activation']!r}, Marian has one of {known}")
    d_model, heads = options["d_model"], options["num_heads"]
    for name in ("d_k", "d_v"):
        if options[name] is not None and options[name] * heads != d_model:
            reasons.append(f"{name}={options[name]}, Marian has d_model / num_heads = {d_model} / {heads}")
    for name, value in model.decoder.layers[0].saved_options.items():
        if name not in ("d_ff", "initial_gain") and value != options[name]:
            reasons.append(
                f"{name}={value!r} in the decoder and {options[name]!r} in the encoder, Marian has one value"
            )
    return reasons


def _reasons_of_tokenizer(tokenizer):
    """What a Marian tokenizer lacks, each with the rule: list of str."""
    if is_pair(tokenizer):
        return ["the tokenizer is a TokenizerPair, Marian has one vocabulary for both sides"]
    if tokenizer.model == "marian":
        return []
    if None in tokenizer.sentencepiece_models:
        return [f"the tokenizer's model={tokenizer.model!r}, Marian has SentencePiece: 'bpe' or 'unigram'"]
    reasons = []
    if tokenizer.normalization != "none":
        reasons.append(f"the tokenizer's normalization={tokenizer.normalization!r}, Marian has 'none'")
    if codes := tokenizer.language_codes:
        reasons.append(f"the tokenizer's piece {codes[0]!r}, Marian cuts codes off before SentencePiece sees the text")
    pieces = tokenizer.pieces([START, *range(NUM_RESERVED, tokenizer.vocabulary_size)])
    if special := {*PIECES.values(), UNKNOWN}.intersection(pieces):
        reasons.append(f"the tokenizer's piece {min(special)!r}, which is a special piece in Marian")
    return reasons


def _tensors(model):
    """The embeddings (V, D), the bias of the logits (V,), and the tensors of the layers by name.

    Raises:
        ValueError: a weight has no place in a Marian model.
    """
    arrays = weights_by_path(model)
    matrix, bias = model.output_variables
    embeddings = arrays.pop(matrix.path)
    bias = np.zeros(len(embeddings), "float32") if bias is None else arrays.pop(bias.path)
    layers = {"encoder_layers": model.encoder.num_layers, "decoder_layers": model.decoder.num_layers}
    tensors = collect(model, layers_table(layers), arrays)
    if arrays:
        raise ValueError(f"the model's weight {next(iter(arrays))!r} has no place in {TARGET}.")
    return embeddings, bias, tensors


def _order(tokenizer, embeddings, bias):
    """Our id of each of Marian's: list of int. START is left out if `load` makes the same from PAD."""
    size = tokenizer.vocabulary_size
    if tokenizer.model != "marian":
        return list(range(size))
    is_copy = np.array_equal(embeddings[START], embeddings[PAD]) and bias[START] == bias[PAD] - START_BELOW_PAD
    return [END, UNK, *range(NUM_RESERVED, size), PAD, *([] if is_copy else [START])]


def _settings(model, tokenizer, order):
    """The content of each JSON file."""
    pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
    pieces[PAD], pieces[UNK], pieces[END] = PIECES["pad_token_id"], UNKNOWN, PIECES["eos_token_id"]
    start = START if START in order else PAD
    special = {
        "bos_token_id": None,
        "decoder_start_token_id": order.index(start),
        "eos_token_id": order.index(END),
        "forced_eos_token_id": None,
        "pad_token_id": order.index(PAD),
    }
    return {
        CONFIG: {"architectures": ["MarianMTModel"], **FIXED, **special, **_sizes(model, len(order))},
        GENERATION: {**special, **SEARCH, "bad_words_ids": [[order.index(i)] for i in sorted({PAD, start})]},
        TOKENIZER: {
            "tokenizer_class": "MarianTokenizer",
            "eos_token": PIECES["eos_token_id"],
            "pad_token": PIECES["pad_token_id"],
            "unk_token": UNKNOWN,
            "model_max_length": MAX_LENGTH,
            "clean_up_tokenization_spaces": False,  # it would take out spaces before full stops
            "separate_vocabs": False,
        },
        VOCABULARY: {pieces[ours]: theirs for theirs, ours in enumerate(order)},
    }


def _sizes(model, vocabulary_size):
    """The values of a configuration that say the architecture of a model."""
    options = _options(model)
    widths = {"encoder": options["d_ff"], "decoder": model.decoder.layers[0].saved_options["d_ff"]}
    return {
        "vocab_size": vocabulary_size,
        "decoder_vocab_size": vocabulary_size,
        "d_model": options["d_model"],
        "encoder_layers": model.encoder.num_layers,
        "decoder_layers": model.decoder.num_layers,
        **{f"{side}_attention_heads": options["num_heads"] for side in widths},
        **{f"{side}_ffn_dim": width for side, width in widths.items()},
        **{name: options[name] for name in RATES},
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == options["activation"]),
        "scale_embedding": options["scale_embeddings"],
        "max_position_embeddings": MAX_LENGTH,
    }
