"""SavedModels of a few ops, with the signatures of a translator's export."""

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_transformer.export.checks.saved_model import WARMUP_FILE


def echo(sentences):
    """The translation is the sentence in capitals. The score is minus its length."""
    lengths = tf.strings.length(sentences, unit="UTF8_CHAR")
    return {
        "translations": tf.strings.upper(sentences, encoding="utf-8"),
        "scores": -tf.cast(lengths, tf.float32),
        "truncated": lengths > 20,
    }


def n_best(sentences):
    """Two translations: that of `echo`, then the sentence itself."""
    best = echo(sentences)
    return {
        "translations": tf.stack([best["translations"], sentences], axis=1),
        "scores": tf.stack([best["scores"], best["scores"] - 1], axis=1),
    }


def score(sentences, translations):
    return {"scores": tf.cast(tf.strings.length(sentences) - tf.strings.length(translations), tf.float32)}


def ids(source_ids):
    return {"ids": source_ids[:, ::-1]}


def save(path, serving_default=echo, jit_compile=False, **more):
    """Write a SavedModel of plain functions. Their arguments are strings [B], or `source_ids`, int32 (B, S)."""
    module = tf.Module()
    signatures = {}
    for name, function in {"serving_default": serving_default, **more}.items():
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        specs = [
            tf.TensorSpec([None, None], tf.int32, argument)
            if argument == "source_ids"
            else tf.TensorSpec([None], tf.string, argument)
            for argument in arguments
        ]
        compiled = tf.function(function, input_signature=specs, jit_compile=jit_compile, autograph=False)
        setattr(module, name, compiled)
        signatures[name] = compiled
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def save_all(path):
    """Write a SavedModel whose signatures take strings, pairs of strings, and ids."""
    return save(path, score=score, ids=ids)


def replay(path):
    """Yield (request, outputs of a session) for each request in a SavedModel's warm-up file."""
    records = list(tf.data.TFRecordDataset(str(path / WARMUP_FILE)).as_numpy_iterator())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(path)).signature_def
        for record in records:
            log = PredictionLog.FromString(record)
            assert log.WhichOneof("log_type") == "predict_log"
            request = log.predict_log.request
            signature = signatures[request.model_spec.signature_name]
            assert set(request.inputs) == set(signature.inputs)
            feed = {signature.inputs[key].name: tf.make_ndarray(value) for key, value in request.inputs.items()}
            yield request, session.run({key: info.name for key, info in signature.outputs.items()}, feed)
