"""Kill a training run many times, start the same command again each time, and compare its end with an unbroken run.

    python tests/support/kill_and_resume.py run runs/killed --kills 20

starts `train` in a folder, kills it (SIGKILL) at a random moment, and starts it again, until it was killed 20 times.
Then it lets the run end. After that it trains again without a break, and compares the variables of model and
optimizer bit for bit. It prints the moments of the kills and the result, and writes them to
`runs/killed/RESULT.json`.

With `--workers 2`, two processes train together through TF_CONFIG, each in its own folder. Each time a random one is
killed. If they were training already, the other one must end by itself, with the message that names the killed one.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import tensorflow as tf
import tiny
import typer

from keras_transformer import parallel_corpus
from keras_transformer.training import Checkpoint, Throughput, workers_strategy

app = typer.Typer(add_completion=False)
PATIENCE = 300  # seconds in which the other workers must notice that one is gone; TensorFlow takes 10
# Pairs, epochs, updates between two states.
SIZES = {"short": (110, 2, 3), "long": (3000, 8, 10), "workers": (2000, 3, 10)}


class Progress(keras.callbacks.Callback):
    """Prints the number of each update for the parent process. Kills its own process after the update `kill_at`."""

    def __init__(self, corpus, kill_at):
        super().__init__()
        self.corpus, self.kill_at, self.first = corpus, kill_at, None

    def on_epoch_begin(self, epoch, logs=None):
        self.step = int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch, logs=None):
        if self.first is None:
            self.first = [self.corpus.position.epoch, self.corpus.position.batch]
        step = int(self.model.optimizer.iterations.numpy())
        if step > self.step:  # a resumed run passes over batches without an update
            print(step, flush=True)
        self.step = step
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


@app.command()
def train(folder: Path, kill_at: int = -1, size: str = "short"):
    """Train a tiny model, with dropout, validation and keep-best. This is the command that is killed."""
    pairs, epochs, every_steps = SIZES[size]
    strategy = workers_strategy() if "TF_CONFIG" in os.environ else tf.distribute.get_strategy()
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(1)
    paths = tiny.write_pairs(folder.with_name(f"{folder.name}.corpus"), tiny.digit_pairs(pairs, seed=2))
    tokenizer = tiny.make_tokenizer(folder.with_name(f"{folder.name}.tokenizer"))
    corpus = parallel_corpus(*paths, tokenizer, tokens_per_batch=64, num_shapes=2, seed=3)
    valid = parallel_corpus(*paths, tokenizer, tokens_per_batch=640, num_shapes=1, shuffle=False)
    with strategy.scope():
        model = tiny.compiled(tiny.make_model(dropout=0.2))
    throughput, progress = Throughput(), Progress(corpus, kill_at)
    checkpoint = Checkpoint(
        folder,
        tokenizer,
        monitor="val_perplexity",
        corpus=corpus,
        every_steps=every_steps,
        callbacks=[throughput],
    )
    model.fit(
        corpus,
        validation_data=valid,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[throughput, progress, checkpoint],
    )
    weights = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        weights.update(keras.ops.convert_to_numpy(variable).tobytes())
    result = {
        "weights": weights.hexdigest(),
        "first": progress.first,
        "best": checkpoint.best,
        "updates": int(model.optimizer.iterations.numpy()),
    }
    folder.mkdir(exist_ok=True)  # only the first worker writes states
    (folder / "weights.json").write_text(json.dumps(result))


def free_ports(count):
    """Return ports of this machine that no program uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for endpoint in sockets:
            endpoint.bind(("127.0.0.1", 0))
        return [endpoint.getsockname()[1] for endpoint in sockets]


def config(index, ports):
    """Return TF_CONFIG for a worker on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def folders(folder, workers):
    """Return the folder of each worker."""
    return [folder.with_name(f"{folder.name}.{index}") for index in range(workers)] if workers > 1 else [folder]


def errors_of(worker_folder):
    """Return the file for a worker's error output, beside its folder."""
    return worker_folder.with_name(f"{worker_folder.name}.err")


def start(folder, workers=1):
    """Start one process for each worker, and return the processes."""
    ports, processes = free_ports(workers), []
    for index, worker_folder in enumerate(folders(folder, workers)):
        worker_folder.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | ({"TF_CONFIG": config(index, ports)} if workers > 1 else {})
        size = "long" if workers == 1 else "workers"
        command = [sys.executable, __file__, "train", str(worker_folder), "--size", size]
        with errors_of(worker_folder).open("w") as errors:
            options = {"env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            processes.append(subprocess.Popen(command, **options))
    return processes


def start_and_kill(folder, workers, rng):
    """Start the command and kill one worker. Return its index and its last update, or None before the first update."""
    processes = start(folder, workers)
    victim = rng.randrange(workers)
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 8))  # during imports, reading or tracing
    else:
        processes[victim].stdout.readline()
        time.sleep(rng.uniform(0, 2))
    ended = [process.poll() for process in processes]
    processes[victim].kill()
    updates = processes[victim].stdout.read().split()
    try:
        if ended != [None] * workers:
            raise SystemExit(f"The workers ended with {ended} before one was killed.")
        if updates:
            others_end(folder, processes, victim)
    finally:  # before the first update, the others would wait for the killed one
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
    return victim, int(updates[-1]) if updates else None


def others_end(folder, processes, lost):
    """Wait until the other workers have ended, and check that they name the lost one."""
    for index, process in enumerate(processes):
        if index == lost:
            continue
        process.stdout.read()
        status = process.wait(PATIENCE)
        errors = errors_of(folders(folder, len(processes))[index]).read_text()
        if status == 0 or not re.search(rf"worker {lost} of TF_CONFIG no longer answers", errors):
            raise SystemExit(f"Worker {index} ended with {status}, but did not name worker {lost}:\n{errors[-2000:]}")


def results_of(folder, workers):
    """Let the command end. Return the result of the workers, which must be the same for all."""
    processes = start(folder, workers)
    statuses = [process.communicate() and process.returncode for process in processes]
    if any(statuses):
        raise SystemExit(f"{folder} ended with {statuses}")
    results = [json.loads((path / "weights.json").read_text()) for path in folders(folder, workers)]
    if results.count(results[0]) != workers:
        raise SystemExit(f"The workers differ: {results}")
    return results[0]


@app.command()
def run(folder: Path, kills: int = 20, seed: int = 1, workers: int = 1):
    """Kill and start again, then compare. The exit code is 1 if the runs differ."""
    rng = random.Random(seed)
    report = {"kills": kills, "workers": workers, "killed_workers": [], "updates_at_kills": []}
    for number in range(kills):
        victim, update = start_and_kill(folder / "killed", workers, rng)
        report["killed_workers"].append(victim)
        report["updates_at_kills"].append(update)
        moment = "before the first update" if update is None else f"at update {update}"
        print(f"kill {number + 1}: worker {victim} {moment}", flush=True)
    killed, whole = (results_of(folder / name, workers) for name in ("killed", "whole"))
    same = all(killed[key] == whole[key] for key in ("weights", "best", "updates"))
    report |= {"same_bit_for_bit": same, "killed": killed, "whole": whole}
    (folder / "RESULT.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    app()
