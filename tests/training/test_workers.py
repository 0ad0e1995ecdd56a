"""Two processes, named by TF_CONFIG, train as one does. When one dies, the other names it, and both resume."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
import worker_job
from kill_and_resume import config, free_ports

from keras_transformer import Translator
from keras_transformer.train_step.tensorflow_errors import lost_workers
from keras_transformer.training import is_chief, workers_strategy
from keras_transformer.training import workers as workers_module
from keras_transformer.training.states import read_state, states_in
from keras_transformer.training.workers import Workers, is_only_worker, worker_dataset

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def start(tmp_path):
    """Starts the two workers of `worker_job.py`; the first kills itself after an update, if asked to."""
    workers = []

    def of(kill_after=-1):
        ports = free_ports(2)
        for index, update in enumerate((kill_after, -1)):
            with (tmp_path / f"{index}.err").open("w") as errors:
                environment = os.environ | {"TF_CONFIG": config(index, ports), "PYTHONPATH": tiny.PYTHONPATH}
                command = [sys.executable, SUPPORT / "worker_job.py", tmp_path, str(index), str(update)]
                options = {"env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
                workers.append(subprocess.Popen(command, **options))
        return workers[-2:]

    yield of
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdout.close()


def assert_ends_without(worker, index, lost, folder):
    """Worker `index` ends by itself, saying that worker `lost` has gone."""
    assert worker.wait(timeout=120) not in (0, None)
    message = (folder / f"{index}.err").read_text()
    pattern = rf"RuntimeError: Training has ended: worker {lost} of TF_CONFIG no longer answers\."
    assert re.search(pattern, message), message[-4000:]


def test_two_workers_end_when_one_is_killed_resume_and_have_the_weights_of_one(start, tmp_path):
    """First the first worker is killed inside an epoch, which coordinates and writes; later the second."""
    corpora = worker_job.corpora_of(tmp_path / "here", tiny.make_tokenizer(tmp_path / "here"))
    updates = corpora[0].report.batches
    expected, expected_logs = worker_job.trained(contextlib.nullcontext(), corpora)
    first, second = start(kill_after=5)
    assert updates == 6
    assert_ends_without(second, 1, 0, tmp_path)
    assert first.wait() == -signal.SIGKILL
    states = [list(states_in(tmp_path / index / "run" / "checkpoints", "step")) for index in "01"]
    assert states == [[0, 2, 4], []]

    first, second = start()
    for index, worker in enumerate((first, second)):
        assert worker.stdout.readline() == "written\n", (tmp_path / f"{index}.err").read_text()[-4000:]
    second.kill()  # both have written all, and train on
    assert_ends_without(first, 0, 1, tmp_path)
    found = [list(np.load(tmp_path / index / "weights.npz").values()) for index in "01"]
    for one, other, goal in zip(*found, expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, goal, rtol=1e-5, atol=2e-6)
    for index in "01":
        logs = json.loads((tmp_path / index / "logs.json").read_text())
        assert sorted(logs) == sorted(expected_logs)
        for name, values in logs.items():
            assert values == pytest.approx(expected_logs[name], rel=1e-5), name
    for weight, goal in zip(Translator.load(tmp_path / "0" / "run").model.get_weights(), found[0], strict=True):
        np.testing.assert_array_equal(weight, goal)
    assert list(states_in(tmp_path / "0" / "run" / "checkpoints", "step"))[-1] == worker_job.EPOCHS * updates
    assert not (tmp_path / "1" / "run").exists()
    epochs = states_in(tmp_path / "shared" / "averaged", "epoch").values()
    assert len(epochs) == worker_job.EPOCHS
    mean = keras.saving.load_model(tmp_path / "shared" / "average.keras", compile=False).get_weights()
    first_epoch = read_state(next(iter(epochs)))[1].values()
    for weight, *both in zip(mean, first_epoch, found[0], strict=False):
        np.testing.assert_allclose(weight, np.mean(both, axis=0, dtype="float64"), rtol=1e-6)


def test_facts_and_arrays_of_the_first_worker_are_sent_bit_for_bit(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(workers_module, "WORDS_PER_REDUCTION", 3)
    rng = np.random.default_rng(1)
    arrays = {
        "a/0": rng.normal(size=(5, 7)).astype("float32"),
        "half": keras.ops.convert_to_numpy(keras.ops.ones((3,), "bfloat16") / 3),
        "special": np.array([-0.0, np.nan, np.inf], "float64"),
        "scalar": np.int64(2**40),
        "bytes": np.arange(11, dtype="uint8"),
        "empty": np.zeros((0, 2), "float32"),
    }
    facts, found = workers_module.broadcast(tiny.two_replicas(), {"epoch": 2, "best": float("inf")}, arrays)
    assert facts == {"epoch": 2, "best": float("inf")} and list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name
    assert workers_module.broadcast(tiny.two_replicas(), {}, None) == ({}, None)


@pytest.mark.parametrize(
    ("message", "names"),
    [  # what TensorFlow says when the other worker is killed or stops answering, or when this one did
        ("aborted by: Socket closed from remote target /job:worker/replica:0/task:0 while calling", ["0"]),
        ("aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat", ["0"]),
        ("on /job:worker/replica:0/task:0: is unhealthy: /job:worker/replica:0/task:1", ["1"]),
        (
            "from an already-in-error task: /job:worker/replica:0/task:1 with: Task /job:worker/replica:0/task:1\n"
            "RPC: /tensorflow.CoordinationService/Heartbeat",
            ["1"],
        ),
        ("aborted by: something else", []),
    ],
)
def test_who_is_lost(message, names):
    assert lost_workers(message) == [("worker", name) for name in names]


def test_shares_of_a_batch_are_its_rows_none_twice(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    batch = tf.reshape(tf.range(24), (12, 2))
    dataset = tf.data.Dataset.from_tensors(({"source": batch}, batch)).repeat(3)
    for replicas, workers in ((4, 2), (2, 2), (3, 1)):
        rows = []
        for worker in range(workers):
            context = tf.distribute.InputContext(workers, worker, replicas)
            share = worker_dataset(dataset, context)
            here = replicas // workers
            assert share.cardinality() == 3 * here
            parts = list(share.take(here))
            rows += [labels.numpy() for _, labels in parts]
            assert all(np.array_equal(x["source"], labels) for x, labels in parts)
        np.testing.assert_array_equal(np.concatenate(rows), batch)
    uneven = worker_dataset(dataset, tf.distribute.InputContext(5, 0, 5))
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


@pytest.mark.parametrize("text", ["", "{}", "{", config(1, [1, 2]), config(0, [1]).replace("worker", "chief")])
def test_without_a_workers_strategy_a_process_is_the_only_worker_whatever_tf_config_says(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert is_chief() and is_only_worker()


def test_the_first_worker_is_the_chief(monkeypatch):
    for name in ("index", "count"):  # put back what the strategy sets
        monkeypatch.setattr(Workers, name, getattr(Workers, name))
    monkeypatch.setattr(Workers, "__init__", lambda self: None)
    for index, count in ((0, 1), (0, 2), (1, 2)):
        monkeypatch.setenv("TF_CONFIG", config(index, range(count)))
        workers_strategy()
        assert (is_chief(), is_only_worker()) == (index == 0, count == 1)
