"""What an export stands: many callers for minutes, and the worst input that a server can be sent.

    python benchmarks/serving_load.py --output DIR --export saved_models/en_de/1 --sentences test.en
    python benchmarks/serving_load.py --output DIR --bounds runs/en_de

The export runs in a process of its own, in `tests/support/serving_double.py`, the test double of TensorFlow Serving:
the server's own loader, its batching and its gRPC interface, but Python's speed around them. The first command asks
each sentence alone, then lets many callers ask one to four of them at a time, and compares every answer with the
quiet one. The second exports a training folder once more so that no translation ends before its limit, and sends it
the longest source that is allowed, alone and in a whole batch. Memory is the server process's, from Linux's /proc.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "serving"))

from grpc_client import GrpcClient
from serving_client import ServingError

from keras_transformer.files import read_lines, written_beside

DOUBLE = Path(__file__).parents[1] / "tests" / "support" / "serving_double.py"
MODEL = "load"
LARGEST_BATCH = 64
EXTRA = 50  # tokens that a translation may have more than its source, `max_extra_length`


class Server:
    """The test double in a process of its own, for a `with` statement; `counts` are there after it."""

    def __init__(self, export):
        self.command = [sys.executable, str(DOUBLE), str(export), "--model", MODEL]
        self.command += ["--max-batch-size", str(LARGEST_BATCH)]

    def __enter__(self):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(self.command, env=environment, text=True, **pipes)
        ports = self.process.stdout.readline()
        if not ports:
            raise RuntimeError(f"the server did not start: exit code {self.process.wait()}.")
        self.address = f"127.0.0.1:{json.loads(ports)['grpc']}"
        return self

    def __exit__(self, *_):
        last, _ = self.process.communicate()  # it serves until its input ends
        self.counts = json.loads(last) if last else {}

    def client(self, **limits):
        return GrpcClient(self.address, MODEL, retries=0, batch_size=LARGEST_BATCH, timeout=600.0, **limits)

    def memory(self, key="VmRSS"):
        """MiB: VmRSS, resident now, or VmHWM, the most that was ever resident."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        [kilobytes] = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
        return int(kilobytes) / 1024


@dataclass
class Tally:
    """What one caller saw."""

    requests: int = 0
    sentences: int = 0
    errors: list = field(default_factory=list)
    different: list = field(default_factory=list)
    score_difference: float = 0.0

    def compare(self, text, row, quiet):
        self.sentences += 1
        self.score_difference = max(self.score_difference, abs(row["scores"] - quiet["scores"]))
        if row["translations"] != quiet["translations"]:
            self.different.append({"sentence": text, "alone": quiet, "under load": row})


def call(client, quiet, seed, end):
    """One caller: it asks until `end`."""
    rng, tally, texts = np.random.default_rng(seed), Tally(), list(quiet)
    while time.monotonic() < end:
        chosen = [texts[i] for i in rng.integers(0, len(texts), rng.integers(1, 5))]
        tally.requests += 1
        try:
            for text, row in zip(chosen, client.predict(chosen), strict=True):
                tally.compare(text, row, quiet[text])
        except ServingError as error:
            tally.errors.append(str(error))
    client.close()
    return tally


def load(server, quiet, callers, seconds, bar):
    """All callers' tallies, and the server's memory in MiB at each second."""
    start, task, memory = time.monotonic(), bar.add_task("load", total=seconds), []
    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, server.client(), quiet, seed, start + seconds) for seed in range(callers)]
        while (passed := time.monotonic() - start) < seconds:
            memory.append((round(passed, 1), server.memory()))
            bar.update(task, completed=passed)
            time.sleep(min(1.0, seconds / 20))
        return [tally.result() for tally in calls], memory, time.monotonic() - start


