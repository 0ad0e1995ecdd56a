"""Asks exports in a clean process that has TensorFlow and cannot find this package."""

import json
import os
import subprocess
import sys
from pathlib import Path

CLIENT = """
import gc, json, sys
gc.disable()  # the process is short
import numpy as np
import tensorflow as tf
import tensorflow_text

assert not any(name.partition(".")[0] in ("keras_transformer", "keras_hub", "keras_nlp") for name in sys.modules)
DTYPES = {"source_ids": np.int32}

def eager(path):
    signatures = tf.saved_model.load(path).signatures
    return lambda name, inputs: {key: value.numpy() for key, value in signatures[name](
        **{key: tf.constant(value) for key, value in inputs.items()}).items()}

def session(path):
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
    def ask(name, inputs):
        signature = signatures[name]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[key].name: value for key, value in inputs.items()})
    return ask

def array(key, value):
    if key in DTYPES:
        return np.array(value, DTYPES[key]).reshape(len(value), len(value[0]) if value else 0)
    return np.array([text.encode("utf-8", "surrogateescape") for text in value], object)

def to_json(value):
    if isinstance(value, bytes):
        return value.decode()  # an error if it is not UTF-8
    return [to_json(entry) for entry in value] if isinstance(value, list) else value

loaded, answers = {}, []
for loader, path, name, inputs in json.load(sys.stdin):
    if (loader, path) not in loaded:
        loaded[loader, path] = {"eager": eager, "again": eager, "session": session}[loader](path)
    try:
        outputs = loaded[loader, path](name, {key: array(key, value) for key, value in inputs.items()})
        answers.append({key: to_json(value.tolist()) for key, value in outputs.items()})
    except tf.errors.InvalidArgumentError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


def ask_a_clean_process(requests, folder):
    """Send all requests to one process.

    Args:
        requests: tuples of a loader, the path of an export, the name of a signature, and its inputs. The loader is
            "session" (the server's), "eager", or "again" (a second eager load). The inputs are {name: list}. Strings
            may hold any bytes, written with `surrogateescape`.
        folder: the process runs in this folder.

    Returns:
        The answers in order: {output name: list}, or {"error": message}.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "startup")}
    result = subprocess.run(
        [sys.executable, "-P", "-c", CLIENT],
        input=json.dumps([(loader, str(path), *rest) for loader, path, *rest in requests]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])
