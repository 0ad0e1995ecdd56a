"""Read what training or `Translator.save` wrote."""

from pathlib import Path

import keras

from keras_transformer.backend.int8 import floating_policy
from keras_transformer.files import MODEL_FILE, TOKENIZER_FILE
from keras_transformer.keras_files import read_keras
from keras_transformer.model import Transformer


def load_model(path, dtype=None):
    """Read a `.keras` file that holds a `Transformer`, for translating: without its optimizer.

    Args:
        path: the file.
        dtype: a Keras dtype policy instead of the trained one; a quantised one quantises.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken file, another kind of model, or integers under another policy; the message names the
            file. A `dtype` that is no policy, or computes with integers before any quantising.
        IntegersNotExact: see `Transformer.quantize`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. A training folder holds {MODEL_FILE} and {TOKENIZER_FILE}.")
    policy = None if dtype is None else _floating(dtype)
    model = read_keras(path)
    if not isinstance(model, Transformer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a Transformer of keras_transformer.")
    if policy is None:
        return model
    if model.quantized and not policy.quantization_mode:
        raise ValueError(f"{path} holds 8-bit integers: it cannot be read under dtype {policy.name!r}.")
    quantise = policy.quantization_mode and not model.quantized
    recast = type(model).from_config({**model.get_config(), "dtype": floating_policy(policy) if quantise else dtype})
    recast.set_weights(model.get_weights())
    if quantise:
        recast.quantize(policy.quantization_mode)
    return recast


def _floating(dtype):
    """The dtype policy that `dtype` names, if it computes in floating point."""
    rule = (
        f"dtype={dtype!r} is no Keras dtype policy for a model: floating point is, such as 'float32' or "
        "'mixed_bfloat16', and 'int8_from_float32' for products in 8-bit integers."
    )
    try:
        policy = keras.dtype_policies.get(dtype)
    except ValueError as error:
        raise ValueError(rule) from error
    if not keras.backend.is_float_dtype(policy.compute_dtype):
        raise ValueError(rule)
    return policy


def one_tokenizer(folders):
    """The path of the tokenizer that all `folders` hold.

    Raises:
        ValueError: two that differ; the message names them.
        FileNotFoundError: a folder without one.
    """
    paths = [folder / TOKENIZER_FILE for folder in folders]
    first, *others = paths
    for other in others:
        if other.read_bytes() != first.read_bytes():
            raise ValueError(f"{other} is not {first}: models of an ensemble need one vocabulary.")
    return first
