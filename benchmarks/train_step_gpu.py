"""Training speed on one GPU: this package on Keras' JAX backend against torch.nn.Transformer, compiled.

    python benchmarks/train_step_gpu.py --output DIR

trains paper_base on 25,000 source and 25,000 target tokens a step, mixed bfloat16, by `fit` and by a compiled
PyTorch step with its fused attention and Adam. Each contender is a process of its own; so is the rate at which
JAX multiplies matrices, whose share each step reaches. It runs on a processor too, with a small `--rows`.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from train_contenders import RATE, SEED, SMOOTHING, Case, batch, flop, torch_transformer
from train_step import MATRIX, write

CONTENDERS = ("ours", "torch compile")
VOCABULARY_SIZE, ROWS, LENGTH, MATRIX_SIZE = 37_000, 500, 50, 8192
STEPS, EPOCHS = 10, 5  # the first epoch compiles and is left out


def matrix_product(case, size):
    """Seconds of a product of two square matrices."""
    import jax

    matrix = jax.random.normal(jax.random.key(SEED), (size, size)).astype(case.dtype)
    product = jax.jit(lambda a: a @ a)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        product(matrix).block_until_ready()
        times.append(time.perf_counter() - start)
    return times[2:]


def ours(case):
    """Seconds a step of each epoch of `fit`."""
    import keras

    from keras_transformer import LabelSmoothedCrossEntropy, Transformer

    class Times(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.found = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):  # the epoch's logs are numbers by now, so its steps are done
            self.found.append((time.perf_counter() - self.start) / STEPS)

    keras.utils.set_random_seed(SEED)
    model = Transformer(vocabulary_size=case.vocabulary_size, dtype=case.policy, **case.sizes)
    model.compile(keras.optimizers.Adam(RATE, beta_2=0.98, epsilon=1e-9), LabelSmoothedCrossEntropy(SMOOTHING))
    source, target, labels = batch(case)

    def batches():
        while True:
            yield {"source": source, "target": target}, labels

    watch = Times()
    model.fit(batches(), steps_per_epoch=STEPS, epochs=EPOCHS, callbacks=[watch], verbose=0)
    return watch.found[1:]


def torch_compile(case):
    """Seconds a step; each ends with the loss as a number."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = torch_transformer(case, compiled=True, device=device)
    times = []
    for _ in range(STEPS * 2):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times[STEPS:]


def in_a_process(contender, case, size):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--worker", json.dumps([contender, case, size])]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{contender}, {case} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for train_step_gpu.json and .md.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes of the model.")] = "paper_base",
    rows: Annotated[int, typer.Option(help=f"Rows of {LENGTH} source and {LENGTH} target tokens a step.")] = ROWS,
    matrix_size: Annotated[int, typer.Option(help="Rows and columns of the matrices.")] = MATRIX_SIZE,
    rounds: Annotated[int, typer.Option(help="Times that each contender is measured.")] = 3,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        contender, case, size = json.loads(worker)
        case = Case(*case)
        measures = {"ours": ours, "torch compile": torch_compile, MATRIX: lambda case: matrix_product(case, size)}
        print(json.dumps(statistics.median(measures[contender](case))))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    from keras_transformer.presets import preset as sizes

    case = Case(preset, VOCABULARY_SIZE, rows, LENGTH, "bfloat16", os.cpu_count(), sizes(preset))
    found = {name: [] for name in (MATRIX, *CONTENDERS)}
    for _ in range(rounds):
        for name, seconds in found.items():
            seconds.append(in_a_process(name, case, matrix_size))
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    peak = 2 * matrix_size**3 / medians.pop(MATRIX)
    lines = [
        f"{preset}, bfloat16, {case.tokens:,} + {case.tokens:,} tokens; matrix products at {peak / 1e12:.1f} TFLOP/s"
    ]
    lines += ["", "| contender | target tokens/s | of the matrix rate |", "|---|---|---|"]
    lines += [f"| {n} | {case.tokens / s:,.0f} | {flop(case) / s / peak:.0%} |" for n, s in medians.items()]
    write(output, "train_step_gpu", {"case": case._asdict(), "seconds": found}, "\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
