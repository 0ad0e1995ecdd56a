"""Kill a training run again and again, start the same command each time, and compare its end with an unbroken one.

    python tests/kill_and_resume.py run runs/killed --kills 20

starts `train` in a folder, kills it (SIGKILL) at a random moment, starts it again, and so on; then it lets it end,
trains once more without a break, and compares the variables of model and optimizer bit for bit. Where the kills fell
and what it found are printed and written to `runs/killed/RESULT.json`.
"""

import hashlib
import json
import os
import random
import signal
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
from keras_transformer.training import Checkpoint, Throughput

app = typer.Typer(add_completion=False)
SIZES = {"short": (110, 2, 3), "long": (3000, 8, 10)}  # pairs, epochs, updates between two states


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
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(1)
    paths = tiny.write_pairs(folder.with_name(f"{folder.name}.corpus"), tiny.digit_pairs(pairs, seed=2))
    tokenizer = tiny.make_tokenizer(folder.with_name(f"{folder.name}.tokenizer"))
    corpus = parallel_corpus(*paths, tokenizer, tokens_per_batch=64, num_shapes=2, seed=3)
    valid = parallel_corpus(*paths, tokenizer, tokens_per_batch=640, num_shapes=1, shuffle=False)
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
    (folder / "weights.json").write_text(json.dumps(result))


def start(folder):
    command = [sys.executable, __file__, "train", str(folder), "--size", "long"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_at(folder, rng):
    """Start the command and kill it; the last update it told of, or None if it had not begun or was done before."""
    process = start(folder)
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 8))  # while it imports, reads and traces
    else:
        process.stdout.readline()
        time.sleep(rng.uniform(0, 2))
    done = process.poll() is not None
    process.kill()
    told = process.stdout.read().split()
    process.wait()
    if done:
        raise SystemExit("The run ended before it was killed: make it longer.")
    return int(told[-1]) if told else None


@app.command()
def run(folder: Path, kills: int = 20, seed: int = 1):
    """Kill and start again, then compare."""
    rng = random.Random(seed)
    updates = []
    for number in range(kills):
        updates.append(killed_at(folder / "killed", rng))
        print(f"kill {number + 1}: {'before the first update' if updates[-1] is None else f'at update {updates[-1]}'}")
    results = []
    for name in ("killed", "whole"):
        process = start(folder / name)
        process.communicate()
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}")
        results.append(json.loads((folder / name / "weights.json").read_text()))
    killed, whole = results
    same = all(killed[key] == whole[key] for key in ("weights", "best", "updates"))
    found = {"kills": kills, "updates_at_kills": updates, "same_bit_for_bit": same, "killed": killed, "whole": whole}
    (folder / "RESULT.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    app()
