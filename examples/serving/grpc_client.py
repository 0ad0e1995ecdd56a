"""Translate through the gRPC interface of TensorFlow Serving. Needs tensorflow-serving-api and typer.

    python grpc_client.py --host localhost:8500 --model en_de "A man rides a horse."

or, in a program:

    client = GrpcClient("localhost:8500", "en_de")
    client.translate(["A man rides a horse."])
"""

import contextlib
import importlib.util
import math
import sys
import types

import typer
from serving_client import Client, ServingError, command, missing

try:
    import grpc
except ImportError as error:
    raise missing("grpcio", error) from error


@contextlib.contextmanager
def without_tensorflow():
    """Prevent the imports in the block from starting TensorFlow, which takes seconds.

    The messages of tensorflow-serving-api need `tensorflow.core.framework.*_pb2`. For these, Python would run
    `tensorflow/__init__.py`. An empty package with the same folder is enough. TensorFlow can be imported afterwards.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    if (spec := importlib.util.find_spec("tensorflow")) is None:
        raise ModuleNotFoundError("No module named 'tensorflow'")
    folders = spec.submodule_search_locations
    package = sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    package.__path__ = list(folders)
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


try:
    with without_tensorflow():
        from tensorflow_serving.apis.predict_pb2 import PredictRequest
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
except ImportError as error:
    raise missing("tensorflow-serving-api", error) from error

DT_INT32, DT_STRING = 3, 7
# The type of a tensor: the field with its values, and their format if they come as bytes.
FIELDS = {1: ("float_val", "f"), 3: ("int_val", "i"), 7: ("string_val", None), 10: ("bool_val", "?")}

CHANNEL = [
    ("grpc.max_send_message_length", -1),  # the alignments of a batch of long texts need more than the default of 4 MB
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),  # the client itself retries
    ("grpc.initial_reconnect_backoff_ms", 100),  # with the default, a second attempt would not look for the server
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class GrpcClient(Client):
    """A `Client` whose address is host:port. The connection is not encrypted."""

    OPTION, DEFAULT = "--host", "localhost:8500"

    def __init__(self, address, model, version=None, **limits):
        super().__init__(address, model, version, **limits)
        if "://" in address:
            raise ValueError(f"address must be host:port, for example {self.DEFAULT}, got {address!r}.")
        self.channel = grpc.insecure_channel(address, options=CHANNEL)
        self.stub = PredictionServiceStub(self.channel)

    def ask(self, columns, signature, seconds):
        request = PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        for name, values in columns.items():
            fill(request.inputs[name], values)
        try:
            response = self.stub.Predict(request, timeout=seconds)
        except grpc.RpcError as error:
            raise ServingError(error.code().name, error.details()) from error
        return {name: values_of(tensor) for name, tensor in response.outputs.items()}

    def close(self):
        self.channel.close()


def fill(tensor, values):
    """Write a list of strings, or a list of lists of ints with one length, into a TensorProto."""
    tensor.tensor_shape.dim.add(size=len(values))
    if isinstance(values[0], str):
        tensor.dtype = DT_STRING
        tensor.string_val.extend(value.encode("utf-8") for value in values)
    else:
        tensor.dtype = DT_INT32
        tensor.tensor_shape.dim.add(size=len(values[0]))
        tensor.int_val.extend(value for row in values for value in row)


def values_of(tensor):
    """Return the values of a TensorProto as nested lists."""
    if tensor.dtype not in FIELDS:
        raise ServingError("INTERNAL", f"an output has type {tensor.dtype}; this client knows {sorted(FIELDS)}.")
    field, code = FIELDS[tensor.dtype]
    values = list(getattr(tensor, field))
    if code is None:
        values = [value.decode("utf-8") for value in values]
    elif tensor.tensor_content:
        values = memoryview(tensor.tensor_content).cast(code).tolist()
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    values += values[-1:] * (math.prod(shape) - len(values))  # a repeated last value may be sent once
    return nested(iter(values), shape)


def nested(values, shape):
    """Return the next values of an iterator as nested lists of this shape."""
    return [nested(values, shape[1:]) for _ in range(shape[0])] if shape else next(values)


if __name__ == "__main__":
    typer.run(command(GrpcClient))
