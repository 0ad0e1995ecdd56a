"""The loader of TF Serving, on a folder that was moved and may not be written, in a process that has no Keras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_exports import SENTENCES, tiny_export

CLIENT = Path(__file__).with_name("session_process.py")


def state(folder):
    """What would change if anything under the folder were written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(path.name, path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "unigram"])
def moved(request, tmp_path_factory):
    """A kind of export far from where it was written, read only."""
    folder = tmp_path_factory.mktemp("exile") / "7"
    shutil.copytree(tiny_export(request.param).path, folder)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield request.param, folder
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def call_in_a_clean_process(folder, calls):
    """The signatures in a dictionary, and what each call gave, from a process in which Keras cannot be imported."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    result = subprocess.run(
        [sys.executable, CLIENT, folder],
        input="".join(f"{json.dumps(call)}\n" for call in calls),
        cwd=folder.parent,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_signature_answers_from_a_moved_read_only_folder(moved):
    kind, folder = moved
    before = state(folder)
    calls = [("serving_default", {"sentences": SENTENCES}), ("serving_default", {"sentences": []})]
    first, *answers = call_in_a_clean_process(folder, calls)
    assert state(folder) == before
    assert set(first["signatures"]) == {name for name, _ in calls}
    translator = tiny_export(kind).translator
    best = [found for [found] in translator.n_best(SENTENCES, 1)]
    assert answers[0]["translations"] == [found.text for found in best]
    assert answers[0]["scores"] == pytest.approx([found.score for found in best], rel=1e-5)
    assert answers[1]["translations"] == answers[1]["scores"] == []
