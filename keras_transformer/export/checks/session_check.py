"""Run by `verify` as a program of its own: a SavedModel in a process that has TensorFlow and no Keras.

Standard input: JSON of "path" and "requests", a list of signature name and inputs.
The last line of standard output: JSON of the answers, a list of output name to dtype, shape and values.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

text = importlib.util.find_spec("tensorflow_text")
# TensorFlow would import Keras by itself, and does without where it cannot: from here on, importing these fails.
for name in ("keras", "tf_keras", "keras_hub", "keras_nlp", "keras_transformer", "tensorflow_text"):
    sys.modules[name] = None

import tensorflow as tf  # noqa: E402


def load_text_ops():
    """TensorFlow Text's op libraries, without its Python side, which needs Keras."""
    for library in sorted(Path(text.origin).parent.rglob("_*.so")) if text else ():
        tf.load_op_library(str(library))


def answers(path, requests):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
        for name, inputs in requests:
            signature = signatures[name]
            feed = {signature.inputs[key].name: value for key, value in inputs.items()}
            yield session.run({key: info.name for key, info in signature.outputs.items()}, feed)


def plain(array):
    """An array as JSON can hold it; bytes that are no UTF-8 as lone surrogates."""
    if array.dtype == object:
        array = np.array([value.decode(errors="surrogateescape") for value in array.flat], object).reshape(array.shape)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    load_text_ops()
    found = answers(asked["path"], asked["requests"])
    print(json.dumps([{key: plain(array) for key, array in answer.items()} for answer in found]))
