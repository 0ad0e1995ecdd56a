"""The filter of start-up notes leaves out these lines, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import quiet

PROGRAM = """
import os, sys, warnings
import quiet
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
