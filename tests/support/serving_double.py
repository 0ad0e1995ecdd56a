"""A test double of TensorFlow Serving's model server, for machines where the server cannot be installed.

It loads a SavedModel as the server does, by `tf.compat.v1.saved_model.load(session, ["serve"], path)`. It answers
gRPC's PredictionService and the REST interface (`serving_rest.py`). It copies the server's formats and errors, and
its batching: requests for a signature that wait at the same time are joined along dimension 0, run once and split.
Where their shapes differ, each request is padded with its own first element (`pad_variable_length_inputs`). The
joined batch is filled up to an allowed size with copies of the first row of its last request. It does not copy the
server's speed.

    python tests/support/serving_double.py saved_models/en_de/1 --model en_de

serves until its standard input ends. Its first line of output is a JSON object with the ports. Its last line has
counts.
"""

import contextlib
import dataclasses
import json
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import grpc
import numpy as np
import serving_rest
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
import typer
from serving_rest import Refused
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def until(condition, seconds=120.0):
    """Wait until other threads have made a condition true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the condition was not true after {seconds} s.")
        time.sleep(0.002)


@dataclasses.dataclass(frozen=True)
class Batching:
    """The options of the server's batching file.

    They are `max_batch_size`, `batch_timeout_micros` (here in seconds), `num_batch_threads`, `max_enqueued_batches` and
    `allowed_batch_sizes`.
    """

    max_size: int = 64
    wait: float = 0.005
    threads: int = 2
    max_enqueued: int = 1000
    allowed: tuple = ()


class Batch:
    """Requests that become one run of the session."""

    def __init__(self):
        self.requests, self.sizes, self.outputs, self.error = [], [], None, None
        self.full, self.done = threading.Event(), threading.Event()

    def rows(self, allowed):
        size = sum(self.sizes)
        return next((limit for limit in allowed if limit >= size), size)


def pad_to(array, shape):
    """Pad every dimension but the first up to `shape`, with the array's first element."""
    widths = [(0, 0), *((0, new - old) for old, new in zip(array.shape[1:], shape[1:], strict=True))]
    if not any(after for _, after in widths):
        return array
    if not array.size:
        raise Refused("INVALID_ARGUMENT", "Got empty tensor in batch of non-empty tensors.")
    return np.pad(array, widths, constant_values=array.flat[0])


def joined(arrays, rows):
    """Join the arrays of the requests of a batch into one array with `rows` rows."""
    shape = np.max([array.shape for array in arrays], axis=0)
    padded = [pad_to(array, shape) for array in arrays]
    missing = rows - sum(len(array) for array in padded)
    return np.concatenate(padded + [padded[-1][:1]] * missing)


class Model:
    """A version of a model in its own session.

    `runs` is the number of the session's runs, and `sizes` are the rows of each run. `free` is a semaphore for the
    threads that may run a batch.
    """

    def __init__(self, path, batching):
        self.batching = batching
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = dict(meta.signature_def)
        self.runs, self.sizes = 0, []
        self._lock, self._open, self._waiting = threading.Lock(), {}, 0
        self.free = threading.Semaphore(batching.threads if batching else 1000)

    def predict(self, name, inputs):
        """Return output arrays by name for input arrays by name. Requests of the same time share a batch."""
        signature = self.signatures.get(name)
        if signature is None:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        if set(inputs) != set(signature.inputs):
            sent, wanted = (",".join(sorted(names)) for names in (inputs, signature.inputs))
            message = f"input size does not match signature: len({{{sent}}}) != len({{{wanted}}})."
            raise Refused("INVALID_ARGUMENT", message)
        for key, array in inputs.items():
            if tf.as_dtype(signature.inputs[key].dtype) != tf.as_dtype(array.dtype):
                raise Refused("INVALID_ARGUMENT", f"input {key} has dtype {array.dtype}, not the signature's.")
        if self.batching is None:
            return self._run(signature, inputs)
        return self._in_a_batch(name, signature, inputs)

    def waiting_rows(self, name):
        """Return the number of rows in the open batch of a signature."""
        with self._lock:
            return sum(self._open[name].sizes) if name in self._open else 0

    def _in_a_batch(self, name, signature, inputs):
        sizes = {array.shape[:1] for array in inputs.values()}
        if len(sizes) != 1 or () in sizes:
            message = "Batching session Run() input tensors must have equal 0th-dimension size"
            raise Refused("INVALID_ARGUMENT", message)
        [(size,)] = sizes
        batch, place, is_new = self._join(name, inputs, size)
        if is_new:
            self._run_batch(name, signature, batch)
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        start = sum(batch.sizes[:place])
        return {key: array[start : start + size] for key, array in batch.outputs.items()}

    def _join(self, name, inputs, size):
        """Put a request into the open batch or into a new one. Return the batch, its place there and if it is new."""
        limit = self.batching.max_size
        if size > limit:
            raise Refused("INVALID_ARGUMENT", f"Task size {size} is larger than maximum input batch size {limit}")
        with self._lock:
            batch = self._open.get(name)
            is_new = batch is None or sum(batch.sizes) + size > limit
            if is_new:
                if self._waiting >= self.batching.max_enqueued:
                    message = "The batch scheduling queue to which this task was submitted is full"
                    raise Refused("UNAVAILABLE", message)
                if batch is not None:
                    batch.full.set()
                self._waiting += 1
                batch = self._open[name] = Batch()
            batch.requests.append(inputs)
            batch.sizes.append(size)
            if sum(batch.sizes) == limit:
                batch.full.set()
            return batch, len(batch.sizes) - 1, is_new

    def _run_batch(self, name, signature, batch):
        """Wait for more requests and for a free thread, then run the batch."""
        end = time.monotonic() + self.batching.wait
        with self.free:
            batch.full.wait(max(0.0, end - time.monotonic()))
            with self._lock:
                self._waiting -= 1
                if self._open.get(name) is batch:
                    del self._open[name]
            try:
                rows = batch.rows(self.batching.allowed)
                inputs = {key: joined([request[key] for request in batch.requests], rows) for key in batch.requests[0]}
                batch.outputs = self._run(signature, inputs)
                if any(array.shape[:1] != (rows,) for array in batch.outputs.values()):
                    message = "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes"
                    raise Refused("FAILED_PRECONDITION", f"{message} of the input tensors")
            except Exception as error:
                batch.error = error
            batch.done.set()

    def _run(self, signature, inputs):
        feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
        with self._lock:
            self.runs += 1
            self.sizes.append(max((len(array) for array in inputs.values() if array.ndim), default=1))
        try:
            return self.session.run({key: value.name for key, value in signature.outputs.items()}, feeds)
        except tf.errors.OpError as error:
            raise Refused(CODES[error.error_code], error.message) from error


