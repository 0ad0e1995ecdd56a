"""Peak memory of an update whose batch is split into k micro-batches.

    python benchmarks/train_memory.py --output benchmarks/results/train_memory

An update has 2,560 target tokens of random ids without padding, S = T, and Adam, as in `train_step.py`, with
`accumulate_steps=k`. Each measurement runs in its own process: its peak of resident memory (VmHWM of Linux), less the
memory after the imports. The medians of the rounds are reported.

On paper: P parameters in float32 are held once as weights, twice as Adam's moments and once as gradients. With k > 1
they are held once more as the sums of the gradients. The rest belongs to one micro-batch, mostly activations and
their gradients. So it shrinks with k, down to what does not depend on the batch: TensorFlow's own buffers and graphs.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from processes import MIB, in_a_process, in_rounds, memory, run_script
from results import markdown_table, write_results
from timing import medians
from train_contenders import SMOOTHING, Case, keras_step, limit_tensorflow

UPDATES = 5
BYTES = 4  # of a float32


def measure(case, parts):
    """Return the peak memory of some updates in this process, the memory after the imports, and the parameters."""
    case = Case(*case)
    sys.modules["jax"] = None  # as in train_step.py
    __import__("tensorflow")
    from keras_transformer import LabelSmoothedCrossEntropy, Transformer

    imports = memory("VmRSS")
    limit_tensorflow(case)
    model = Transformer.from_preset(case.preset, vocabulary_size=case.vocabulary_size, dtype=case.policy)
    update = keras_step(model, LabelSmoothedCrossEntropy(SMOOTHING), case, jit=False, accumulate_steps=parts)
    losses = [update() for _ in range(UPDATES)]
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"the model does not train with accumulate_steps={parts}: losses {losses}.")
    peak = (memory("VmHWM") - imports) / MIB
    return {"peak_mib": peak, "imports_mib": imports / MIB, "parameters": model.count_params()}


def held(parameters, parts):
    """Return the MiB on paper: weights, two moments, gradients and, with several micro-batches, their sums."""
    return parameters * BYTES * (4 if parts == 1 else 5) / MIB


def table(results):
    """Return a table in Markdown with a row for each k."""
    header = ("micro-batches", "rows of each", "peak MiB above the imports", "weights, moments, gradients", "rest")
    rows = []
    for r in results:
        parts, peak, on_paper = r["accumulate_steps"], r["peak_mib"], r["held_mib"]
        rows.append((parts, r["rows"] // parts, f"{peak:,.0f}", f"{on_paper:,.0f}", f"{peak - on_paper:,.0f}"))
    return markdown_table(header, rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for train_memory.json and train_memory.md.")],
    preset: str = "multi30k_tiny",
    vocabulary_size: int = 10_000,
    rows: int = 128,
    length: int = 20,
    parts: Annotated[list[int], typer.Option(help="Micro-batches, k; may be given again.")] = [1, 2, 4, 8],  # noqa: B006
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each k is measured.")] = 3,
):
    """Measure, and write the results."""
    case = Case(preset, vocabulary_size, rows, length, "float32", threads, {})
    measured = in_rounds(parts, lambda k: in_a_process(__file__, case, k), rounds)
    results = []
    for k, of_k in zip(parts, measured, strict=True):
        figures = medians(of_k)
        on_paper = held(figures["parameters"], k)
        results.append({"accumulate_steps": k, **case._asdict(), **figures, "held_mib": on_paper, "rounds": of_k})
    write_results(output, "train_memory", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
