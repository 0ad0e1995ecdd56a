"""Kill a training run again and again, start the same command each time, and compare its end with an unbroken one.

    python tests/support/kill_and_resume.py run runs/killed --kills 20

starts `train` in a folder, kills it (SIGKILL) at a random moment, starts it again, and so on; then it lets it end,
trains once more without a break, and compares the variables of model and optimizer bit for bit. Where the kills fell
and what it found are printed and written to `runs/killed/RESULT.json`.

With `--workers 2`, so many processes train as one through TF_CONFIG, each in a folder of its own, and one of them,
any, is killed. Where they train already, the others must end by themselves with the message that names it.
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
PATIENCE = 300  # seconds in which the others must notice that one is gone; TensorFlow takes 10
SIZES = {
    "short": (110, 2, 3),
    "long": (3000, 8, 10),
    "workers": (2000, 3, 10),
}  # pairs, epochs, updates between two states


class Watched(keras.callbacks.Callback):
    """Tells the parent that training goes on, and kills its own process after an update, if asked to."""

    def __init__(self, corpus, kill_at):
        super().__init__()
        self.corpus, self.kill_at, self.first = corpus, kill_at, None

    def on_epoch_begin(self, epoch, logs=None):
        self.step = int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch, logs=None):
        if self.first is None:
            self.first = [self.corpus.position.epoch, self.corpus.position.batch]
        step = int(self.model.optimizer.iterations.numpy())
        if step > self.step:  # not one that is passed over
            print(step, flush=True)
        self.step = step
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


@app.command()
def train(folder: Path, kill_at: int = -1, size: str = "short"):
    """The command that is killed and started again: a tiny model, with dropout, validation and keep-best."""
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
    throughput, watched = Throughput(), Watched(corpus, kill_at)
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
        callbacks=[throughput, watched, checkpoint],
    )
    weights = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        weights.update(keras.ops.convert_to_numpy(variable).tobytes())
    result = {
        "weights": weights.hexdigest(),
        "first": watched.first,
        "best": checkpoint.best,
        "updates": int(model.optimizer.iterations.numpy()),
    }
    folder.mkdir(exist_ok=True)  # only the first worker writes states
    (folder / "weights.json").write_text(json.dumps(result))


def free_ports(count):
    """Ports that nobody listens on, of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def config(index, ports):
    """TF_CONFIG of a worker on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def folders(folder, workers):
    """Of each worker."""
    return [folder.with_name(f"{folder.name}.{index}") for index in range(workers)] if workers > 1 else [folder]


def errors_of(own):
    """The file beside a worker's folder."""
    return own.with_name(f"{own.name}.err")


def start(folder, workers=1):
    """The processes, one for each worker; what they write as errors stands beside their folders."""
    ports, processes = free_ports(workers), []
    for index, own in enumerate(folders(folder, workers)):
        own.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | ({"TF_CONFIG": config(index, ports)} if workers > 1 else {})
        command = [sys.executable, __file__, "train", str(own), "--size", "long" if workers == 1 else "workers"]
        with errors_of(own).open("w") as errors:
            options = {"env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            processes.append(subprocess.Popen(command, **options))
    return processes


def killed_at(folder, workers, rng):
    """Start the command and kill one worker; which, and the last update it told of, or None before the first."""
    processes = start(folder, workers)
    victim = rng.randrange(workers)
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 8))  # while it imports, reads and traces
    else:
        processes[victim].stdout.readline()
        time.sleep(rng.uniform(0, 2))
    ended = [process.poll() for process in processes]
    processes[victim].kill()
    told = processes[victim].stdout.read().split()
    try:
        if ended != [None] * workers:
            raise SystemExit(f"Ended with {ended} before one was killed.")
        if told:
            others_end(folder, processes, victim)
    finally:  # before the first update, the others wait for the one to come
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
    return victim, int(told[-1]) if told else None


def others_end(folder, processes, lost):
    """Wait until the other workers have ended, and read why."""
    for index, process in enumerate(processes):
        if index == lost:
            continue
        process.stdout.read()
        status = process.wait(PATIENCE)
        errors = errors_of(folders(folder, len(processes))[index]).read_text()
        if status == 0 or not re.search(rf"worker {lost} of TF_CONFIG no longer answers", errors):
            raise SystemExit(f"Worker {index} ended with {status} and not for want of worker {lost}:\n{errors[-2000:]}")


def results_of(folder, workers):
    """Let the command end; what each worker reports, which must be the same."""
    processes = start(folder, workers)
    statuses = [process.communicate() and process.returncode for process in processes]
    if any(statuses):
        raise SystemExit(f"{folder} ended with {statuses}")
    found = [json.loads((own / "weights.json").read_text()) for own in folders(folder, workers)]
    if found.count(found[0]) != workers:
        raise SystemExit(f"The workers differ: {found}")
    return found[0]


@app.command()
def run(folder: Path, kills: int = 20, seed: int = 1, workers: int = 1):
    """Kill and start again, then compare."""
    rng = random.Random(seed)
    found = {"kills": kills, "workers": workers, "killed_workers": [], "updates_at_kills": []}
    for number in range(kills):
        victim, update = killed_at(folder / "killed", workers, rng)
        found["killed_workers"].append(victim)
        found["updates_at_kills"].append(update)
        moment = "before the first update" if update is None else f"at update {update}"
        print(f"kill {number + 1}: worker {victim} {moment}", flush=True)
    killed, whole = (results_of(folder / name, workers) for name in ("killed", "whole"))
    same = all(killed[key] == whole[key] for key in ("weights", "best", "updates"))
    found |= {"same_bit_for_bit": same, "killed": killed, "whole": whole}
    (folder / "RESULT.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    app()
