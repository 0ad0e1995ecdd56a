"""Training speed and memory against PyTorch, Hugging Face, keras-hub and JoeyNMT on the same sizes and threads.

    python benchmarks/train_step.py --output DIR --rounds 3
    python benchmarks/train_step.py --output DIR --fit --data MULTI30K

One optimizer update a step on random ids without padding, S = T, label smoothing 0.1, Adam. Each measurement is
a process of its own, with nothing else running: warm-up steps first, then the median of the others. A round
measures every contender once, and the medians of all rounds are reported, beside the rate at which TensorFlow
multiplies matrices in the same round. `products` is what it takes at least: those with weights and nothing else.
Peak memory is the process's highest resident set; "imports" is what it held before the model was made.

`--joeynmt-python` names the interpreter of an environment that has JoeyNMT, whose requirements are old.
`--fit` compares tokens a second in `fit` on a corpus with those of the bare step over the same batches.
"""

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, write
from rich.console import Console
from rich.progress import Progress
from train_contenders import CONTENDERS, Case, flop, weights_flop

# preset: vocabulary size, rows, length
CONFIGURATIONS = {"multi30k_tiny": (10_000, 128, 20), "paper_base": (37_000, 64, 25)}
DTYPES = ("float32", "bfloat16")
MATRIX, PRODUCTS = "matrix product", "products"  # measured like contenders
TORCH = ("torch", "torch compile", "marian", "joeynmt")
WARM_UP, FEWEST, MATRIX_SIZE = 3, 5, 2048


def memory(field):
    """VmHWM, the highest resident set of this process, or VmRSS, the present one: MiB."""
    # Not getrusage's, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def matrix_product(case):
    """A product of two square matrices by TensorFlow."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    matrix = tf.cast(tf.random.normal((MATRIX_SIZE, MATRIX_SIZE)), case.dtype)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return lambda: product()[0, 0].numpy()


def measure(contender, case, seconds):
    """One contender in this process: medians of its steps."""
    if contender in TORCH:
        __import__("torch")
    else:
        sys.modules["jax"] = None  # TensorFlow imports it where it is installed: 100 MiB, for TFLite's converter
        __import__("tensorflow")
    imports = memory("VmRSS")
    step = (CONTENDERS | {MATRIX: matrix_product})[contender](case)
    for _ in range(WARM_UP):
        first = float(step())
    times, busy = [], []
    while len(times) < FEWEST or sum(times) < seconds:
        start, cpu = time.perf_counter(), cpu_seconds()
        last = float(step())
        times.append(time.perf_counter() - start)
        busy.append(cpu_seconds() - cpu)
    if contender not in (MATRIX, PRODUCTS) and not last < first:
        raise RuntimeError(f"{contender} does not train: loss {first} after {WARM_UP} steps, {last} at the end.")
    return {
        "seconds": statistics.median(times),
        "cpu_seconds": statistics.median(busy),
        "steps": len(times),
        "peak_mib": memory("VmHWM"),
        "imports_mib": imports,
    }


def summary(contender, case, rounds):
    """The medians of some rounds, and what follows from them."""
    found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    special = {MATRIX: 2 * MATRIX_SIZE**3, PRODUCTS: weights_flop(case)}
    arithmetic = special[contender] if contender in special else flop(case)
    found |= {"tokens_per_second": case.tokens / found["seconds"], "gflops": arithmetic / found["seconds"] / 1e9}
    return {"contender": contender, **case._asdict(), **found, "rounds": rounds}


def table(results):
    """Markdown: one table a case."""
    lines = []
    for case in dict.fromkeys((r["preset"], r["dtype"]) for r in results):
        rows = {r["contender"]: r for r in results if (r["preset"], r["dtype"]) == case}
        matrix = rows.pop(MATRIX)
        best = max((r for name, r in rows.items() if name.startswith("ours")), key=lambda r: r["tokens_per_second"])
        lines += [f"{', '.join(case)}; matrix products at {matrix['gflops']:.0f} GFLOP/s", ""]
        lines.append(
            "| contender | target tokens/s | ours is faster by | of the matrix rate | CPU s a step | peak MiB |"
        )
        lines.append("|---|---|---|---|---|---|")
        for name, r in rows.items():
            ratio = best["tokens_per_second"] / r["tokens_per_second"]
            lines.append(
                f"| {name} | {r['tokens_per_second']:,.0f} | {ratio:.2f} | {r['gflops'] / matrix['gflops']:.0%} "
                f"| {r['cpu_seconds']:.3f} | {r['peak_mib']:,.0f} ({r['imports_mib']:,.0f} imports) |"
            )
        lines.append("")
    return "\n".join(lines)


def measure_fit(output, presets, dtypes, data, threads, rounds):
    """Tokens a second in `fit` on Multi30k, and of the bare step over one epoch's batches."""
    from train_fit import fit_and_bare_step

    results = []
    for preset in presets:
        vocabulary_size, rows, length = CONFIGURATIONS[preset]
        for dtype in dtypes:
            case = Case(preset, vocabulary_size, rows, length, dtype, threads, {})
            results.append(fit_and_bare_step(case, data, rounds))
    lines = ["| preset | dtype | tokens/s in fit | bare step | share |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['preset']} | {r['dtype']} | {r['fit']:,.0f} | {r['bare']:,.0f} | {r['fit'] / r['bare']:.0%} |"
        for r in results
    ]
    write(output, "train_fit", results, "\n".join(lines))


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for train_step.json and train_step.md.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONFIGURATIONS)}; all if none.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DTYPES)}; both if none.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a batch instead of the configuration's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times that each contender is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help=f"Time for each measurement, at least {FEWEST} steps.")] = 10.0,
    fit: Annotated[bool, typer.Option(help="Measure `fit` on Multi30k, of one preset and dtype, instead.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder with Multi30k for --fit; downloaded if none.")] = None,
    joeynmt_python: Annotated[str, typer.Option(help="Interpreter that has JoeyNMT.")] = sys.executable,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        name, case, seconds = json.loads(worker)
        print(json.dumps(measure(name, Case(*case), seconds)))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    if fit:
        measure_fit(output, preset or CONFIGURATIONS, dtype or DTYPES, data, threads, rounds)
        return
    from keras_transformer.presets import preset as sizes  # not for a worker that needs no TensorFlow

    found = []  # contender, case, what each round measured
    for p in preset or CONFIGURATIONS:
        vocabulary_size, own_rows, length = CONFIGURATIONS[p]
        for d in dtype or DTYPES:
            case = Case(p, vocabulary_size, rows or own_rows, length, d, threads, sizes(p))
            found += [(name, case, []) for name in (MATRIX, *(contender or CONTENDERS))]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(found) * rounds)
        for _ in range(rounds):
            for name, case, measured in found:
                python = joeynmt_python if name == "joeynmt" else sys.executable
                options = {"python": python, "OMP_NUM_THREADS": str(case.threads)}
                measured.append(in_a_process(__file__, name, case, seconds, **options))
                bar.advance(task)
    results = [summary(name, case, measured) for name, case, measured in found]
    write(output, "train_step", results, table(results))


if __name__ == "__main__":
    typer.run(main)
