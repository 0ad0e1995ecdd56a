"""Run by `verify` as a program of its own: a SavedModel in a process that has TensorFlow and no Keras.

Standard input: JSON of "path", "requests" (a list of signature name and inputs; a string is its UTF-8).
The last line of standard output: JSON of one entry a request: output name to dtype and values.
"""

import importlib.util
import json
import sys
from pathlib import Path

import tensorflow as tf

FOREIGN = ("keras", "tf_keras", "keras_hub", "keras_nlp", "keras_transformer", "tensorflow_text")


def load_text_ops():
    """TensorFlow Text's op libraries alone: its Python side would import Keras."""
    found = importlib.util.find_spec("tensorflow_text")
    for library in sorted(Path(found.origin).parent.rglob("_*.so")) if found else ():
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
    values = array.tolist()
    if array.dtype == object:
        values = [value.decode(errors="surrogateescape") for value in array.ravel().tolist()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    load_text_ops()
    found = [
        {key: plain(array) for key, array in answer.items()} for answer in answers(asked["path"], asked["requests"])
    ]
    present = sorted({name.partition(".")[0] for name in sys.modules}.intersection(FOREIGN))
    assert not present, f"{present} were imported"
    print(json.dumps(found))
