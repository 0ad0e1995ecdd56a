"""What the writers refuse before they write, and the weights that they write."""

from pathlib import Path

import keras
import numpy as np

from keras_transformer.backend import compat
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.paths import checked_path
from keras_transformer.inputs.tokenizers import check_sizes, check_tokenizer
from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.parts import is_own
from keras_transformer.model import Transformer

# The options of a model that the writers write, or that change nothing in a trained model. A new option is an error
# until it is added here.
OPTIONS = frozenset(
    "vocabulary_size target_vocabulary_size num_encoder_layers num_decoder_layers d_model num_heads d_ff "
    "decoder_d_ff d_k d_v dropout attention_dropout activation_dropout activation norm use_bias layer_norm_epsilon "
    "positions max_length tie_embeddings scale_embeddings output_bias window name trainable dtype changed_parts".split()
)
# The methods through which ids become logits.
COMPUTING = (
    "call",
    "encode",
    "decoder_vectors",
    "add_output_bias",
    "lookup",
    "logits",
    "at",
    "connect",
    "attend",
    "project_query",
    "project_memory",
    "enter",
    "leave",
    "normalize_output",
)


def check_pair(model, tokenizer, target, smaller=""):
    """Refuse what no writer can write.

    Args:
        model, tokenizer: the arguments of a writer.
        target: what the writer writes, for messages: "a Marian model".
        smaller: how the writer writes integers, for the message about a quantized model.

    Raises:
        TypeError: `model` is no `Transformer`, or `tokenizer` is neither a `Tokenizer` nor a `TokenizerPair`.
        ValueError: they have different sizes, the model is quantized, or it has a method of its own that computes.
    """
    order = "save(model, tokenizer, folder)"
    if not isinstance(model, Transformer):
        hint = " Give translator.model." if hasattr(model, "n_best") else ""
        raise TypeError(f"model must be a Transformer, got {shown(model)}.{hint} The order is {order}.")
    check_tokenizer(tokenizer, order, ("vocabulary_size", "pieces", "sentencepiece_models"))
    check_sizes(model, tokenizer)
    check_model(model, target, smaller)


def check_model(model, target, smaller=""):
    """Refuse a `Transformer` that is quantized, or has a window, an unknown option or an own method that computes."""
    if getattr(model, "quantized", False):
        raise ValueError(f"the model is in 8-bit integers. Save the model that it was made from{smaller}.")
    if unknown := sorted(set(model.get_config()) - OPTIONS):
        raise ValueError(f"the model's option {unknown[0]!r} has no place in {target}.")
    for owner in compat.all_layers(model):  # the model is the first
        if isinstance(owner, MultiHeadAttention) and owner.window is not None:
            raise ValueError(
                f"window={owner.window} has no place in {target}, where self-attention sees all positions."
            )
        for method in COMPUTING:
            if hasattr(type(owner), method) and is_own(owner, method):
                raise ValueError(f"the own {method} of {type(owner).__name__} ({owner.name}) has no place in {target}.")


def may_replace(folder, overwrite):
    """Whether a writer may put its folder there: it was asked to, or nothing would be lost."""
    folder = Path(checked_path(folder, "folder"))
    return overwrite or (folder.is_dir() and not any(folder.iterdir()))


def weights_by_path(model):
    """{path: array} of the weights of a model in float32. The kernel of a part with LoRA has LoRA added.

    The arrays are copies, because CTranslate2 quantizes them in place.

    Raises:
        ValueError: a weight has an infinity or NaN. The message names the weight.
    """
    weights = {weight.path: weight for weight in model.weights}
    for layer in compat.all_layers(model):
        if getattr(layer, "lora_enabled", False):
            weights[compat.kernel_variable(layer).path] = layer.kernel
            for part in (layer.lora_kernel_a, layer.lora_kernel_b):
                del weights[part.path]
    arrays = {path: keras.ops.convert_to_numpy(weight).astype("float32") for path, weight in weights.items()}
    for path, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the model's weight {path!r} holds numbers that are not finite. Save an earlier state.")
    return arrays
