"""Read the files that training or `Translator.save` wrote."""

from pathlib import Path
from typing import Any

import keras

from keras_transformer.backend.forks import check_process
from keras_transformer.backend.int8 import floating_policy, recast
from keras_transformer.files import MODEL_FILE
from keras_transformer.inputs.addresses import read_address
from keras_transformer.inputs.paths import AnyPath, check_source, checked_path
from keras_transformer.inputs.tokenizers import PAIR_FILES, TOKENIZER_FILE, TOKENIZER_FILES, tokenizer_files
from keras_transformer.keras_files import read_keras
from keras_transformer.model import Transformer
from keras_transformer.readers.addresses import local_folder
from keras_transformer.text.pair import read_tokenizer

# What a folder is that holds no model, by a file in it, and what to do.
OTHER_FOLDERS = {
    "saved_model.pb": "an export. Run it with tf.saved_model.load, or give the training folder that it was made from",
    "model.bin": "a folder for CTranslate2. Give the training folder that it was made from",
    "vocab.json": "a folder of Hugging Face. Read it with keras_transformer.interop.marian.load",
    "task.json": "a preset of keras-hub. Read it with keras_transformer.interop.keras_hub.load",
}
# What is downloaded from an address. The small files of the other folders tell what the folder is instead.
DOWNLOADED = (MODEL_FILE, *TOKENIZER_FILES, "vocab.json", "task.json")


def load_model(path: AnyPath, dtype: Any = None) -> Transformer:
    """Read a `.keras` file that holds a `Transformer`, for translating: without its optimizer.

    Args:
        path: the file.
        dtype: a Keras dtype policy in place of the one that the model was trained under. A quantized policy
            quantizes the model.

    Raises:
        OSError: no such file, or no permission to read it.
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
    path = check_source(path)
    policy = None if dtype is None else _floating_policy(dtype)
    check_process()
    model = read_keras(path)
    if not isinstance(model, Transformer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a Transformer of keras_transformer.")
    if policy is None:
        return model
    if model.quantized and not policy.quantization_mode:
        raise ValueError(
            f"{path} holds 8-bit integers: it cannot be read under dtype {policy.name!r}. "
            f"Give dtype='int8_from_{model.dtype_policy.name}', or the folder that it was quantized from."
        )
    quantize = policy.quantization_mode and not model.quantized
    copy = recast(model, floating_policy(policy) if quantize else dtype)
    if quantize:
        copy.quantize(policy.quantization_mode)
    return copy


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


def training_folders(folder):
    """Return the paths that the argument `folder` of `Translator.load` names: one folder, or a list of them.

    Raises:
        ValueError: an empty list, or an address of another form: before the first download.
        OSError, ImportError: see `training_folder`.
    """
    if not isinstance(folder, list | tuple):
        return [training_folder(folder)]
    if not folder:
        raise ValueError("folder is an empty list. Give a folder, or a list of at least one.")
    named = {f"folder[{index}]": path for index, path in enumerate(folder)}
    for argument, path in named.items():
        read_address(path, argument)
    return [training_folder(path, argument) for argument, path in named.items()]


def training_folder(folder, argument="folder"):
    """Return the `Path` of a folder that holds a model and its tokenizer.

    Args:
        folder: a path, or an address; see `local_folder`, which downloads it.
        argument: the name of the argument, for messages.

    Raises:
        OSError: there is no such folder, one of the files is missing, or one may not read it. The message says what is
            there instead, and what to do. Or a download failed.
        ValueError: the files of two tokenizers are there, or the address has another form.
        ImportError: the package that downloads is not installed.
    """
    path = Path(checked_path(local_folder(folder, DOWNLOADED, argument), argument))
    if path.is_file():
        raise NotADirectoryError(f"{argument}={str(path)!r} is a file, and no folder. {_remedy_for_file(path)}")
    path = check_source(path, "folder", argument)
    if not (path / MODEL_FILE).exists():
        raise FileNotFoundError(f"{argument}={str(folder)!r} holds no {MODEL_FILE}. {_what_is_in(path)}.")
    tokenizer_files(path)
    return path


def _remedy_for_file(path):
    """What to do with a file that was given as a folder."""
    if path.suffix != ".keras" or path.name == MODEL_FILE:
        return f"Give the folder that holds {MODEL_FILE} and {TOKENIZER_FILE}, for example {str(path.parent)!r}."
    call = f"Tokenizer.load({str(path.with_name(TOKENIZER_FILE))!r})"
    if path.with_name(PAIR_FILES["source"]).exists():
        call = f"TokenizerPair.load({str(path.parent)!r})"
    return f"To translate with it: Translator(load_model({str(path)!r}), {call})."


def _what_is_in(folder):
    """What a folder without a model is, and what to do."""
    for name, meaning in OTHER_FOLDERS.items():
        if (folder / name).exists():
            return f"It is {meaning}"
    if inside := sorted(path.parent for path in folder.glob(f"*/{MODEL_FILE}")):
        return f"Give the folder of a model in it, for example {str(inside[0])!r}"
    if exports := sorted(path.parent.name for path in folder.glob("*/saved_model.pb")):
        return f"It holds the export {exports[0]!r}. {OTHER_FOLDERS['saved_model.pb'].removeprefix('an export. ')}"
    if others := sorted(folder.glob("*.keras")):
        return f"It holds {others[0].name}. {_remedy_for_file(others[0])}".removesuffix(".")
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    return f"It holds {names}. Give a folder that training or Translator.save wrote"


def load_tokenizer(folders):
    """The `Tokenizer`, or the `TokenizerPair`, that all `folders` hold.

    Raises:
        ValueError: two tokenizers that differ, or a file that is none; the message names them.
        FileNotFoundError: a folder without a tokenizer.
    """
    first, *others = map(tokenizer_files, folders)
    for other in others:
        for path, expected in zip(other, first, strict=False):
            if path.name != expected.name or path.read_bytes() != expected.read_bytes():
                raise ValueError(f"{path} differs from {expected}. The models of an ensemble need one vocabulary.")
    return read_tokenizer(folders[0])
