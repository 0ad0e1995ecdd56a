"""The filter of start-up notes leaves out these lines, and no other."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_transformer_cli.quiet as quiet

PROGRAM = """
import os, sys, warnings
import keras_transformer_cli.quiet as quiet
quiet.quiet_startup()
for line in [*quiet.NOTES, "E0000 a real error of TensorFlow", "a last line without its end"]:
    os.write(2, line.encode() + b"\\n" * (line[:6] != "a last"))
print("from Python", file=sys.stderr)
print("a result", flush=True)
os.abort() if sys.argv[1] == "abort" else None
"""


def run(way):
    environment = os.environ | {"PYTHONPATH": str(Path(quiet.__file__).parent)}
    return subprocess.run([sys.executable, "-c", PROGRAM, way], env=environment, capture_output=True, text=True)


def test_notes_are_left_out_and_everything_else_passes():
    for way, code in {"end": 0, "abort": -6}.items():
        result = run(way)
        assert result.returncode == code
        lines = result.stderr.splitlines()
        assert {"from Python", "E0000 a real error of TensorFlow", "a last line without its end"} <= set(lines)
        assert not [line for line in lines if any(note in line for note in quiet.NOTES)]
        assert result.stdout == "a result\n"


def test_notes_about_a_driver_pass_where_there_is_a_device(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "Path", lambda folder: tmp_path)
    assert not quiet.has_gpu()
    (tmp_path / "nvidia0").touch()
    assert quiet.has_gpu()


ENDING = """
import sys
import keras_transformer_cli.quiet as quiet
quiet.end_quietly()
raise {}
"""


def test_ctrl_c_ends_a_program_with_one_line_and_another_error_with_its_traceback():
    environment = os.environ | {"PYTHONPATH": str(Path(quiet.__file__).parent)}
    ends = {}
    for error in ("KeyboardInterrupt", "ValueError('wrong')"):
        command = [sys.executable, "-c", ENDING.format(error)]
        ends[error] = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert [end.returncode for end in ends.values()] == [130, 1]
    assert ends["KeyboardInterrupt"].stderr == "Interrupted.\n"
    assert "Traceback" in ends["ValueError('wrong')"].stderr


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    for module, package, extra in (
        ("numbers_corpus", "num2words", "examples"),
        ("rest_client", "requests", "serving"),
        ("grpc_client", "grpc", "serving"),
        ("grpc_client", "tensorflow_serving.apis.predict_pb2", "serving"),
    ):
        monkeypatch.delitem(sys.modules, module, raising=False)
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            message = rf"pip install .*'keras-transformer-translation\[{extra}\]'"
            with pytest.raises((ImportError, SystemExit), match=message):
                importlib.import_module(module)
