"""The one way to read a `.keras` file."""

import keras

from keras_transformer.backend.int8 import IntegersNotExact


def read_keras(path):
    """The model of a file, of any class, without its optimizer, whose state would treble the memory.

    Raises:
        ValueError: a broken file; the message names it.
        IntegersNotExact: see `Transformer.quantize`.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except IntegersNotExact:  # of this machine, not of the file
        raise
    except Exception as error:  # whatever a broken archive makes Keras, zipfile or h5py raise
        raise ValueError(f"{path} cannot be read as a Keras model: {error}") from error
