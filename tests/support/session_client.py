"""A SavedModel the way TF Serving loads it: `tf.compat.v1.saved_model.load` into a session, tag "serve".

TensorFlow, NumPy and TensorFlow Text's op libraries are all it needs; `session_process` runs it where Keras cannot be
imported, and under older versions of TensorFlow.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

TYPES = {tf.string: object, tf.int32: np.int32, tf.int64: np.int64, tf.float32: np.float32, tf.bool: np.bool_}


def text_op_libraries():
    """The paths of TensorFlow Text's op libraries."""
    libraries = [path for one in sys.path for path in sorted(Path(one, "tensorflow_text", "python").rglob("*.so"))]
    if not libraries:
        raise FileNotFoundError("no op library of tensorflow_text on sys.path: is tensorflow-text installed?")
    return libraries


def load_text_ops():
    """TensorFlow Text's ops without its Python, which would import more."""
    for library in text_op_libraries():
        tf.load_op_library(str(library))


class Served:
    """An export in a session of its own.

    Args:
        path: the version's folder.
        threads: TensorFlow's threads; 0 is its own choice.
    """

    def __init__(self, path, threads=0):
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = {
            name: signature
            for name, signature in meta.signature_def.items()
            if signature.method_name == "tensorflow/serving/predict"
        }

    def __call__(self, signature, **inputs):
        """The outputs' arrays by name.

        Args:
            signature: its name.
            **inputs: a list or array for each of its inputs.
        """
        chosen = self.signatures[signature]
        if set(inputs) != set(chosen.inputs):
            raise ValueError(f"{signature} takes {sorted(chosen.inputs)}, got {sorted(inputs)}.")
        feed = {chosen.inputs[name].name: self._array(chosen.inputs[name], value) for name, value in inputs.items()}
        return self.session.run({name: info.name for name, info in chosen.outputs.items()}, feed)

    @staticmethod
    def _array(info, value):
        """NumPy alone would cut a string at its trailing NULs, and knows no type for an empty list."""
        array = np.array(value, TYPES[tf.as_dtype(info.dtype)])
        return array.reshape([len(array), *(array.shape[1:] or [0] * (len(info.tensor_shape.dim) - 1))])

    def described(self):
        """The signatures as {name: {"inputs": {name: tensor name}, "outputs": …}}."""
        return {
            name: {
                side: {key: info.name for key, info in getattr(chosen, side).items()} for side in ("inputs", "outputs")
            }
            for name, chosen in self.signatures.items()
        }
