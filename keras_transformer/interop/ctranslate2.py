"""CTranslate2 out: a trained model as a folder that CTranslate2's runtime translates with."""

import re

import keras
import numpy as np

from keras_transformer.files import TOKENIZER_FILE, written_beside
from keras_transformer.ids import END, START, UNK

MAX_LENGTH = 1024  # as many source tokens as CTranslate2 reads before it truncates, unless it is told otherwise
FILES = {"model.bin", "config.json", "shared_vocabulary.json", TOKENIZER_FILE}  # of a model's folder
QUANTIZATIONS = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")

# A layer of ours, and where its weights go. What shares a place is joined there in the order of this table.
_LAYERS = (
    (r"token_embedding", "encoder/embeddings_0 decoder/embeddings"),
    (r"source_embedding", "encoder/embeddings_0"),
    (r"target_embedding", "decoder/embeddings"),
    (r"output_map", "decoder/projection"),
    (r"source_positions", "encoder/position_encodings"),
    (r"target_positions", "decoder/position_encodings"),
    (r"(encoder|decoder)/layer_(\d+)/self_attention/query", r"\1/layer_\2/self_attention/linear_0"),
    (r"(encoder|decoder)/layer_(\d+)/self_attention/key", r"\1/layer_\2/self_attention/linear_0"),
    (r"(encoder|decoder)/layer_(\d+)/self_attention/value", r"\1/layer_\2/self_attention/linear_0"),
    (r"(encoder|decoder)/layer_(\d+)/self_attention/output", r"\1/layer_\2/self_attention/linear_1"),
    (r"(encoder|decoder)/layer_(\d+)/self_attention_residual/layer_norm", r"\1/layer_\2/self_attention/layer_norm"),
    (r"decoder/layer_(\d+)/memory_attention/query", r"decoder/layer_\1/attention/linear_0"),
    (r"decoder/layer_(\d+)/memory_attention/key", r"decoder/layer_\1/attention/linear_1"),
    (r"decoder/layer_(\d+)/memory_attention/value", r"decoder/layer_\1/attention/linear_1"),
    (r"decoder/layer_(\d+)/memory_attention/output", r"decoder/layer_\1/attention/linear_2"),
    (r"decoder/layer_(\d+)/memory_attention_residual/layer_norm", r"decoder/layer_\1/attention/layer_norm"),
    (r"(encoder|decoder)/layer_(\d+)/feed_forward/inner", r"\1/layer_\2/ffn/linear_0"),
    (r"(encoder|decoder)/layer_(\d+)/feed_forward/outer", r"\1/layer_\2/ffn/linear_1"),
    (r"(encoder|decoder)/layer_(\d+)/feed_forward_residual/layer_norm", r"\1/layer_\2/ffn/layer_norm"),
    (r"(encoder|decoder)/final_norm", r"\1/layer_norm"),
    (r"output_bias", "decoder/projection"),
)
_WEIGHTS = {
    "kernel": "weight",  # transposed
    "bias": "bias",
    "embeddings": "weight",
    "table": "encodings",
    "gamma": "gamma",
    "beta": "beta",
}
_ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH", "tanh": "Tanh", "sigmoid": "Sigmoid"}
# The model's options that are written, or say nothing of a trained model. A new one must find its place here first.
_OPTIONS = frozenset(
    "vocabulary_size target_vocabulary_size num_encoder_layers num_decoder_layers d_model num_heads d_ff d_k d_v "
    "dropout attention_dropout activation_dropout activation norm use_bias layer_norm_epsilon positions max_length "
    "tie_embeddings scale_embeddings output_bias name trainable dtype".split()
)


