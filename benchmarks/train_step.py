"""Training speed and memory against PyTorch, Hugging Face, keras-hub and JoeyNMT with the same sizes and threads.

    python benchmarks/train_step.py --output DIR --rounds 3
    python benchmarks/train_step.py --output DIR --fit --data MULTI30K

A step is one update on random ids without padding, S = T, label smoothing 0.1, Adam. Each measurement runs in its own
process, with nothing beside it: warm-up steps first, then the median of the others. A round measures every contender
once. The medians of all rounds are reported, beside the rate at which TensorFlow multiplies matrices in the same
round. `products` does the products with weights and nothing else: ours cannot be faster than that. Peak memory is the
highest resident memory of the process. "imports" is its memory before the model was made.

JoeyNMT needs old versions of its requirements. `--joeynmt-python` is the interpreter of an environment that has it.
`--fit` compares the tokens a second of `fit` on a corpus with those of the bare step over the same batches.
"""

import math
import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer
from processes import MIB, in_a_process, in_rounds, memory, run_script
from results import markdown_table, write_results
from timing import medians, repeat
from train_contenders import CONTENDERS, Case, flop, weights_flop

# preset: vocabulary size, rows, length
CONFIGURATIONS = {"multi30k_tiny": (10_000, 128, 20), "paper_base": (37_000, 64, 25)}
DTYPES = ("float32", "bfloat16")
MATRIX, PRODUCTS = "matrix product", "products"  # measured like contenders
TORCH = ("torch", "torch compile", "marian", "joeynmt")
WARM_UP, FEWEST, MATRIX_SIZE = 3, 5, 2048


def cases_of(presets, dtypes, rows, threads):
    """Return a `Case` for each preset and dtype; all of them if None. `rows` None is the configuration's."""
    from keras_transformer.presets import preset as sizes  # here, as PyTorch's processes must not import Keras

    cases = []
    for preset in presets or CONFIGURATIONS:
        vocabulary_size, own_rows, length = CONFIGURATIONS[preset]
        for dtype in dtypes or DTYPES:
            cases.append(Case(preset, vocabulary_size, rows or own_rows, length, dtype, threads, sizes(preset)))
    return cases


def matrix_product(case):
    """Return a function that multiplies two square matrices with TensorFlow."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    matrix = tf.cast(tf.random.normal((MATRIX_SIZE, MATRIX_SIZE)), case.dtype)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return lambda: product()[0, 0].numpy()


def measure(contender, case, seconds):
    """Measure one contender in this process: medians of its steps, and memory."""
    case = Case(*case)
    if contender in TORCH:
        __import__("torch")
    else:
        sys.modules["jax"] = None  # where JAX is installed, TensorFlow imports it for TFLite: 100 MiB more
        __import__("tensorflow")
    imports = memory("VmRSS")
    step = (CONTENDERS | {MATRIX: matrix_product})[contender](case)
    timings = repeat(lambda: float(step()), seconds, warm_up=WARM_UP, fewest=FEWEST, most=math.inf)
    first, last = timings.values[WARM_UP - 1], timings.values[-1]
    if contender not in (MATRIX, PRODUCTS) and not last < first:
        raise RuntimeError(f"{contender} does not train: loss {first} after {WARM_UP} steps, {last} at the end.")
    return {
        "seconds": timings.median,
        "cpu_seconds": statistics.median(timings.cpu_seconds),
        "steps": len(timings.seconds),
        "peak_mib": memory("VmHWM") / MIB,
        "imports_mib": imports / MIB,
    }


def summary(contender, case, rounds):
    """Return the medians of the rounds, and the rates that follow from them."""
    figures = medians(rounds)
    special = {MATRIX: 2 * MATRIX_SIZE**3, PRODUCTS: weights_flop(case)}
    operations = special[contender] if contender in special else flop(case)
    figures["tokens_per_second"] = case.tokens / figures["seconds"]
    figures["gflops"] = operations / figures["seconds"] / 1e9
    return {"contender": contender, **case._asdict(), **figures, "rounds": rounds}


def table(results):
    """Return Markdown with one table for each preset and dtype."""
    header = ("contender", "target tokens/s", "ours is faster by", "of the matrix rate", "CPU s a step", "peak MiB")
    texts = []
    for case in dict.fromkeys((r["preset"], r["dtype"]) for r in results):
        contenders = {r["contender"]: r for r in results if (r["preset"], r["dtype"]) == case}
        matrix = contenders.pop(MATRIX)
        best = max(r["tokens_per_second"] for name, r in contenders.items() if name.startswith("ours"))
        rows = []
        for name, r in contenders.items():
            rates = (f"{r['tokens_per_second']:,.0f}", f"{best / r['tokens_per_second']:.2f}")
            share, cpu = f"{r['gflops'] / matrix['gflops']:.0%}", f"{r['cpu_seconds']:.3f}"
            rows.append((name, *rates, share, cpu, f"{r['peak_mib']:,.0f} ({r['imports_mib']:,.0f} imports)"))
        title = f"{', '.join(case)}; matrix products at {matrix['gflops']:.0f} GFLOP/s"
        texts.append(f"{title}\n\n{markdown_table(header, rows)}\n")
    return "\n".join(texts)


def measure_fit(output, cases, data, rounds):
    """Write the tokens a second of `fit` on Multi30k, and of the bare step over one epoch's batches."""
    from train_fit import fit_and_bare_step

    results = [fit_and_bare_step(case, data, rounds) for case in cases]
    rows = [
        (r["preset"], r["dtype"], f"{r['fit']:,.0f}", f"{r['bare']:,.0f}", f"{r['fit'] / r['bare']:.0%}")
        for r in results
    ]
    text = markdown_table(("preset", "dtype", "tokens/s in fit", "bare step", "share"), rows)
    write_results(output, "train_fit", results, text)


def main(
    output: Annotated[Path, typer.Option(help="Folder for train_step.json and train_step.md.")],
    preset: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONFIGURATIONS)}; all if none.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DTYPES)}; both if none.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a batch instead of the configuration's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help=f"Time of each measurement, at least {FEWEST} steps.")] = 10.0,
    fit: Annotated[bool, typer.Option(help="Measure `fit` on Multi30k, of one preset and dtype, instead.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder with Multi30k for --fit; downloaded if none.")] = None,
    joeynmt_python: Annotated[str, typer.Option(help="Interpreter that has JoeyNMT.")] = sys.executable,
):
    """Measure, and write the results."""
    cases = cases_of(preset, dtype, rows, threads)
    if fit:
        measure_fit(output, cases, data, rounds)
        return
    entrants = [(name, case) for case in cases for name in (MATRIX, *(contender or CONTENDERS))]

    def measure_entrant(entrant):
        name, case = entrant
        options = {"python": joeynmt_python if name == "joeynmt" else sys.executable}
        return in_a_process(__file__, name, case, seconds, OMP_NUM_THREADS=str(threads), **options)

    measured = in_rounds(entrants, measure_entrant, rounds)
    results = [summary(name, case, of_entrant) for (name, case), of_entrant in zip(entrants, measured, strict=True)]
    write_results(output, "train_step", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
