"""Writes and checks the files that a stock TensorFlow Serving starts from, beside the versions of a model.

For the model `en_de` they are `models.config`, `batching.config`, `monitoring.config` and `docker-compose.yml` in
`saved_models/en_de`. The first three are TF Serving's ModelServerConfig, BatchingParameters and MonitoringConfig in
text format.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from keras_transformer.export.checks.saved_model import is_version
from keras_transformer.export.server.server_protos import batching_parameters, model_server_config
from keras_transformer.files import written_beside

MODELS, BATCHING, MONITORING, COMPOSE = "models.config", "batching.config", "monitoring.config", "docker-compose.yml"
METRICS = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Batching:
    """How a server joins requests into batches.

    Example:
        ```python
        from keras_transformer.export import Batching

        batching = Batching(max_batch_size=8, num_threads=4)
        assert batching.timeout_micros == 5000
        ```

    Args:
        max_batch_size: the most sentences that are translated together. A server refuses a single request with more.
            Its memory must hold this many sentences of the greatest length that the signature accepts.
        timeout_micros: how long a request waits for others, in microseconds.
        max_enqueued_batches: the most batches that may wait. A server refuses further requests as UNAVAILABLE.
        num_threads: the number of batches that are translated at the same time.

    Raises:
        ValueError: an argument is not an int or is out of range.
    """

    max_batch_size: int = 32
    timeout_micros: int = 5000
    max_enqueued_batches: int = 16
    num_threads: int = 2

    def __post_init__(self):
        for name, value in vars(self).items():
            least = 0 if name == "timeout_micros" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an int of at least {least}, got {value!r}.")


class ServingFiles:
    """The files that a server starts from, for one model. They lie beside the folders of its versions.

    Args:
        path: the folder of a version, for example `saved_models/en_de/1`. It need not exist.
        batching: `Batching`.

    Raises:
        ValueError: a path that a server cannot use, see `name_and_version`.
    """

    def __init__(self, path, batching):
        self.name, _ = name_and_version(path)
        self.folder, self.batching = Path(path).resolve().parent, batching

    def check(self, signatures):
        """Check that the files which exist already fit the new version.

        Args:
            signatures: the signatures of its SavedModel, see `saved_model.Contents`.

        Returns:
            int, the `max_batch_size` of the server: that of the existing file, or else of `batching`.

        Raises:
            ValueError: `models.config` does not name the model; or `batching.config` allows larger batches than
                `batching`, or does not pad although inputs have an open width; or a file is not in its format. The
                message names the file.
        """
        if (self.folder / MODELS).exists():
            self._check_models(self.folder / MODELS)
        if (self.folder / BATCHING).exists():
            return self._check_batching(self.folder / BATCHING, signatures)
        return self.batching.max_batch_size

    def write(self, signatures):
        """Write the files that do not exist. Those that exist stay; call `check` first.

        Args:
            signatures: as in `check`.

        Returns:
            Two lists of paths: the new files, and those that existed.
        """
        new, existing = [], []
        for name, text in _texts(self.name, _has_open_width(signatures), self.batching).items():
            file = self.folder / name
            if file.exists():
                existing.append(file)
                continue
            with written_beside(file) as beside:
                beside.write_text(text, encoding="utf-8")
            new.append(file)
        return new, existing

    def _check_models(self, file):
        config = read_text_proto(file, model_server_config())
        names = [model.name for model in config.model_config_list.config]
        if self.name not in names:
            raise ValueError(
                f"{file} serves {', '.join(map(repr, names)) or 'no model'}, but not {self.name!r}. Add it there, or "
                "remove the file to get a new one."
            )

    def _check_batching(self, file, signatures):
        """Its `max_batch_size`, if the file fits."""
        parameters = read_text_proto(file, batching_parameters())
        size, most = parameters.max_batch_size.value, self.batching.max_batch_size
        if not 1 <= size <= most:
            raise ValueError(
                f"{file} has {f'max_batch_size {size}' if size else 'no max_batch_size'}, but this version is made for "
                f"{most}. A server with this file may run out of memory, or refuse the warm-up. Change it there, or "
                "remove the file to get a new one."
            )
        if _has_open_width(signatures) and not parameters.pad_variable_length_inputs:
            raise ValueError(
                f"{file} lacks pad_variable_length_inputs: true. Without it a server cannot join requests whose ids "
                "have different lengths. Add it there, or remove the file to get a new one."
            )
        return size


def name_and_version(path):
    """The model's name and version that a server takes from a path, for example from `saved_models/en_de/1`.

    Raises:
        ValueError: the version is not a number, so a server would ignore it; or the name cannot be part of a URL.
    """
    path = Path(path).resolve()
    name, version = path.parent.name, path.name
    if not is_version(version):
        raise ValueError(
            f"{path}: a server needs a whole number as version, got {version!r}. Use for example {path.parent / '1'}."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"{path}: the name {name!r} may have only letters, digits, '_', '-' and '.', and must start with a letter "
            "or a digit. Use for example en_de/1."
        )
    return name, int(version)


def read_text_proto(file, message):
    """Fill a protocol buffer from a text file. Fields that only newer servers know are ignored.

    Raises:
        ValueError: the text is not in this format. The message names the file and the line.
    """
    try:
        return text_format.Parse(Path(file).read_text(encoding="utf-8"), message, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a {message.DESCRIPTOR.name} in text format: {error}.") from error


def _has_open_width(signatures):
    """Whether two requests may differ in the shape of an input apart from the batch size."""
    tensors = [tensor for signature in signatures.values() for tensor in signature.inputs.values()]
    return any(tensor.shape is None or None in tensor.shape[1:] for tensor in tensors)


def _texts(name, pads, batching):
    """{file name: text}."""
    return {
        MODELS: MODELS_TEXT.format(name=name),
        BATCHING: BATCHING_TEXT.format(pads=str(pads).lower(), **vars(batching)),
        MONITORING: f'prometheus_config {{\n  enable: true\n  path: "{METRICS}"\n}}\n',
        COMPOSE: COMPOSE_TEXT.format(name=name, metrics=METRICS),
    }


MODELS_TEXT = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"  # a path in the container; see docker-compose.yml
    model_platform: "tensorflow"
    model_version_policy {{
      latest {{
        num_versions: 1  # the highest number; the old version serves until the new one is ready
      }}
    }}
  }}
}}
"""

