"""The files that a stock TensorFlow Serving starts from, beside the versions of a model.

In `saved_models/en_de`: `models.config`, `batching.config`, `monitoring.config` and `docker-compose.yml`. Formats:
ModelServerConfig, BatchingParameters and MonitoringConfig of TF Serving, as text.
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
    """How a server joins requests.

    Args:
        max_batch_size: sentences that are translated together; a single request with more is refused. The
            server's memory must hold this many of the longest that the signature lets through.
        timeout_micros: microseconds that a request waits for others.
        max_enqueued_batches: batches that may wait; a request beyond them is refused as UNAVAILABLE.
        num_threads: batches that are translated at the same time.

    Raises:
        ValueError: one of them out of range.
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


def name_and_version(path):
    """The model's name and version that a server takes from a path such as `saved_models/en_de/1`.

    Raises:
        ValueError: a version that is no number, which a server overlooks, or a name that no address can hold.
    """
    path = Path(path).resolve()
    name, version = path.parent.name, path.name
    if not is_version(version):
        raise ValueError(
            f"{path}: a server needs a whole number as version, got {version!r}, as in {path.parent / '1'}."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(f"{path}: the name {name!r} may have letters, digits, '_', '-' and '.' alone, as in en_de/1.")
    return name, int(version)


def write_serving_files(path, signatures, batching):
    """Write the files that are missing beside a version; those that are there stay, and must fit the version.

    Args:
        path: the version's folder, such as `saved_models/en_de/1`; it need not exist yet.
        signatures: those of the SavedModel, see `saved_model.Contents`.
        batching: `Batching`.

    Returns:
        Two lists of paths: those written, and those kept.

    Raises:
        ValueError: as in `name_and_version` and `check_serving_files`; nothing is written then.
    """
    check_serving_files(path, signatures, batching)
    name, _ = name_and_version(path)
    written, kept = [], []
    for file, text in _texts(name, _has_open_width(signatures), batching).items():
        target = Path(path).resolve().parent / file
        if target.exists():
            kept.append(target)
            continue
        with written_beside(target) as beside:
            beside.write_text(text, encoding="utf-8")
        written.append(target)
    return written, kept


def check_serving_files(path, signatures, batching):
    """Whether files that were there before fit this version.

    Returns:
        int, the `max_batch_size` that the server will have: that of a file that stays, or the one to be written.

    Raises:
        ValueError: `models.config` without this model; `batching.config` with larger batches than
            `batching.max_batch_size`, or that does not pad although inputs have an open width; text that
            is not of its format. The message names the file.
    """
    name, _ = name_and_version(path)
    folder = Path(path).resolve().parent
    if (folder / MODELS).exists():
        config = read_text_proto(folder / MODELS, model_server_config())
        names = [model.name for model in config.model_config_list.config]
        if name not in names:
            raise ValueError(
                f"{folder / MODELS} serves {', '.join(map(repr, names)) or 'nothing'} and not {name!r}. Add it there, "
                "or remove the file to have it written anew."
            )
    if (folder / BATCHING).exists():
        found = read_text_proto(folder / BATCHING, batching_parameters())
        size = found.max_batch_size.value
        if not 1 <= size <= batching.max_batch_size:
            raise ValueError(
                f"{folder / BATCHING} has max_batch_size {size or 'left out'}, this version is made for "
                f"{batching.max_batch_size}: a server that follows it may run out of memory, or refuse the warm-up. "
                "Change it there, or remove the file to have it written anew."
            )
        if _has_open_width(signatures) and not found.pad_variable_length_inputs:
            raise ValueError(
                f"{folder / BATCHING} lacks pad_variable_length_inputs: true, without which a server cannot join "
                "requests with ids of unlike length. Add it there, or remove the file to have it written anew."
            )
        return size
    return batching.max_batch_size


def read_text_proto(file, message):
    """Fill a protocol buffer from a text file; fields of newer servers are passed over.

    Raises:
        ValueError: text that is not of this format; the message names file and line.
    """
    try:
        return text_format.Parse(Path(file).read_text(encoding="utf-8"), message, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no {message.DESCRIPTOR.name} in text format: {error}.") from error


def _has_open_width(signatures):
    """Whether some input has an open dimension beside the batch, which requests need not agree in."""
    tensors = [tensor for signature in signatures.values() for tensor in signature.inputs.values()]
    return any(tensor.shape is None or None in tensor.shape[1:] for tensor in tensors)


def _texts(name, pads, batching):
    """File name to text."""
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
    base_path: "/models/{name}"  # in the container; see docker-compose.yml
    model_platform: "tensorflow"
    model_version_policy {{
      latest {{
        num_versions: 1  # the largest number; an older one serves until the new one is ready
      }}
    }}
  }}
}}
"""

BATCHING_TEXT = """\
max_batch_size {{ value: {max_batch_size} }}  # sentences; a request with more is refused
batch_timeout_micros {{ value: {timeout_micros} }}  # how long a request waits for others
max_enqueued_batches {{ value: {max_enqueued_batches} }}  # that wait; a request beyond them is refused
num_batch_threads {{ value: {num_threads} }}  # batches at the same time
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
