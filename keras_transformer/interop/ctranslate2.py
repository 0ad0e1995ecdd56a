"""Write a trained model as a folder that CTranslate2 translates with."""

import re

import keras
import numpy as np

from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, START, UNK
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath
from keras_transformer.inputs.tokenizers import TOKENIZER_FILES, AnyTokenizer, save_tokenizer, side_of
from keras_transformer.interop.checks import check_model, check_pair, may_replace, weights_by_path
from keras_transformer.interop.marian_format import MODELS
from keras_transformer.model import Transformer

MAX_LENGTH = 1024  # CTranslate2 truncates a source after this many tokens by default
VOCABULARIES = {f"{kind}_vocabulary.json" for kind in ("shared", "source", "target")}
# All that the folder of a model may hold.
FILES = {"model.bin", "config.json", *VOCABULARIES, *TOKENIZER_FILES, *MODELS.values()}
TARGET, SMALLER = "a CTranslate2 model", ", with `quantization`"
QUANTIZATIONS = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")

# Our layers, and the place of each in CTranslate2's model. Weights with the same place are joined in this order.
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


def save(
    model: Transformer,
    tokenizer: AnyTokenizer,
    folder: AnyPath,
    quantization: str | None = None,
    max_length: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a folder that `ctranslate2.Translator` reads, and put the tokenizer's file into it.

    CTranslate2's input and output are pieces: `tokenizer.pieces(tokenizer.encode(text))`, with `tokenizer.source` or
    `tokenizer.target` of a `TokenizerPair`. It adds START and END itself. It computes the same log-probabilities as the
    model.

    SentencePiece gives the same pieces without this package. `tokenizer.model` is its model for the kinds "bpe" and
    "unigram". For the kind "marian" the folder holds a model for each side, `source.spm` and `target.spm`. Then put
    `>>codes<<` in front as pieces, and read a translation by `target.decode(pieces).replace("▁", " ").strip()`: a
    translation may have pieces that only the source's model has.

    Its `translate_batch` finds the same translations as `Translator`, greedy or with a beam, if both have
    `length_penalty=0` and it has `min_decoding_length=0`. Its defaults are 1 and 1, so it gives no empty translation.
    With other options the two differ:

    - CTranslate2 divides log P by |Y|^`length_penalty`; |Y| counts END, as here. It stops at `beam_size` finished
      hypotheses, even if another hypothesis could still win.
    - It may produce PAD and START. A model that was trained here rarely gives them a high probability, but a Marian
      model may. `suppress_sequences=[["<pad>"], ["<start>"]]` (the names of these two pieces) forbids them and gives
      their probability to the other pieces.
    - `max_decoding_length`, 256, is the same for short and long sentences. A hypothesis that it cuts off competes with
      the finished ones. A source is truncated after `max_input_length`, 1024 tokens.

    Example, which needs the package `ctranslate2`:

        ctranslate2_writer.save(model, tokenizer, "folder", quantization="int8")
        translator = ctranslate2.Translator("folder")
        pieces = tokenizer.pieces(tokenizer.encode("Good morning."))
        [result] = translator.translate_batch([pieces], length_penalty=0, min_decoding_length=0)

    Args:
        model: a `Transformer` of any dtype policy. Its variables are written as float32.
        tokenizer: the `Tokenizer` or the `TokenizerPair` that the model was trained with.
        folder: the new folder.
        quantization: one of `QUANTIZATIONS`. Those with bfloat16 need torch. None writes float32.
        max_length: int, the number of positions in the written table of sinusoids. CTranslate2 fails on a source or a
            translation that has more tokens, END included. None means 1024. Only for sinusoids.
        overwrite: whether to replace `folder` if it exists and is not empty.

    Raises:
        FileExistsError: `folder` is not empty and `overwrite` is False, or it also holds other files.
        ImportError: the package `ctranslate2` is not installed.
        TypeError: `model` is no `Transformer`, or `tokenizer` is no `Tokenizer`.
        ValueError: `quantization` is unknown; the tokenizer and the model have vocabularies of different sizes; a piece
            of the source has the name of a special piece of the target; CTranslate2 cannot compute the model; a weight,
            an option or a method of the model has no place in CTranslate2; a weight is not finite.
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization={quantization!r} is unknown. It is None or one of {QUANTIZATIONS}.")
    check_pair(model, tokenizer, TARGET, SMALLER)
    source, target = vocabularies(tokenizer)
    # An error about the folder comes before the work.
    with written_beside(folder, may_replace(folder, overwrite), FILES, argument="folder") as beside:
        spec = _filled_spec(model, max_length)
        spec.register_source_vocabulary(source)
        spec.register_target_vocabulary(target)
        spec.config.unk_token, spec.config.eos_token = target[UNK], target[END]
        spec.config.bos_token = spec.config.decoder_start_token = target[START]
        spec.config.add_source_eos = True
        spec.validate()
        spec.optimize(quantization)
        beside.mkdir()
        spec.save(str(beside))
        save_tokenizer(tokenizer, beside)
        if getattr(tokenizer, "model", None) == "marian":
            for name, data in zip(MODELS.values(), tokenizer.sentencepiece_models, strict=True):
                (beside / name).write_bytes(data)


def vocabularies(tokenizer):
    """The pieces of the source and of the target, two lists of str, as CTranslate2 gets them.

    CTranslate2 has one name for each special piece. So the special pieces of the source get the names of the target's.

    Raises:
        ValueError: a piece of the source's text has such a name.
    """
    parts = [side_of(tokenizer, side) for side in ("source", "target")]
    source, target = (part.pieces(list(range(part.vocabulary_size))) for part in parts)
    special, others = target[:NUM_RESERVED], source[NUM_RESERVED:]
    if taken := set(special).intersection(others):
        raise ValueError(
            f"the source's tokenizer has the piece {min(taken)!r}, which is a special piece of the target's tokenizer. "
            "CTranslate2 has one name for the special pieces of both. Train the two tokenizers with the same model."
        )
    return [*special, *others], target


def spec_variables(model, max_length=None):
    """All arrays of the CTranslate2 model by their names there. This needs no `ctranslate2`.

    Args:
        model, max_length: see `save`.

    Returns:
        A dictionary of float32 arrays, which are copies. Matrices are (out, in). Self-attention has one matrix for
        queries, keys and values. The attention over the source has one matrix for keys and values.

    Raises:
        ValueError: the model is quantized; a weight or an option has no place; `max_length` is below 1, or the model
            has learned positions and `max_length` is given.
    """
    check_model(model, TARGET, SMALLER)
    parts, left = {}, list(weights_by_path(model).items())
    for pattern, places in _LAYERS:
        unmapped = []
        for path, array in left:
            layer, _, name = path.rpartition("/")
            match = re.fullmatch(pattern, layer)
            if match is None or name not in _WEIGHTS:
                unmapped.append((path, array))
                continue
            for place in places.split():
                joined = parts.setdefault(f"{match.expand(place)}/{_WEIGHTS[name]}", [])
                joined.append(array.T if name == "kernel" else array)
        left = unmapped
    if left:
        raise ValueError(f"the model's weight {left[0][0]!r} has no place in {TARGET}.")
    # A tied output map is the target's embedding.
    parts.setdefault("decoder/projection/weight", parts["decoder/embeddings/weight"])
    return _positions(model, max_length) | {slot: np.concatenate(arrays) for slot, arrays in parts.items()}


def _positions(model, max_length):
    """The tables of sinusoids, (max_length, D) each; none for learned positions, which are weights.

    CTranslate2's own sinusoids have another layout and begin at position 1.
    """
    if model.source_positions.kind == "learned":
        if max_length is not None:
            raise ValueError(
                f"max_length={max_length} is for sinusoids, but the model has {model.source_positions.max_length} "
                "learned positions. Leave it out."
            )
        return {}
    max_length = MAX_LENGTH if max_length is None else whole("max_length", max_length)
    tables = {}
    for side, layer in (("encoder", model.source_positions), ("decoder", model.target_positions)):
        exact = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
        exact.build((None, None, model.d_model))
        table = exact.at(np.arange(max_length))  # (max_length, D)
        tables[f"{side}/position_encodings/encodings"] = keras.ops.convert_to_numpy(table).astype("float32")  # a copy
    return tables


def _architecture(model):
    """The options of CTranslate2's encoder and decoder, with the activation by its name: a dictionary.

    Raises:
        ValueError: CTranslate2 cannot compute the model.
    """
    options = model.encoder.layers[0].saved_options
    activation = options["activation"]
    if activation not in _ACTIVATIONS:
        raise ValueError(f"CTranslate2 does not have activation={activation!r}. It has {', '.join(_ACTIVATIONS)}.")
    d_k = options["d_k"] or model.d_model // options["num_heads"]
    if options["d_v"] not in (None, d_k):
        raise ValueError(f"d_k={d_k} and d_v={options['d_v']} differ. In CTranslate2 a head has one width.")
    return {
        "num_heads": options["num_heads"],
        "head_dim": d_k,
        "pre_norm": options["norm"] == "pre",
        "activation": _ACTIVATIONS[activation],
    }


def _filled_spec(model, max_length):
    """CTranslate2's specification of the model, with its arrays and without its vocabularies."""
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
    """Put an array at its place, which has a name such as "encoder/layer_0/ffn/linear_1/weight"."""
    *scopes, name = slot.split("/")
    for scope in scopes:
        if hasattr(spec, scope):
            spec = getattr(spec, scope)
        else:  # an item of a list
            stem, _, number = scope.rpartition("_")
            spec = getattr(spec, stem)[int(number)]
    setattr(spec, name, array)
