"""The server's files beside a version are in the right formats, and existing ones stay."""

import http.server
import re
import subprocess
import threading

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_transformer.export.checks.saved_model import Signature, Tensor
from keras_transformer.export.server.server_protos import batching_parameters
from keras_transformer.export.server.serving_files import Batching, ServingFiles, name_and_version

STRINGS = {"serving_default": Signature({"sentences": Tensor("string", (None,), "a:0")}, {})}
IDS = {**STRINGS, "ids": Signature({"source_ids": Tensor("int32", (None, None), "b:0")}, {})}
FILES = ["batching.config", "docker-compose.yml", "models.config", "monitoring.config"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "en_de" / "1"


def compose(path):
    """The name and the content of the one service in docker-compose.yml."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    [(name, service)] = yaml.safe_load((path.parent / "docker-compose.yml").read_text())["services"].items()
    return name, service


def write(path, signatures=IDS, batching=None):
    """Check the existing files, then write the others."""
    files = ServingFiles(path, batching or Batching())
    files.check(signatures)
    return files.write(signatures)


def test_the_files_are_in_the_formats_that_the_server_reads(path):
    new, existing = write(path, batching=Batching(23, 700, 19, 3))
    assert sorted(file.name for file in new) == FILES == sorted(file.name for file in path.parent.iterdir())
    assert existing == []
    config = text_format.Parse((path.parent / "models.config").read_text(), ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("en_de", "/models/en_de", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    batching = text_format.Parse((path.parent / "batching.config").read_text(), batching_parameters())
    assert batching.max_batch_size.value == 23
    assert batching.batch_timeout_micros.value == 700
    assert batching.max_enqueued_batches.value == 19
    assert batching.num_batch_threads.value == 3
    assert batching.pad_variable_length_inputs is True
    assert re.sub(r"\s", "", (path.parent / "monitoring.config").read_text()) == (
        'prometheus_config{enable:truepath:"/monitoring/prometheus/metrics"}'
    )


def test_batches_are_padded_only_if_an_input_has_an_open_width(path):
    write(path, STRINGS)
    assert "pad_variable_length_inputs: false" in (path.parent / "batching.config").read_text()


def test_the_container_finds_every_file_where_it_is_mounted(path):
    write(path)
    name, service = compose(path)
    assert (name, service["image"]) == ("en_de", "tensorflow/serving")
    assert service["ports"] == ["8500:8500", "8501:8501"]
    assert service["volumes"] == [".:/models/en_de:ro"]
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    assert flags.pop("enable_batching") == "true"
    assert sorted(flags) == ["batching_parameters_file", "model_config_file", "monitoring_config_file"]
    for file in flags.values():
        assert (path.parent / file.removeprefix("/models/en_de/")).is_file()


STATES = {"AVAILABLE": 0, "UNAVAILABLE": 1, None: 1}


@pytest.mark.parametrize(("state", "status"), STATES.items(), ids=str)
def test_the_health_check_asks_whether_the_model_is_available(path, state, status):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if state else 404)
            self.end_headers()
            self.wfile.write(f'{{"model_version_status": [{{"version": "1", "state": "{state}"}}]}}'.encode())

        def log_message(self, *arguments):
            pass

    write(path)
    kind, *command = compose(path)[1]["healthcheck"]["test"]
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        command[-1] = command[-1].replace("8501", str(server.server_port))
        result = subprocess.run(command, timeout=20)
        thread.join()
    assert (kind, command[0], result.returncode, asked) == ("CMD", "bash", status, ["/v1/models/en_de"])


def test_an_edited_file_stays(path):
    write(path)
    edited = path.parent / "batching.config"
    edited.write_text(edited.read_text().replace("32", "16") + "enable_large_batch_splitting { value: true }\n")
    text = edited.read_text()
    (path.parent / "monitoring.config").unlink()
    new, existing = write(path.parent / "2")
    assert [file.name for file in new] == ["monitoring.config"]
    assert sorted(file.name for file in existing) == ["batching.config", "docker-compose.yml", "models.config"]
    assert edited.read_text() == text


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("models.config", 'name: "en_de"', 'name: "de_en"', r"models\.config serves 'de_en', but not 'en_de'\. Add it"),
        ("models.config", "config {", "config", r"models\.config is not a ModelServerConfig in text format: 3:"),
        ("batching.config", "value: 32", "value: 64", r"batching\.config has max_batch_size 64, but .* made for 32"),
        ("batching.config", "max_batch_size { value: 32 }", "", r"has no max_batch_size, but .* made for 32"),
        ("batching.config", "inputs: true", "inputs: false", r"lacks pad_variable_length_inputs: true"),
        (
            "batching.config",
            "value: 32",
            "value: many",
            r"batching\.config is not a BatchingParameters in text format: 1:",
        ),
    ],
)
def test_an_edited_file_that_does_not_fit_is_an_error_and_nothing_is_written(path, file, old, new, message):
    write(path)
    edited = path.parent / file
    assert old in edited.read_text()
    edited.write_text(edited.read_text().replace(old, new, 1))
    (path.parent / "monitoring.config").unlink()
    text = edited.read_text()
    with pytest.raises(ValueError, match=message):
        write(path)
    assert edited.read_text() == text
    assert not (path.parent / "monitoring.config").exists()


def test_a_path_that_a_server_cannot_use_is_refused(path, tmp_path):
    assert name_and_version(path) == ("en_de", 1)
    with pytest.raises(ValueError, match=r"needs a whole number as version, got 'best'"):
        write(path.with_name("best"))
    with pytest.raises(ValueError, match=r"the name 'en de' may have only letters"):
        write(tmp_path / "en de" / "1")
    assert not path.parent.exists()


@pytest.mark.parametrize("wrong", [{"max_batch_size": 0}, {"num_threads": 1.5}, {"timeout_micros": -1}], ids=str)
def test_batching_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be an int of at least"):
        Batching(**wrong)