BATCHING_TEXT = """\
max_batch_size {{ value: {max_batch_size} }}  # sentences; the server refuses a request with more
batch_timeout_micros {{ value: {timeout_micros} }}  # how long a request waits for others
max_enqueued_batches {{ value: {max_enqueued_batches} }}  # batches that may wait; the server refuses further requests
num_batch_threads {{ value: {num_threads} }}  # batches that run at the same time
pad_variable_length_inputs: {pads}
"""

COMPOSE_TEXT = """\
# In this folder: docker compose up --detach --wait
services:
  {name}:
    image: tensorflow/serving
    restart: unless-stopped
    ports:
      - "8500:8500"  # gRPC
      - "8501:8501"  # REST; metrics at {metrics}
    volumes:
      - ".:/models/{name}:ro"
    command:
      - "--model_config_file=/models/{name}/models.config"
      - "--enable_batching=true"
      - "--batching_parameters_file=/models/{name}/batching.config"
      - "--monitoring_config_file=/models/{name}/monitoring.config"
    healthcheck:  # the image has bash and no curl
      test:
        - "CMD"
        - "bash"
        - "-c"
        - "exec 3<>/dev/tcp/127.0.0.1/8501
          && printf 'GET /v1/models/{name} HTTP/1.0\\\\r\\\\n\\\\r\\\\n' >&3
          && grep -q '\\"AVAILABLE\\"' <&3"
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 2m
"""
