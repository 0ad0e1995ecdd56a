"""Memory and speed on a large corpus: learning subwords, reading it in, and a pass over an epoch.

    python benchmarks/corpus.py main train.en.gz train.fr.gz benchmarks/results/corpus --times 1 --times 10

runs each measurement in a process of its own, on the files listed as many times, and writes `corpus.json` and
`corpus.md`. Peaks are resident memory (VmHWM of Linux) above that of the imports.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keras_transformer import Tokenizer, parallel_corpus
from keras_transformer.files import written_beside
from keras_transformer.training import provenance

app = typer.Typer(add_completion=False)
MIB = 2**20


def resident(field):
    """Memory of this process in bytes: "VmRSS" now, "VmHWM" at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def learn(source, target, times, tokenizer, vocabulary_size):
    """Learn subwords from all files and save them."""
    started = time.monotonic()
    Tokenizer.train([*[source] * times, *[target] * times], vocabulary_size).save(tokenizer, overwrite=True)
    return {"seconds": time.monotonic() - started}


def read(source, target, times, tokenizer, tokens_per_batch):
    """Read the corpus in, then pass over one epoch of it in its shuffled order."""
    started = time.monotonic()
    corpus = parallel_corpus(
        [source] * times, [target] * times, Tokenizer.load(tokenizer), tokens_per_batch=tokens_per_batch, seed=1
    )
    report, counted = corpus.report, time.monotonic()
    after_counting = resident("VmHWM")
    console = Console(stderr=True)
    columns = TextColumn("{task.completed:,}/{task.total:,} batches"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for _ in progress.track(corpus, total=report.batches):
            pass
    ended = time.monotonic()
    tokens = report.source_tokens + report.target_tokens
    return {
        "pairs": report.pairs,
        "kept": report.kept,
        "tokens": tokens,
        "batches": report.batches,
        "peak_after_reading": after_counting,
        "seconds_reading": counted - started,
        "pairs_per_second_reading": report.pairs / (counted - started),
        "seconds_epoch": ended - counted,
        "pairs_per_second_epoch": report.kept / (ended - counted),
        "tokens_per_second_epoch": tokens / (ended - counted),
    }


@app.command(hidden=True)
def measure(kind: str, source: Path, target: Path, times: int, tokenizer: Path, size: int):
    """One measurement, as JSON on the last line; `size` is a vocabulary's or a batch's."""
    imports = resident("VmRSS")
    found = {"learn": learn, "read": read}[kind](source, target, times, tokenizer, size)
    peak = resident("VmHWM")
    if "peak_after_reading" in found:
        found["peak_after_reading"] -= imports
    print(json.dumps({"times": times, "imports": imports, "peak": peak - imports, **found}))


def in_a_process(*arguments):
    command = [sys.executable, __file__, "measure", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise typer.Exit(result.returncode)
    return json.loads(result.stdout.splitlines()[-1])


def table(results):
    """The figures as Markdown."""
    lines = [
        "| corpus | subwords: peak MiB | seconds | reading: pairs | peak MiB | pairs/s "
        "| epoch: peak MiB | pairs/s | tokens/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for learnt, passed in zip(results["learn"], results["read"], strict=True):
        lines.append(
            f"| {passed['times']}x | {learnt['peak'] / MIB:,.0f} | {learnt['seconds']:,.0f} | {passed['pairs']:,} "
            f"| {passed['peak_after_reading'] / MIB:,.0f} | {passed['pairs_per_second_reading']:,.0f} "
            f"| {passed['peak'] / MIB:,.0f} | {passed['pairs_per_second_epoch']:,.0f} "
            f"| {passed['tokens_per_second_epoch']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


@app.command()
def main(
    source: Path,
    target: Path,
    output: Path,
    times: Annotated[list[int], typer.Option(help="list the files so many times; may be given again")] = [1, 10],  # noqa: B006
    vocabulary_size: int = 32_000,
    tokens_per_batch: int = 8192,
):
    """Measure and write."""
    output.mkdir(parents=True, exist_ok=True)
    results = {"corpus": [source.name, target.name], "vocabulary_size": vocabulary_size, **provenance()}
    results |= {"tokens_per_batch": tokens_per_batch, "learn": [], "read": []}
    tokenizer = output / "tokenizer.model"
    for number in times:
        for kind, size in (("learn", vocabulary_size), ("read", tokens_per_batch)):
            results[kind].append(in_a_process(kind, source, target, number, tokenizer, size))
            print(f"{kind} {number}x: peak {results[kind][-1]['peak'] / MIB:,.0f} MiB above the imports")
    tokenizer.unlink()
    for name, text in (("corpus.json", json.dumps(results, indent=2) + "\n"), ("corpus.md", table(results))):
        with written_beside(output / name, overwrite=True) as beside:
            beside.write_text(text, encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    app()
