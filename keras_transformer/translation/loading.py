"""Read what training or `Translator.save` wrote."""

from pathlib import Path

import keras

from keras_transformer.files import MODEL_FILE, TOKENIZER_FILE
from keras_transformer.model import Transformer


def load_model(path, dtype=None):
    """Read a `.keras` file that holds a `Transformer`, for translating: without its optimizer.

    Args:
        path: the file.
        dtype: a Keras dtype policy instead of the trained one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken file, or another kind of model; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. A training folder holds {MODEL_FILE} and {TOKENIZER_FILE}.")
    try:
        model = keras.saving.load_model(path, compile=False)  # an optimizer's state would treble the memory
    except Exception as error:  # whatever a broken archive makes Keras, zipfile or h5py raise
        raise ValueError(f"{path} cannot be read as a Keras model: {error}") from error
    if not isinstance(model, Transformer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a Transformer of keras_transformer.")
    if dtype is None:
        return model
    recast = type(model).from_config({**model.get_config(), "dtype": dtype})
    recast.set_weights(model.get_weights())
    return recast


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
