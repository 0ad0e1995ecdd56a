"""Requests that a server answers for itself before it takes any, so that the first caller does not wait."""

from pathlib import Path

import tensorflow as tf

from keras_transformer.export.checks.example_inputs import fitting_inputs
from keras_transformer.export.checks.saved_model import WARMUP_FILE, read_saved_model
from keras_transformer.export.server.server_protos import prediction_log
from keras_transformer.files import written_beside

MOST = 1000  # records that a server takes; it refuses the model otherwise


def write_warmup(path, sentences, batch_sizes=(1, 8), translations=None):
    """Write TF Serving's warm-up records for every signature and batch size into a SavedModel's folder.

    A server replays `assets.extra/tf_serving_warmup_requests` in order when it loads the model.

    Args:
        path: the folder.
        sentences: strings like those that will be asked.
        batch_sizes: ints, the batches of each signature; none above the server's `max_batch_size`.
        translations: strings, for inputs of that name. Default: the sentences.

    Returns:
        int, how many records were written.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
        ValueError: more than 1,000 records, a batch size below 1, or an input that nothing is known for.
    """
    path = Path(path)
    prediction_log()  # before anything is written
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(f"batch_sizes must be one or more ints of at least 1, got {batch_sizes!r}.")
    signatures = read_saved_model(path).signatures
    count = len(signatures) * len(batch_sizes)
    if count > MOST:
        raise ValueError(
            f"{len(signatures)} signatures in {len(batch_sizes)} batch sizes are {count} warm-up records; "
            f"a server takes at most {MOST}."
        )
    with written_beside(path / WARMUP_FILE, overwrite=True) as beside, tf.io.TFRecordWriter(str(beside)) as writer:
        for batch_size in sorted(batch_sizes):
            for name, signature in signatures.items():
                record = prediction_log()
                request = record.predict_log.request
                request.model_spec.signature_name = name
                for key, array in fitting_inputs(signature, batch_size, sentences, translations).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
                writer.write(record.SerializeToString())
    return count