def save(model, tokenizer, folder, quantization=None, max_length=None, overwrite=False):
    """Write a folder that `ctranslate2.Translator` reads, with the tokenizer's file beside the model's.

    CTranslate2 takes and gives pieces, `tokenizer.pieces(tokenizer.encode(text))`; it adds START and END
    itself. Its log-probabilities are the model's, and its `translate_batch` finds what `Translator` finds
    with `length_penalty=0`, greedy or with a beam, when called with `length_penalty=0` and
    `min_decoding_length=0` (its defaults are 1 and 1: no empty translation). Otherwise the two differ:

    - it divides log P by |Y|^`length_penalty`, END counted as here, and then stops at `beam_size` finished
      hypotheses, also when another could still win;
    - it may produce PAD and START, which a trained model hardly ever does; `suppress_sequences` with these
      two pieces forbids them, and gives their probability to the others;
    - `max_decoding_length`, 256, is the same for short and long sentences, and what it cuts off competes
      with the finished; a source is truncated after `max_input_length`, 1024 tokens.

    Args:
        model: a `Transformer`, trained under any dtype policy; its variables are written as float32.
        tokenizer: the `Tokenizer` it was trained with.
        folder: the new folder.
        quantization: one of `QUANTIZATIONS`; the ones with bfloat16 need torch. Default: none, float32.
        max_length: longest source and longest translation, END included, that the written table of
            sinusoids serves; CTranslate2 fails beyond. Default: 1024. Learned positions have their own.
        overwrite: replace `folder` if it exists.

    Raises:
        FileExistsError: `folder` exists and `overwrite` is False, or it holds other files too.
        ImportError: the package `ctranslate2` is not installed.
        ValueError: an unknown `quantization`; a tokenizer of another size than the model's vocabulary; a
            model that CTranslate2 cannot hold; a weight or an option of it that has no place there.
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization={quantization!r} is unknown. It is None or one of {QUANTIZATIONS}.")
    for side in ("vocabulary_size", "target_vocabulary_size"):
        if getattr(model, side) != tokenizer.vocabulary_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary_size} pieces, the model's {side} is "
                f"{getattr(model, side)}: they were not trained together."
            )
    with written_beside(folder, overwrite, FILES) as beside:  # which refuses a folder before the work
        spec = _filled_spec(model, max_length)
        pieces = tokenizer.pieces(list(range(tokenizer.vocabulary_size)))
        spec.register_source_vocabulary(pieces)
        spec.register_target_vocabulary(pieces)
        spec.config.unk_token, spec.config.eos_token = pieces[UNK], pieces[END]
        spec.config.bos_token = spec.config.decoder_start_token = pieces[START]
        spec.config.add_source_eos = True
        spec.validate()
        spec.optimize(quantization)
        beside.mkdir()
        spec.save(str(beside))
        tokenizer.save(beside / TOKENIZER_FILE)


def spec_variables(model, max_length=None):
    """Every array of the CTranslate2 model, by its name there; needs no `ctranslate2`.

    Args:
        model, max_length: see `save`.

    Returns:
        A dictionary of float32 arrays, copies. Matrices are (out, in); in self-attention queries, keys and
        values are one, in the attention over the source keys and values.

    Raises:
        ValueError: a quantised model; a weight or an option without a place; `max_length` below 1, or with learned
            positions.
    """
    if getattr(model, "quantised", False):
        raise ValueError("the model is in 8-bit integers: save the one it was made from, with `quantization`.")
    if unknown := sorted(set(model.get_config()) - _OPTIONS):
        raise ValueError(f"the model's option {unknown[0]!r} has no place in a CTranslate2 model.")
    parts, left = {}, [(weight.path, weight) for weight in model.weights]
    for pattern, places in _LAYERS:
        unmapped = []
        for path, weight in left:
            layer, _, name = path.rpartition("/")
            match = re.fullmatch(pattern, layer)
            if match is None or name not in _WEIGHTS:
                unmapped.append((path, weight))
                continue
            array = _float32(weight)
            for place in places.split():
                joined = parts.setdefault(f"{match.expand(place)}/{_WEIGHTS[name]}", [])
                joined.append(array.T if name == "kernel" else array)
        left = unmapped
    if left:
        raise ValueError(f"the model's weight {left[0][0]!r} has no place in a CTranslate2 model.")
    # A tied output map is the target's embedding.
    parts.setdefault("decoder/projection/weight", parts["decoder/embeddings/weight"])
    return _positions(model, max_length) | {slot: np.concatenate(arrays) for slot, arrays in parts.items()}


def _float32(tensor):
    """A copy, because CTranslate2 quantizes arrays in place."""
    return keras.ops.convert_to_numpy(tensor).astype("float32")


def _positions(model, max_length):
    """Tables of the positions that are computed: CTranslate2's own sinusoids are laid out otherwise, and begin at 1."""
    if model.source_positions.kind == "learned":
        if max_length is not None:
            raise ValueError(
                f"max_length={max_length} is for sinusoids; the model has {model.source_positions.max_length} "
                "learned positions."
            )
        return {}
    max_length = MAX_LENGTH if max_length is None else max_length
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}.")
    tables = {}
    for side, layer in (("encoder", model.source_positions), ("decoder", model.target_positions)):
        exact = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
        exact.build((None, None, model.d_model))
        tables[f"{side}/position_encodings/encodings"] = _float32(exact.at(np.arange(max_length)))  # (max_length, D)
    return tables


def _architecture(model):
    """What CTranslate2 asks of both stacks, its activation by name: a dictionary.

    Raises:
        ValueError: what it cannot compute.
    """
    options = model.encoder.layers[0].saved_options
    activation = options["activation"]
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is none of CTranslate2's: {', '.join(_ACTIVATIONS)}.")
    d_k = options["d_k"] or model.d_model // options["num_heads"]
    if options["d_v"] not in (None, d_k):
        raise ValueError(f"d_k={d_k} and d_v={options['d_v']} differ; in CTranslate2 a head has one width.")
    return {
        "num_heads": options["num_heads"],
        "head_dim": d_k,
        "pre_norm": options["norm"] == "pre",
        "activation": _ACTIVATIONS[activation],
    }


def _filled_spec(model, max_length):
    """CTranslate2's description of the model, with its arrays and without its vocabularies."""
    architecture, variables = _architecture(model), spec_variables(model, max_length)
    try:
        from ctranslate2 import specs
    except ImportError as error:
        raise ImportError(
            "writing a CTranslate2 model needs the package ctranslate2: "
            "pip install 'keras-transformer-translation[interop]'"
        ) from error
    architecture["activation"] = specs.Activation[architecture["activation"]]
    spec = specs.TransformerSpec(
        specs.TransformerEncoderSpec(model.encoder.num_layers, **architecture),
        specs.TransformerDecoderSpec(model.decoder.num_layers, **architecture),
    )
    spec.config.layer_norm_epsilon = model.encoder.layers[0].options["layer_norm_epsilon"]
    scaled = model.get_config()["scale_embeddings"]
    spec.encoder.scale_embeddings = spec.decoder.scale_embeddings = scaled
    for slot, array in variables.items():
        _set(spec, slot, array)
    return spec


def _set(spec, slot, array):
    """Put an array where a name such as "encoder/layer_0/ffn/linear_1/weight" points to."""
    *scopes, name = slot.split("/")
    for scope in scopes:
        if hasattr(spec, scope):
            spec = getattr(spec, scope)
        else:  # one of a list
            stem, _, number = scope.rpartition("_")
            spec = getattr(spec, stem)[int(number)]
    setattr(spec, name, array)
