"""Read `.keras` files."""

import keras

from keras_transformer.backend.int8 import IntegersNotExact


def read_keras(path):
    """Read the model of a `.keras` file, of any class, without its optimizer, which would need twice its memory.

    Raises:
        ValueError: the file is broken; the message names it.
        IntegersNotExact: this machine cannot run the model's 8-bit integers; see `Transformer.quantize`.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except IntegersNotExact:  # the machine's fault, not the file's
        raise
    except Exception as error:  # Keras, zipfile and h5py raise many types for a broken file
        raise ValueError(f"{path} cannot be read as a Keras model: {error}") from error
