"""Training speed on one GPU: this package on Keras' JAX backend against a compiled torch.nn.Transformer.

    python benchmarks/train_step_gpu.py --output DIR

trains paper_base in mixed bfloat16 on about 25,000 source and 25,000 target tokens an update. Ours trains with `fit`,
PyTorch with a compiled step that has its fused attention and Adam. Each contender runs in its own process. So does
JAX's product of two matrices: its rate is what the updates are compared with. The script runs on a processor too,
with a few `--rows`.
"""

import os
import statistics
from pathlib import Path
from typing import Annotated

import typer
from processes import MIB, in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import epoch_timer, repeat
from train_contenders import RATE, SEED, SMOOTHING, Case, batch, flop, torch_transformer
from train_step import MATRIX

CONTENDERS = ("ours", "torch compile")
VOCABULARY_SIZE, MATRIX_SIZE = 37_000, 8192
ROWS, LENGTH = 520, 48  # 24,960 tokens, a multiple of 64: GPUs are faster with those
STEPS, EPOCHS = 20, 5  # the first epoch compiles and does not count


def device_kind():
    """Return the name of the GPU, or of the device that JAX finds instead."""
    import jax

    return jax.devices()[0].device_kind


def matrix_product(case, size):
    """Return the seconds of a product of two square matrices, many in a row."""
    import jax

    matrix = jax.random.normal(jax.random.key(SEED), (size, size)).astype(case.dtype)
    product = jax.jit(lambda a: a @ a)

    def products():
        jax.block_until_ready([product(matrix) for _ in range(STEPS)])

    return {"seconds": repeat(products, warm_up=1, fewest=EPOCHS - 1).median / STEPS, "device": device_kind()}


def ours(case):
    """Return the seconds of an update of `fit`, and the peak memory."""
    import jax
    import keras

    from keras_transformer import LabelSmoothedCrossEntropy, Transformer

    keras.utils.set_random_seed(SEED)
    model = Transformer(vocabulary_size=case.vocabulary_size, dtype=case.policy, **case.sizes)
    model.compile(keras.optimizers.Adam(RATE, beta_2=0.98, epsilon=1e-9), LabelSmoothedCrossEntropy(SMOOTHING))
    source, target, labels = batch(case)

    def batches():
        while True:
            yield {"source": source, "target": target}, labels

    timer, epoch_seconds = epoch_timer()
    history = model.fit(batches(), steps_per_epoch=STEPS, epochs=EPOCHS, callbacks=[timer], verbose=0).history
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return report("ours", statistics.median(epoch_seconds[1:]), history["loss"], peak)


def torch_compile(case):
    """Return the seconds of an update by PyTorch, which waits for the device once an epoch, and the peak memory."""
    import torch

    on_gpu = torch.cuda.is_available()
    step = torch_transformer(case, compiled=True, device="cuda" if on_gpu else "cpu")
    timings = repeat(lambda: [step() for _ in range(STEPS)][-1].item(), warm_up=1, fewest=EPOCHS - 1)
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    return report("torch compile", timings.median, timings.values, peak)


def report(contender, epoch_seconds, losses, peak):
    """Return the figures of a contender, if it trains."""
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"{contender} does not train: loss {losses[0]} at first, {losses[-1]} at the end.")
    return {"seconds": epoch_seconds / STEPS, "peak_mib": peak and peak / MIB}


def measure(contender, case, size):
    """Measure one contender, or the product of two matrices of `size` rows, in this process."""
    case = Case(*case)
    if contender == MATRIX:
        return matrix_product(case, size)
    return {"ours": ours, "torch compile": torch_compile}[contender](case)


def table(case, results, matrix_size):
    """Return a table in Markdown with a row for each contender, and a line about the case before it."""
    seconds = {name: statistics.median(figures["seconds"] for figures in rounds) for name, rounds in results.items()}
    matrix_rate = 2 * matrix_size**3 / seconds[MATRIX]
    title = (
        f"{case.preset}, {case.dtype}, {case.rows} rows of {case.length}: {case.tokens:,} + {case.tokens:,} tokens; "
        f"{results[MATRIX][0]['device']}, matrix products at {matrix_rate / 1e12:.1f} TFLOP/s"
    )
    header = ("contender", "target tokens/s", "ms a step", "ours is faster by", "of the matrix rate", "peak MiB")
    rows = []
    for name in CONTENDERS:
        s, peaks = seconds[name], [figures["peak_mib"] for figures in results[name]]  # peaks: None on a processor
        speed = (f"{case.tokens / s:,.0f}", f"{s * 1e3:.2f}", f"{s / seconds['ours']:.2f}")
        share = f"{flop(case) / s / matrix_rate:.0%}"
        rows.append((name, *speed, share, f"{statistics.median(peaks):,.0f}" if all(peaks) else ""))
    return f"{title}\n\n{markdown_table(header, rows)}"


def main(
    output: Annotated[Path, typer.Option(help="Folder for train_step_gpu.json and .md.")],
    preset: Annotated[str, typer.Option(help="Sizes of the model.")] = "paper_base",
    rows: Annotated[int, typer.Option(help="Rows of a batch.")] = ROWS,
    length: Annotated[int, typer.Option(help="Source tokens, and target tokens, of a row.")] = LENGTH,
    matrix_size: Annotated[int, typer.Option(help="Rows and columns of the matrices.")] = MATRIX_SIZE,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 3,
):
    """Measure, and write the results."""
    os.environ.setdefault("KERAS_BACKEND", "jax")  # TensorFlow may be missing
    from keras_transformer.presets import preset as sizes

    case = Case(preset, VOCABULARY_SIZE, rows, length, "bfloat16", os.cpu_count(), sizes(preset))
    options = {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES")}
    names = (MATRIX, *CONTENDERS)
    measured = in_rounds(names, lambda name: in_a_process(__file__, name, case, matrix_size, **options), rounds)
    results = dict(zip(names, measured, strict=True))
    write_results(output, "train_step_gpu", {"case": case._asdict(), **results}, table(case, results, matrix_size))


if __name__ == "__main__":
    run_script(main, measure)
