"""Peak memory of a training step whose batch is split into k micro-batches.

    python benchmarks/train_memory.py --output benchmarks/results/train_memory

One optimizer update a step on 2,560 target tokens of random ids without padding, S = T, Adam, as in `train_step.py`,
with `accumulate_steps=k`. Each measurement is a process of its own: its highest resident set (VmHWM of Linux) above
what it held after the imports. Medians of the rounds.

On paper: P parameters in float32 are held once as weights, twice as Adam's moments and once as gradients; with k > 1
once more as the sums of gradients. The rest, activations and their gradients foremost, is of one micro-batch, and so
shrinks with k down to what does not depend on the batch: TensorFlow's own buffers and graphs.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, write
from rich.console import Console
from rich.progress import Progress
from train_contenders import SMOOTHING, Case, keras_step, limit_tensorflow
from train_step import memory

STEPS = 5
BYTES, MIB = 4, 2**20  # of a float32


def measure(case, parts):
    """Peak memory of some steps in this process, above the imports, in MiB, and the model's parameters."""
    sys.modules["jax"] = None  # as in train_step.py
    __import__("tensorflow")
    from keras_transformer import LabelSmoothedCrossEntropy, Transformer

    imports = memory("VmRSS")
    limit_tensorflow(case)
    model = Transformer.from_preset(case.preset, vocabulary_size=case.vocabulary_size, dtype=case.policy)
    step = keras_step(model, LabelSmoothedCrossEntropy(SMOOTHING), case, jit=False, accumulate_steps=parts)
    losses = [step() for _ in range(STEPS)]
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"accumulate_steps={parts} does not train: losses {losses}.")
    return {"peak_mib": memory("VmHWM") - imports, "imports_mib": imports, "parameters": model.count_params()}


def held(parameters, parts):
    """MiB on paper of weights, two moments, gradients and, with several micro-batches, their sums."""
    return parameters * BYTES * (4 if parts == 1 else 5) / MIB


def table(results):
    """Markdown: a line for each k."""
    lines = [
        "| micro-batches | rows of each | peak MiB above the imports | weights, moments, gradients | rest |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['accumulate_steps']} | {r['rows'] // r['accumulate_steps']} | {r['peak_mib']:,.0f} "
        f"| {r['held_mib']:,.0f} | {r['peak_mib'] - r['held_mib']:,.0f} |"
        for r in results
    ]
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for train_memory.json and train_memory.md.")] = None,
    preset: str = "multi30k_tiny",
    vocabulary_size: int = 10_000,
    rows: int = 128,
    length: int = 20,
    parts: Annotated[list[int], typer.Option(help="Micro-batches, k; may be given again.")] = [1, 2, 4, 8],  # noqa: B006
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times that each k is measured.")] = 3,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        case, k = json.loads(worker)
        print(json.dumps(measure(Case(*case), k)))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    case = Case(preset, vocabulary_size, rows, length, "float32", threads, {})
    measured = {k: [] for k in parts}
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=rounds * len(parts))
        for _ in range(rounds):
            for k, found in measured.items():
                found.append(in_a_process(__file__, case, k))
                bar.advance(task)
    results = []
    for k, found in measured.items():
        medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
        on_paper = held(medians["parameters"], k)
        results.append({"accumulate_steps": k, **case._asdict(), **medians, "held_mib": on_paper, "rounds": found})
    write(output, "train_memory", results, table(results))


if __name__ == "__main__":
    typer.run(main)
