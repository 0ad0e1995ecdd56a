"""Read the files that training or `Translator.save` wrote."""

from pathlib import Path

import keras

from keras_transformer.backend.forks import check_process
from keras_transformer.backend.int8 import floating_policy
from keras_transformer.files import MODEL_FILE, TOKENIZER_FILE
from keras_transformer.keras_files import read_keras
from keras_transformer.model import Transformer


def load_model(path, dtype=None):
    """Read a `.keras` file that holds a `Transformer`, for translating: without its optimizer.

    Args:
        path: the file.
        dtype: a Keras dtype policy in place of the one that the model was trained under. A quantized policy
            quantizes the model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken file, another kind of model, or 8-bit integers under a policy of floating point; the
            message names the file. Also a `dtype` that is no policy, or that computes with integers only.
        IntegersNotExact: see `Transformer.quantize`.

    Example:
        ```python
        from keras_transformer import Transformer
        from keras_transformer.translation import load_model

        model = Transformer(vocabulary_size=20, num_encoder_layers=1, num_decoder_layers=1, d_model=16, d_ff=32)
        model.save("model.keras")
        print(load_model("model.keras", dtype="mixed_bfloat16").compute_dtype)
        ```
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. A training folder holds {MODEL_FILE} and {TOKENIZER_FILE}.")
    policy = None if dtype is None else _floating_policy(dtype)
    check_process()
    model = read_keras(path)
    if not isinstance(model, Transformer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a Transformer of keras_transformer.")
    if policy is None:
        return model
    if model.quantized and not policy.quantization_mode:
        raise ValueError(f"{path} holds 8-bit integers: it cannot be read under dtype {policy.name!r}.")
    quantize = policy.quantization_mode and not model.quantized
    recast = type(model).from_config({**model.get_config(), "dtype": floating_policy(policy) if quantize else dtype})
    recast.set_weights(model.get_weights())
    if quantize:
        recast.quantize(policy.quantization_mode)
    return recast


def _floating_policy(dtype):
    """The dtype policy that `dtype` names.

    Raises:
        ValueError: no such policy, or one that does not compute in floating point.
    """
    rule = (
        f"dtype={dtype!r} is no Keras dtype policy for a model. Give one of floating point, such as 'float32' or "
        "'mixed_bfloat16', or 'int8_from_float32' for products in 8-bit integers."
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
        ValueError: two tokenizers that differ; the message names them.
        FileNotFoundError: a folder without a tokenizer.
    """
    paths = [folder / TOKENIZER_FILE for folder in folders]
    first, *others = paths
    for other in others:
        if other.read_bytes() != first.read_bytes():
            raise ValueError(f"{other} differs from {first}. The models of an ensemble need one vocabulary.")
    return first
