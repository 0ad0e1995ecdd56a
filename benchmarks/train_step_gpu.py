"""Training speed on one GPU: this package on Keras' JAX backend against torch.nn.Transformer, compiled.

    python benchmarks/train_step_gpu.py --output DIR

trains paper_base on about 25,000 source and 25,000 target tokens a step, mixed bfloat16, by `fit` and by a compiled
PyTorch step with its fused attention and Adam. Each contender is a process of its own; so is the rate at which
JAX multiplies matrices, whose share each step reaches. It runs on a processor too, with a few `--rows`.
"""

import json
import os
import statistics
import time
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, write
from train_contenders import RATE, SEED, SMOOTHING, Case, batch, flop, torch_transformer
from train_step import MATRIX

CONTENDERS = ("ours", "torch compile")
VOCABULARY_SIZE, MATRIX_SIZE = 37_000, 8192
ROWS, LENGTH = 520, 48  # their product, 24,960, is a multiple of 64: what a GPU likes
STEPS, EPOCHS = 20, 5  # the first epoch compiles and is left out


def on_this_machine():
    """The GPU's name, or what else JAX finds."""
    import jax

    return jax.devices()[0].device_kind


def matrix_product(case, size):
    """Seconds of a product of two square matrices, many in a row."""
    import jax

    matrix = jax.random.normal(jax.random.key(SEED), (size, size)).astype(case.dtype)
    product = jax.jit(lambda a: a @ a)
    times = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        jax.block_until_ready([product(matrix) for _ in range(STEPS)])
        times.append((time.perf_counter() - start) / STEPS)
    return {"seconds": statistics.median(times[1:]), "device": on_this_machine()}


def ours(case):
    """Seconds a step of each epoch of `fit`, and the peak memory."""
    import jax
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
    losses = model.fit(batches(), steps_per_epoch=STEPS, epochs=EPOCHS, callbacks=[watch], verbose=0).history["loss"]
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return found("ours", watch.found[1:], losses, peak)


def torch_compile(case):
    """Seconds a step of as many steps in turn, which wait for the device at the end alone, and the peak memory."""
    import torch

    on_gpu = torch.cuda.is_available()
    step = torch_transformer(case, compiled=True, device="cuda" if on_gpu else "cpu")
    times, losses = [], []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        losses.append([step() for _ in range(STEPS)][-1].item())
        times.append((time.perf_counter() - start) / STEPS)
    return found("torch compile", times[1:], losses, torch.cuda.max_memory_allocated() if on_gpu else None)


def found(contender, times, losses, peak):
    """What a contender's process reports."""
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"{contender} does not train: loss {losses[0]} at first, {losses[-1]} at the end.")
    return {"seconds": statistics.median(times), "peak_mib": peak and peak / 2**20}


def table(case, results, matrix_size):
    """Markdown."""
    matrix = results[MATRIX]
    peak = 2 * matrix_size**3 / statistics.median(each["seconds"] for each in matrix)
    lines = [
        f"{case.preset}, {case.dtype}, {case.rows} rows of {case.length}: {case.tokens:,} + {case.tokens:,} tokens; "
        f"{matrix[0]['device']}, matrix products at {peak / 1e12:.1f} TFLOP/s",
        "",
        "| contender | target tokens/s | ms a step | ours is faster by | of the matrix rate | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    seconds = {name: statistics.median(each["seconds"] for each in results[name]) for name in CONTENDERS}
    for name, s in seconds.items():
        peaks = [each["peak_mib"] for each in results[name]]  # None on a processor
        memory = format(statistics.median(peaks), ",.0f") if all(peaks) else ""
        lines.append(
            f"| {name} | {case.tokens / s:,.0f} | {s * 1e3:.2f} | {s / seconds['ours']:.2f} "
            f"| {flop(case) / s / peak:.0%} | {memory} |"
        )
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for train_step_gpu.json and .md.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes of the model.")] = "paper_base",
    rows: Annotated[int, typer.Option(help="Rows of a batch.")] = ROWS,
    length: Annotated[int, typer.Option(help="Source tokens, and target tokens, of a row.")] = LENGTH,
    matrix_size: Annotated[int, typer.Option(help="Rows and columns of the matrices.")] = MATRIX_SIZE,
    rounds: Annotated[int, typer.Option(help="Times that each contender is measured.")] = 3,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        contender, case, size = json.loads(worker)
        case = Case(*case)
        measures = {"ours": ours, "torch compile": torch_compile, MATRIX: lambda case: matrix_product(case, size)}
        print(json.dumps(measures[contender](case)))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    os.environ.setdefault("KERAS_BACKEND", "jax")  # TensorFlow need not be there
    from keras_transformer.presets import preset as sizes

    case = Case(preset, VOCABULARY_SIZE, rows, length, "bfloat16", os.cpu_count(), sizes(preset))
    results = {name: [] for name in (MATRIX, *CONTENDERS)}
    options = {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES")}
    for _ in range(rounds):
        for name, measured in results.items():
            measured.append(in_a_process(__file__, name, case, matrix_size, **options))
    write(output, "train_step_gpu", {"case": case._asdict(), **results}, table(case, results, matrix_size))


if __name__ == "__main__":
    typer.run(main)
