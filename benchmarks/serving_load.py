"""An export under load: many callers for some minutes, and the worst input that a server can get.

    python benchmarks/serving_load.py --output DIR --export saved_models/en_de/1 --sentences test.en
    python benchmarks/serving_load.py --output DIR --bounds runs/en_de

The export runs in its own process, in `tests/support/serving_double.py`, the test double of TensorFlow Serving. It
loads the export as the server does, and has the server's batching and gRPC interface. But Python is slower around
them.

The first command sends each sentence by itself. Then many callers send one to four sentences at a time, and every
answer is compared with the first one. The second command exports a training folder again, so that no translation ends
before its limit. It sends the longest source that is allowed, once by itself and once in a whole batch. Memory is
that of the server process, from Linux's /proc.
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
from processes import MIB, memory
from results import markdown_table, write_results
from rich.console import Console
from rich.progress import Progress
from timing import repeat

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "serving"))

from grpc_client import GrpcClient
from serving_client import ServingError

from keras_transformer.files import read_lines

DOUBLE = Path(__file__).parents[1] / "tests" / "support" / "serving_double.py"
MODEL = "load"
LARGEST_BATCH = 64
EXTRA = 50  # `max_extra_length`: a translation may have so many tokens more than its source


class Server:
    """The test double in its own process, for a `with` statement. After the statement, `counts` has its last output."""

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

    def memory(self, field="VmRSS"):
        """Return the resident memory of the server in MiB: VmRSS is the present one, VmHWM the peak."""
        return memory(field, self.process.pid) / MIB


@dataclass
class Tally:
    """The answers that one caller got, compared with those of a quiet server."""

    requests: int = 0
    sentences: int = 0
    errors: list = field(default_factory=list)
    different: list = field(default_factory=list)
    score_difference: float = 0.0

    def compare(self, sentence, row, quiet):
        self.sentences += 1
        self.score_difference = max(self.score_difference, abs(row["scores"] - quiet["scores"]))
        if row["translations"] != quiet["translations"]:
            self.different.append({"sentence": sentence, "alone": quiet, "under load": row})


def call(client, quiet, seed, end):
    """Be one caller: send requests until the time `end`, and return a `Tally`."""
    rng, tally, sentences = np.random.default_rng(seed), Tally(), list(quiet)
    while time.monotonic() < end:
        request = [sentences[i] for i in rng.integers(0, len(sentences), rng.integers(1, 5))]
        tally.requests += 1
        try:
            for sentence, row in zip(request, client.predict(request), strict=True):
                tally.compare(sentence, row, quiet[sentence])
        except ServingError as error:
            tally.errors.append(str(error))
    client.close()
    return tally


def load(server, quiet, callers, seconds, bar):
    """Return all callers' tallies, the server's memory as (second, MiB) pairs, and the seconds that passed."""
    start, task, sizes = time.monotonic(), bar.add_task("load", total=seconds), []
    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, server.client(), quiet, seed, start + seconds) for seed in range(callers)]
        while (passed := time.monotonic() - start) < seconds:
            sizes.append((round(passed, 1), server.memory()))
            bar.update(task, completed=passed)
            time.sleep(min(1.0, seconds / 20))
        return [tally.result() for tally in calls], sizes, time.monotonic() - start


def prove_load(export, path, callers, seconds):
    """Return the figures of a load test with the sentences of a file, as a dictionary."""
    sentences = list(dict.fromkeys(read_lines(path)))
    if not sentences:
        raise typer.BadParameter(f"{path} has no line.", param_hint="--sentences")
    with Server(export) as server, Progress(console=Console(stderr=True)) as bar:
        loaded, client = server.memory(), server.client()
        quiet = {
            sentence: next(client.predict([sentence])) for sentence in bar.track(sentences, description="one by one")
        }
        after_quiet = server.memory()
        tallies, sizes, passed = load(server, quiet, callers, seconds, bar)
        last, peak = server.memory(), server.memory("VmHWM")
        client.close()
    errors = [error for tally in tallies for error in tally.errors]
    different = [case for tally in tallies for case in tally.different]
    requests, answered = (sum(getattr(tally, name) for tally in tallies) for name in ("requests", "sentences"))
    return {
        "callers": callers,
        "seconds": passed,
        "different sentences": len(sentences),
        "requests": requests,
        "sentences": answered,
        "requests per second": requests / passed,
        "sentences per second": answered / passed,
        "errors": len(errors),
        "first errors": errors[:5],
        "other translations than alone": len(different),
        "first others": different[:5],
        "largest difference of a score": max(tally.score_difference for tally in tallies),
        "runs of the session under load": server.counts["runs"] - len(sentences),
        "MiB loaded": loaded,
        "MiB after one by one": after_quiet,
        "MiB after a tenth of the load": next(size for at, size in sizes if at >= passed / 10),
        "MiB, median of the first half": statistics.median(size for at, size in sizes if at < passed / 2),
        "MiB, median of the second half": statistics.median(size for at, size in sizes if at >= passed / 2),
        "MiB at the end": last,
        "MiB at most": peak,
        "memory": sizes,
    }


def longest_source(tokenizer, limit):
    """Repeat a word as long as the text has at most `limit` tokens, END included. Return the text and its tokens."""
    texts = [" ".join(["a"] * count) for count in range(1, limit)]
    fitting = [count for count in tokenizer.tokenize(texts).row_lengths().numpy() if count < limit]
    if not fitting:
        raise typer.BadParameter(f"no text has at most {limit} tokens.", param_hint="--max-source-length")
    return texts[len(fitting) - 1], int(fitting[-1]) + 1


def prove_bounds(folder, limit, repeats):
    """Return the seconds and the memory that the worst input takes, as a dictionary."""
    from keras_transformer import Translator

    translator = Translator.load(folder, dtype="float32", max_extra_length=EXTRA, min_extra_length=EXTRA)
    text, tokens = longest_source(translator.tokenizer, limit)
    [[best]] = translator.n_best([text], 1)
    figures = {"source tokens": tokens, "target tokens": len(best.tokens), "beam": translator.beam_size}
    with tempfile.TemporaryDirectory() as scratch:
        translator.export(Path(scratch) / "1", max_source_length=limit, check=False)
        with Server(Path(scratch) / "1") as server:
            client = server.client()
            figures["MiB loaded"] = server.memory()
            for batch in (1, LARGEST_BATCH):
                request = [text] * batch
                timings = repeat(lambda request=request: list(client.predict(request)), warm_up=1, fewest=repeats)
                figures[f"seconds, batch {batch}"] = timings.median
                figures[f"MiB at most, batch {batch}"] = server.memory("VmHWM")
            client.close()
    return figures


def table(figures):
    """Return a table in Markdown with a row for each figure. Only the JSON file has the lists."""
    rows = [
        (name, f"{value:,}" if isinstance(value, int) else f"{value:,.4g}")
        for name, value in figures.items()
        if not isinstance(value, list)
    ]
    return markdown_table(("", ""), rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for the figures, as JSON and Markdown.")],
    export: Annotated[Path | None, typer.Option(help="The folder of an export's version, for the load.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="A file of sentences, one a line, for the load.")] = None,
    callers: Annotated[int, typer.Option(help="Callers at the same time.")] = 32,
    seconds: Annotated[float, typer.Option(help="How long the load lasts.")] = 300.0,
    bounds: Annotated[Path | None, typer.Option(help="A training folder, for the worst input.")] = None,
    max_source_length: Annotated[int, typer.Option(help="Tokens of the longest source, with END.")] = 256,
    repeats: Annotated[int, typer.Option(help="How often the worst input is timed, after one more request.")] = 3,
):
    """Measure, and write the results. The exit code is 1 if a caller got an error or a different translation."""
    if (export is None) != (sentences is None) or (export is None and bounds is None):
        raise typer.BadParameter("give --export and --sentences, or --bounds, or all three.")
    if bounds is not None:
        figures = prove_bounds(bounds, max_source_length, repeats)
        write_results(output, "bounds", figures, table(figures))
    if export is not None:
        figures = prove_load(export, sentences, callers, seconds)
        write_results(output, "load", figures, table(figures))
        if figures["errors"] or figures["other translations than alone"]:
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
