"""A program that `verify` starts: it runs a SavedModel in a process that has TensorFlow but cannot import Keras.

It reads JSON from standard input: "path", and "requests", a list of signature names with their inputs.
It writes JSON as the last line of standard output: for each request a dictionary of output name to dtype, shape and
values.
"""

import gc
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

gc.disable()  # the process is short, and keeps almost all that it makes
text = importlib.util.find_spec("tensorflow_text")
# TensorFlow imports Keras if it can, and works without it. After this loop every import of these names fails.
for name in ("keras", "tf_keras", "keras_hub", "keras_nlp", "keras_transformer", "tensorflow_text"):
    sys.modules[name] = None

import tensorflow as tf  # noqa: E402


def load_text_ops():
    """Load TensorFlow Text's op libraries, but not its Python code, which needs Keras."""
    for library in sorted(Path(text.origin).parent.rglob("_*.so")) if text else ():
        tf.load_op_library(str(library))


def answers(path, requests):
    """Yield the outputs of each request, as a dictionary of name to array."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
        for name, inputs in requests:
            signature = signatures[name]
            feed = {signature.inputs[key].name: value for key, value in inputs.items()}
            yield session.run({key: info.name for key, info in signature.outputs.items()}, feed)


def to_json(array):
    """An array as a dictionary that JSON can hold. Bytes that are not UTF-8 become lone surrogates."""
    if array.dtype == object:
        array = np.array([value.decode(errors="surrogateescape") for value in array.flat], object).reshape(array.shape)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}


if __name__ == "__main__":
    task = json.load(sys.stdin)
    load_text_ops()
    outputs = answers(task["path"], task["requests"])
    print(json.dumps([{key: to_json(array) for key, array in output.items()} for output in outputs]))
