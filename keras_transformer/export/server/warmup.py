"""Writes warm-up requests. A server runs them when it loads the model, so the first caller need not wait."""

import tensorflow as tf

from keras_transformer.export.checks.example_inputs import fitting_inputs
from keras_transformer.export.checks.saved_model import WARMUP_FILE
from keras_transformer.export.server.server_protos import prediction_log
from keras_transformer.files import written_beside

MAX_RECORDS = 1000  # a server refuses a model with more


def write_warmup(contents, sentences, batch_sizes=(1, 8), translations=None):
    """Write TF Serving's warm-up records for every signature and batch size into a SavedModel's folder.

    A server runs the requests in `assets.extra/tf_serving_warmup_requests` in order when it loads the model.

    Args:
        contents: the `Contents` of the folder, from `read_saved_model`.
        sentences: strings like those that users will send.
        batch_sizes: ints, the batch sizes for each signature, not above the server's `max_batch_size`.
        translations: strings for inputs of that name. Default: the sentences.

    Returns:
        int, the number of records.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
        ValueError: more than 1,000 records, or a batch size below 1, or an input for which `fitting_inputs` makes no
            array.
    """
    signatures = contents.signatures
    prediction_log()  # an ImportError must come before anything is written
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(f"batch_sizes must be one or more ints of at least 1, got {batch_sizes!r}.")
    count = len(signatures) * len(batch_sizes)
    if count > MAX_RECORDS:
        raise ValueError(
            f"{len(signatures)} signatures in {len(batch_sizes)} batch sizes are {count} warm-up records, but a server "
            f"takes at most {MAX_RECORDS}. Give fewer batch_sizes."
        )
    file = contents.path / WARMUP_FILE
    with written_beside(file, overwrite=True) as beside, tf.io.TFRecordWriter(str(beside)) as writer:
        for batch_size in sorted(batch_sizes):
            for name, signature in signatures.items():
                record = prediction_log()
                request = record.predict_log.request
                request.model_spec.signature_name = name
                for key, array in fitting_inputs(signature, batch_size, sentences, translations).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
                writer.write(record.SerializeToString())
    return count
