"""Memory and speed on a large corpus: learning subwords, reading the corpus, and one epoch.

    python benchmarks/corpus.py train.en.gz train.fr.gz benchmarks/results/corpus --times 1 --times 10

measures with the files listed once and with the files listed ten times, each in its own process. It writes
`corpus.json` and `corpus.md`. Peaks are resident memory (VmHWM of Linux), less the memory after the imports.
"""

import os
import time
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import typer
from processes import MIB, in_a_process, in_rounds, memory, run_script
from results import markdown_table, write_results
from timing import timed

from keras_transformer import Tokenizer, parallel_corpus
from keras_transformer.training import provenance


def learn(source, target, times, tokenizer, vocabulary_size):
    """Learn subwords from all files and save them."""
    files = [*[source] * times, *[target] * times]
    seconds, _ = timed(lambda: Tokenizer.train(files, vocabulary_size).save(tokenizer, overwrite=True))
    return {"seconds": seconds}


def read(source, target, times, tokenizer, tokens_per_batch):
    """Read the corpus, then take all batches of one epoch in shuffled order."""
    start = time.perf_counter()
    corpus = parallel_corpus(
        [source] * times, [target] * times, Tokenizer.load(tokenizer), tokens_per_batch=tokens_per_batch, seed=1
    )
    report, seconds_reading = corpus.report, time.perf_counter() - start
    peak_after_reading = memory("VmHWM")
    seconds_epoch, _ = timed(lambda: sum(1 for _ in corpus))
    tokens = report.source_tokens + report.target_tokens
    return {
        "pairs": report.pairs,
        "kept": report.kept,
        "tokens": tokens,
        "batches": report.batches,
        "peak_after_reading": peak_after_reading,
        "seconds_reading": seconds_reading,
        "pairs_per_second_reading": report.pairs / seconds_reading,
        "seconds_epoch": seconds_epoch,
        "pairs_per_second_epoch": report.kept / seconds_epoch,
        "tokens_per_second_epoch": tokens / seconds_epoch,
    }


def measure(kind, source, target, times, tokenizer, size):
    """Measure `learn` or `read`; `size` is the vocabulary's or the batch's."""
    imports = memory("VmRSS")
    figures = {"learn": learn, "read": read}[kind](source, target, times, tokenizer, size)
    peak = memory("VmHWM")
    if "peak_after_reading" in figures:
        figures["peak_after_reading"] -= imports
    return {"times": times, "imports": imports, "peak": peak - imports, **figures}


def table(results):
    """Return a table in Markdown with a row for each number of copies."""
    header = ("corpus", "subwords: peak MiB", "seconds", "reading: pairs", "peak MiB", "pairs/s")
    header += ("epoch: peak MiB", "pairs/s", "tokens/s")
    rows = []
    for learning, reading in zip(results["learn"], results["read"], strict=True):
        figures = (learning["peak"] / MIB, learning["seconds"], reading["pairs"], reading["peak_after_reading"] / MIB)
        figures += (reading["pairs_per_second_reading"], reading["peak"] / MIB)
        figures += (reading["pairs_per_second_epoch"], reading["tokens_per_second_epoch"])
        rows.append((f"{reading['times']}x", *(f"{figure:,.0f}" for figure in figures)))
    return markdown_table(header, rows)


def main(
    source: Path,
    target: Path,
    output: Path,
    times: Annotated[list[int], typer.Option(help="How often the files are listed; may be given again.")] = [1, 10],  # noqa: B006
    vocabulary_size: int = 32_000,
    tokens_per_batch: int = 8192,
):
    """Measure, and write the results."""
    output.mkdir(parents=True, exist_ok=True)
    tokenizer = output / "tokenizer.model"  # `learn` writes it, and the next `read` reads it
    sizes = {"learn": vocabulary_size, "read": tokens_per_batch}
    cases = [(kind, number) for number in times for kind in sizes]

    def measure_case(case):
        kind, number = case
        return in_a_process(__file__, kind, str(source), str(target), number, str(tokenizer), sizes[kind])

    measured = in_rounds(cases, measure_case)
    tokenizer.unlink()
    results = {"corpus": [source.name, target.name], "vocabulary_size": vocabulary_size, **provenance()}
    results |= {"tokens_per_batch": tokens_per_batch, "learn": [], "read": []}
    for (kind, _), [figures] in zip(cases, measured, strict=True):
        results[kind].append(figures)
    write_results(output, "corpus", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
