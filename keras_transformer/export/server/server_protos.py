"""Messages of TensorFlow Serving, which tensorflow-serving-api brings, but for one."""

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2


def prediction_log():
    """An empty `PredictionLog`, a record of a request.

    Raises:
        ImportError: tensorflow-serving-api is not installed; the message says how.
    """
    try:
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
    except ImportError as error:
        raise _missing() from error
    return PredictionLog()


def model_server_config():
    """An empty `ModelServerConfig`, of `--model_config_file`.

    Raises:
        ImportError: as in `prediction_log`.
    """
    try:
        from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig
    except ImportError as error:
        raise _missing() from error
    return ModelServerConfig()


def batching_parameters():
    """An empty `BatchingParameters`, of `--batching_parameters_file`."""
    return _batching_parameters()()


@cache
def _batching_parameters():
    """Its class, described here after TF Serving's session_bundle_config.proto, which no package brings."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="session_bundle_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    numbers = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    wrapped = [*((name, "Int64Value") for name in numbers), ("thread_pool_name", "StringValue")]
    for number, (name, wrapper) in enumerate(wrapped, start=1):
        message.field.add(
            name=name,
            number=number,
            type=kinds.TYPE_MESSAGE,
            label=kinds.LABEL_OPTIONAL,
            type_name=f".google.protobuf.{wrapper}",
        )
    message.field.add(name="allowed_batch_sizes", number=6, type=kinds.TYPE_INT64, label=kinds.LABEL_REPEATED)
    message.field.add(name="pad_variable_length_inputs", number=7, type=kinds.TYPE_BOOL, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))


def _missing():
    return ImportError(
        "The files for a server need the package tensorflow-serving-api: "
        'pip install "keras-transformer-translation[serving]".'
    )
