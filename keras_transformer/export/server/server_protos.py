"""Messages of TensorFlow Serving, from tensorflow-serving-api. One that the package lacks is defined here."""

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2


def prediction_log():
    """An empty `PredictionLog`: the record of one request.

    Raises:
        ImportError: tensorflow-serving-api is not installed. The message says how to install it.
    """
    try:
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
    except ImportError as error:
        raise _missing() from error
    return PredictionLog()


def model_server_config():
    """An empty `ModelServerConfig`: the content of the file in `--model_config_file`.

    Raises:
        ImportError: as in `prediction_log`.
    """
    try:
        from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig
    except ImportError as error:
        raise _missing() from error
    return ModelServerConfig()


def batching_parameters():
    """An empty `BatchingParameters`: the content of the file in `--batching_parameters_file`."""
    return _batching_parameters()()


@cache
def _batching_parameters():
    """The class of `BatchingParameters`. No package has it; it follows TF Serving's session_bundle_config.proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="session_bundle_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    integers = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    wrapped = [*((name, "Int64Value") for name in integers), ("thread_pool_name", "StringValue")]
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
        "The files for a server need the package tensorflow-serving-api. Install it with "
        'pip install "keras-transformer-translation[serving]".'
    )
