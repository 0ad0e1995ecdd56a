"""The REST half of the test double in `serving_double.py`: JSON to tensors and back, with the server's errors."""

import base64
import contextlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import tensorflow as tf

PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", re.IGNORECASE)
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
KINDS = {tf.string: (str,), tf.int32: (int,), tf.float32: (int, float), tf.bool: (bool,)}


class Refused(Exception):
    """An error as an answer: gRPC's name of the error and the server's message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def malformed(message):
    return Refused("INVALID_ARGUMENT", message)


def is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def shape_of(value):
    """Return the shape of nested lists, read from their first elements, as the server does."""
    return (len(value), *(shape_of(value[0]) if value else ())) if isinstance(value, list) else ()


def flat(value, shape, dtype):
    """Yield the values of nested lists. Their shape and type must be the given ones."""
    if isinstance(value, list):
        if not shape:
            raise malformed("Encountered list at unexpected level")
        if len(value) != shape[0]:
            raise malformed(f"Encountered list at unexpected size: {len(value)} expected size: {shape[0]}")
        for element in value:
            yield from flat(element, shape[1:], dtype)
    elif shape:
        raise malformed(f"JSON Value: {json.dumps(value)} found at incorrect level")
    elif dtype == tf.string and is_base64(value):
        yield base64.b64decode(value["b64"])
    elif type(value) not in KINDS[dtype]:
        raise malformed(f"JSON Value: {json.dumps(value)} is not of expected type: {dtype.name}")
    else:
        yield value.encode("utf-8", "surrogateescape") if dtype == tf.string else value


def to_array(value, info):
    """Return nested lists as an array of the type in a TensorInfo."""
    dtype, shape = tf.as_dtype(info.dtype), shape_of(value)
    values = list(flat(value, shape, dtype))
    return np.array(values, object if dtype == tf.string else dtype.as_numpy_dtype).reshape(shape)


def from_instances(instances, infos):
    """Return arrays by name from the row format."""
    if not isinstance(instances, list) or not instances:
        raise malformed("Expecting 'instances' to be a list/array with values")
    named = isinstance(instances[0], dict) and not is_base64(instances[0])
    if not named and len(infos) > 1:
        raise malformed("instances is a plain list, but expecting list of objects as multiple input tensors required")
    columns = {name: [] for name in infos}
    for number, instance in enumerate(instances):
        row = instance if named else {next(iter(infos)): instance}
        if not isinstance(row, dict) or set(row) != set(infos):
            raise malformed(f"Failed to process element: {number} of 'instances' list. keys must be: {','.join(infos)}")
        for name, value in row.items():
            columns[name].append(value)
    return {name: to_array(column, infos[name]) for name, column in columns.items()}


def from_inputs(inputs, infos):
    """Return arrays by name from the column format."""
    if not isinstance(inputs, dict) or is_base64(inputs):
        if len(infos) > 1:
            raise malformed("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        inputs = {next(iter(infos)): inputs}
    for name in infos:
        if name not in inputs:
            raise malformed(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_array(inputs[name], info) for name, info in infos.items()}


def read_request(text):
    """Return the JSON object of a request."""
    try:
        request = json.loads(text)
    except json.JSONDecodeError as error:
        raise malformed(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    if not isinstance(request, dict):
        raise malformed(f"JSON Value: {text} Is not object")
    if ("instances" in request) == ("inputs" in request):
        both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise malformed(both if "inputs" in request else "Missing 'inputs' or 'instances' key")
    return request


def to_json(value):
    """Return an array as nested lists. A float gets the fewest digits from which it can be read again."""
    if isinstance(value, np.ndarray):
        return [to_json(element) for element in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return float(str(value)) if isinstance(value, np.float32) else value.item()


def write_answer(outputs, rows):
    """Return the JSON object of an answer from arrays by name, in row format or in columns."""
    columns = {name: to_json(array) for name, array in outputs.items()}
    if rows:
        names = list(columns)
        table = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(names, row, strict=True)) if len(names) > 1 else row[0] for row in table]}
    return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "surrogateescape")
        try:
            status, answer = 200, self._predict(body)
        except Refused as error:
            status, answer = STATUSES.get(error.code, 500), {"error": error.message}
        data = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogateescape")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(ConnectionError):  # a caller with a time limit may be gone
            self.end_headers()
            self.wfile.write(data)

    def _predict(self, body):
        self.server.double.arrive()
        match = PATH.fullmatch(self.path)
        if not match:
            raise malformed(f"Malformed request: POST {self.path}")
        request = read_request(body)
        model = self.server.double.model(match[1], int(match[2]) if match[2] else None)
        name = request.get("signature_name", "serving_default")
        if name not in model.signatures:
            raise malformed(f'Serving signature name: "{name}" not found in signature def')
        infos = dict(model.signatures[name].inputs)
        rows = "instances" in request
        inputs = from_instances(request["instances"], infos) if rows else from_inputs(request["inputs"], infos)
        return write_answer(model.predict(name, inputs), rows)

    def log_message(self, *_):
        """Write no line to standard error for each request."""


class Server(ThreadingHTTPServer):
    """The HTTP server of a `Double`, on a free port of 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, double):
        super().__init__(("127.0.0.1", 0), Handler)
        self.double = double
