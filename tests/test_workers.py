"""Two processes train as one does, through TF_CONFIG; when one dies, the other says so and ends."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tiny
import worker_job

from keras_transformer import Translator
from keras_transformer.training import is_chief, workers_strategy
from keras_transformer.training.workers import share_of_worker

TESTS = Path(__file__).parent


def config(index, ports):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def job(tmp_path):
    """Two running workers of `worker_job.py`."""
    ports = free_ports(2)
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    workers = []
    for index in range(2):
        with (tmp_path / f"{index}.err").open("w") as errors:
            environment = os.environ | {"TF_CONFIG": config(index, ports), "PYTHONPATH": paths}
            command = [sys.executable, TESTS / "worker_job.py", tmp_path, str(index)]
            workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True))
    yield workers
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdout.close()


def test_two_workers_are_one_until_one_is_killed(job, tmp_path):
    corpus = worker_job.corpus_of(tmp_path / "here", tiny.make_tokenizer(tmp_path / "here"))
    expected, expected_logs = worker_job.trained(contextlib.nullcontext(), corpus)
    for index, worker in enumerate(job):
        assert worker.stdout.readline() == "written\n", (tmp_path / f"{index}.err").read_text()[-4000:]

    found = [list(np.load(tmp_path / index / "weights.npz").values()) for index in ("0", "1")]
    for first, second, goal in zip(*found, expected.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, goal, rtol=1e-5, atol=2e-6)
    for index in ("0", "1"):
        logs = json.loads((tmp_path / index / "logs.json").read_text())
        assert sorted(logs) == sorted(expected_logs)
        for name, values in logs.items():
            assert values == pytest.approx(expected_logs[name], rel=1e-5), name
    for weight, goal in zip(Translator.load(tmp_path / "run").model.get_weights(), found[0], strict=True):
        np.testing.assert_array_equal(weight, goal)

    job[1].kill()
    assert job[0].wait(timeout=120) not in (0, None)
    message = (tmp_path / "0.err").read_text()
    assert re.search(r"RuntimeError: Training has ended: worker 1 of TF_CONFIG no longer answers\.", message)


def test_shares_of_a_batch_are_its_rows_none_twice(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    batch = tf.reshape(tf.range(24), (12, 2))
    dataset = tf.data.Dataset.from_tensors(({"source": batch}, batch)).repeat(3)
    for replicas, workers in ((4, 2), (2, 2), (3, 1)):
        rows = []
        for worker in range(workers):
            context = tf.distribute.InputContext(workers, worker, replicas)
            share = share_of_worker(dataset, context)
            here = replicas // workers
            assert share.cardinality() == 3 * here
            parts = list(share.take(here))
            rows += [labels.numpy() for _, labels in parts]
            assert all(np.array_equal(x["source"], labels) for x, labels in parts)
        np.testing.assert_array_equal(np.concatenate(rows), batch)
    uneven = share_of_worker(dataset, tf.distribute.InputContext(5, 0, 5))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be a multiple of the 5 replicas, got\] \[12\]"):
        next(iter(uneven))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "TF_CONFIG is not set"),
        ("{", "cannot be read: JSONDecodeError"),
        ("[]", "cannot be read: TypeError"),
        ('{"cluster": {}}', r"cannot be read: KeyError\('worker'\)"),
        (config(2, [1, 2]), "got 'worker' 2 of"),
        (config(0, [1, 2]).replace('"type": "worker"', '"type": "ps"'), "got 'ps' 0 of"),
    ],
)
def test_a_bad_config_is_refused_before_training(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        workers_strategy()


def test_a_strategy_after_tensors_is_refused(monkeypatch):
    tf.constant(1)
    monkeypatch.setenv("TF_CONFIG", config(0, free_ports(2)))
    with pytest.raises(RuntimeError, match="must come before anything else uses TensorFlow"):
        workers_strategy()


def test_the_first_worker_is_the_chief(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert is_chief()
    for index in (0, 1):
        monkeypatch.setenv("TF_CONFIG", config(index, [1, 2]))
        assert is_chief() == (index == 0)