class Double(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The server, for a `with` statement. `grpc_port` and `rest_port` are its ports on 127.0.0.1.

    Args:
        models: {name: {version: path}}.
        batching: `Batching`, or None to run each request alone.
    """

    def __init__(self, models, batching=None, threads=64, grpc_port=0):
        self.models = {
            name: {version: Model(path, batching) for version, path in versions.items()}
            for name, versions in models.items()
        }
        self.requests = 0
        self.faults, self._lock = deque(), threading.Lock()
        self._grpc = grpc.server(
            ThreadPoolExecutor(threads), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
        self._rest = serving_rest.Server(self)
        self.rest_port = self._rest.server_address[1]

    def __enter__(self):
        self._grpc.start()
        self._thread = threading.Thread(target=self._rest.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(None).wait()
        self._rest.shutdown()
        self._thread.join()
        self._rest.server_close()

    def address(self, client):
        """Return the address of the server for a class, `RestClient` or `GrpcClient`."""
        return f"http://127.0.0.1:{self.rest_port}" if client.OPTION == "--url" else f"127.0.0.1:{self.grpc_port}"

    def fail(self, times, code="UNAVAILABLE", message="injected", delay=0.0):
        """Let the next `times` requests wait `delay` seconds and then fail. If `code` is None, they are answered."""
        self.faults.extend([(code, message, delay)] * times)

    def model(self, name, version=None):
        """Return the model of this name. If `version` is None, it is the newest version."""
        versions = self.models.get(name, {})
        number = version if version is not None else max(versions, default=None)
        if number not in versions:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {request}")
        return versions[number]

    def arrive(self):
        """Count a request, and apply the next fault to it."""
        with self._lock:
            self.requests += 1
            code, message, delay = self.faults.popleft() if self.faults else (None, "", 0.0)
        time.sleep(delay)
        if code:
            raise Refused(code, message)

    @contextlib.contextmanager
    def _errors_to(self, context):
        try:
            yield
        except Refused as error:
            context.abort(grpc.StatusCode[error.code], error.message)

    def Predict(self, request, context):
        response = predict_pb2.PredictResponse()
        with self._errors_to(context):
            self.arrive()
            spec = request.model_spec
            model = self.model(spec.name, spec.version.value if spec.HasField("version") else None)
            try:
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            except (TypeError, ValueError) as error:
                raise Refused("INVALID_ARGUMENT", f"Tensor proto cannot be parsed: {error}") from error
            outputs = model.predict(spec.signature_name or "serving_default", inputs)
            for name, array in outputs.items():
                as_proto_field(array, response.outputs[name])
        return response

    def GetModelMetadata(self, request, context):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._errors_to(context):
            spec = request.model_spec
            model = self.model(spec.name, spec.version.value if spec.HasField("version") else None)
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
            response.metadata["signature_def"].Pack(signatures)
        return response


def as_proto_field(array, tensor):
    """Write an array into a TensorProto, in the field of its type, as the server does."""
    dtype = tf.as_dtype(array.dtype) if array.dtype != object else tf.string
    tensor.dtype = dtype.as_datatype_enum
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    fields = {tf.string: "string_val", tf.float32: "float_val", tf.int32: "int_val", tf.bool: "bool_val"}
    getattr(tensor, fields[dtype]).extend(array.ravel().tolist())


def main(
    path: Annotated[Path, typer.Argument(help="The folder of an export's version.")],
    model: Annotated[str, typer.Option(help="The model's name.")] = "en_de",
    max_batch_size: Annotated[int, typer.Option(help="Rows of the largest batch.")] = 64,
    wait: Annotated[float, typer.Option(help="Seconds that a batch stays open.")] = 0.005,
    threads: Annotated[int, typer.Option(help="Batches that run at the same time.")] = 2,
):
    """Serve until standard input ends."""
    tf.get_logger().setLevel("ERROR")  # the loader is deprecated, but the server uses it
    batching = Batching(max_batch_size, wait, threads)
    with Double({model: {1: path}}, batching) as double:
        print(json.dumps({"grpc": double.grpc_port, "rest": double.rest_port}), flush=True)
        sys.stdin.read()
    served = double.models[model][1]
    print(json.dumps({"requests": double.requests, "runs": served.runs, "rows": sum(served.sizes)}))


if __name__ == "__main__":
    typer.run(main)