def prove_load(export, sentences, callers, seconds):
    """The figures of a load test, as a dictionary."""
    texts = list(dict.fromkeys(read_lines(sentences)))
    if not texts:
        raise typer.BadParameter(f"{sentences} has no line.", param_hint="--sentences")
    with Server(export) as server, Progress(console=Console(stderr=True)) as bar:
        first, client = server.memory(), server.client()
        quiet = {text: next(client.predict([text])) for text in bar.track(texts, description="one by one")}
        after_quiet = server.memory()
        tallies, memory, passed = load(server, quiet, callers, seconds, bar)
        last, peak = server.memory(), server.memory("VmHWM")
        client.close()
    errors = [error for tally in tallies for error in tally.errors]
    different = [case for tally in tallies for case in tally.different]
    requests, answered = (sum(getattr(tally, name) for tally in tallies) for name in ("requests", "sentences"))
    return {
        "callers": callers,
        "seconds": passed,
        "different sentences": len(texts),
        "requests": requests,
        "sentences": answered,
        "requests per second": requests / passed,
        "sentences per second": answered / passed,
        "errors": len(errors),
        "first errors": errors[:5],
        "other translations than alone": len(different),
        "first others": different[:5],
        "largest difference of a score": max(tally.score_difference for tally in tallies),
        "runs of the session under load": server.counts["runs"] - len(texts),
        "MiB loaded": first,
        "MiB after one by one": after_quiet,
        "MiB after a tenth of the load": next(size for at, size in memory if at >= passed / 10),
        "MiB, median of the first half": statistics.median(size for at, size in memory if at < passed / 2),
        "MiB, median of the second half": statistics.median(size for at, size in memory if at >= passed / 2),
        "MiB at the end": last,
        "MiB at most": peak,
        "memory": memory,
    }


def longest_source(tokenizer, limit):
    """A text of `limit` tokens with END, or as near below it as repeating a word comes."""
    texts = [" ".join(["a"] * count) for count in range(1, limit)]
    fitting = [count for count in tokenizer.tokenize(texts).row_lengths().numpy() if count < limit]
    if not fitting:
        raise typer.BadParameter(f"no text has at most {limit} tokens.", param_hint="--max-source-length")
    return texts[len(fitting) - 1], int(fitting[-1]) + 1


def prove_bounds(folder, limit, repeats):
    """Seconds and memory of the worst input, as a dictionary."""
    from keras_transformer import Translator

    translator = Translator.load(folder, dtype="float32", max_extra_length=EXTRA, min_extra_length=EXTRA)
    text, tokens = longest_source(translator.tokenizer, limit)
    [[best]] = translator.n_best([text], 1)
    found = {"source tokens": tokens, "target tokens": len(best.tokens), "beam": translator.beam_size}
    with tempfile.TemporaryDirectory() as scratch:
        translator.export(Path(scratch) / "1", max_source_length=limit, check=False)
        with Server(Path(scratch) / "1") as server:
            client = server.client()
            found["MiB loaded"] = server.memory()
            for batch in (1, LARGEST_BATCH):
                times = []
                for _ in range(repeats + 1):  # the first is slower
                    start = time.monotonic()
                    list(client.predict([text] * batch))
                    times.append(time.monotonic() - start)
                found[f"seconds, batch {batch}"] = statistics.median(times[1:])
                found[f"MiB at most, batch {batch}"] = server.memory("VmHWM")
            client.close()
    return found


def table(found):
    """Markdown: a row a figure; lists are in the JSON file alone."""
    lines = ["| | |", "|---|---|"]
    for name, value in found.items():
        if not isinstance(value, list):
            lines.append(f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value:,.4g} |")
    return "\n".join(lines)


def save(found, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in ((folder / f"{name}.json", json.dumps(found, indent=1)), (folder / f"{name}.md", table(found))):
        with written_beside(path, overwrite=True) as beside:
            beside.write_text(text + "\n", encoding="utf-8")
    print(table(found))


def main(
    output: Annotated[Path, typer.Option(help="Folder for the figures, as JSON and Markdown.")],
    export: Annotated[Path | None, typer.Option(help="A version's folder, to be put under load.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="A text file; its lines are asked for.")] = None,
    callers: Annotated[int, typer.Option(help="That ask at the same time.")] = 32,
    seconds: Annotated[float, typer.Option(help="How long.")] = 300.0,
    bounds: Annotated[Path | None, typer.Option(help="A training folder, for the worst input.")] = None,
    max_source_length: Annotated[int, typer.Option(help="Tokens of the longest source, with END.")] = 256,
    repeats: Annotated[int, typer.Option(help="Times that the worst input is sent, after the first.")] = 3,
):
    """Prove what was asked for; exit code 1 if a caller got an error or another translation than alone."""
    if (export is None) != (sentences is None) or (export is None and bounds is None):
        raise typer.BadParameter("give --export and --sentences, or --bounds, or all three.")
    if bounds is not None:
        save(prove_bounds(bounds, max_source_length, repeats), output, "bounds")
    if export is not None:
        found = prove_load(export, sentences, callers, seconds)
        save(found, output, "load")
        if found["errors"] or found["other translations than alone"]:
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
