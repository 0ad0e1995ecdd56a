"""Loads a SavedModel as TF Serving does: `tf.compat.v1.saved_model.load` into a session, with the tag "serve".

It needs only TensorFlow, NumPy and the op libraries of TensorFlow Text. `session_process` runs it in a process that
cannot import Keras, also with older versions of TensorFlow.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

TYPES = {tf.string: object, tf.int32: np.int32, tf.int64: np.int64, tf.float32: np.float32, tf.bool: np.bool_}


def text_op_libraries():
    """The paths of TensorFlow Text's op libraries."""
    folders = [Path(folder, "tensorflow_text", "python") for folder in sys.path]
    libraries = [path for folder in folders for path in sorted(folder.rglob("*.so"))]
    if not libraries:
        raise FileNotFoundError("sys.path has no op library of tensorflow_text. Install tensorflow-text.")
    return libraries


def load_text_ops():
    """Load TensorFlow Text's ops, but not its Python code, which would import more packages."""
    for library in text_op_libraries():
        tf.load_op_library(str(library))


class Served:
    """An export in a session of its own.

    Args:
        path: the folder of a version.
        threads: the number of TensorFlow's threads. 0 lets TensorFlow choose.
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
        """Ask a signature.

        Args:
            signature: the name of the signature.
            **inputs: a list or an array for each of its inputs.

        Returns:
            {output name: array}.
        """
        chosen = self.signatures[signature]
        if set(inputs) != set(chosen.inputs):
            raise ValueError(f"{signature} takes {sorted(chosen.inputs)}, got {sorted(inputs)}.")
        feed = {chosen.inputs[name].name: self._array(chosen.inputs[name], value) for name, value in inputs.items()}
        return self.session.run({name: info.name for name, info in chosen.outputs.items()}, feed)

    @staticmethod
    def _array(info, value):
        """An array of the input's dtype. NumPy's own choice would cut trailing NULs of strings, and fail on []."""
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
