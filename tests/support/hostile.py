"""Sends an export strings that may come by mistake or malice, and checks its answers.

    python tests/support/hostile.py --export saved_models/en_de/1 --count 20000 --report hostile.json

sends generated strings through a session (see `session_client`), each by itself and each in a mixed batch. It reports
crashes, calls over the time limit, output that is not UTF-8, and strings whose result depends on their neighbors in the
batch. The session lives in its own process, which is started again after a crash or a hang.
"""

import contextlib
import functools
import json
import math
import multiprocessing
import random
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from hostile_strings import strings
from rich.console import Console
from rich.progress import Progress

from keras_transformer import Tokenizer
from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK

CHUNK = 320  # so many strings are sent one by one, then in batches; then the next ones


def serve(path, memory, connection):
    """Run the session: receive (signature, inputs), send the outputs or the text of an error."""
    import session_client

    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    session_client.load_text_ops()
    served = session_client.Served(path)
    connection.send(served.described())
    while True:
        signature, inputs = connection.recv()
        try:
            connection.send({name: array.tolist() for name, array in served(signature, **inputs).items()})
        except Exception as error:
            connection.send(f"{type(error).__name__}: {str(error)[:500]}")


class Watched:
    """An export's session in its own process, which is killed at the time limit.

    Args:
        path: the export.
        seconds: the time limit of one call.
        memory: the most bytes of address space; 0 is no limit.
    """

    def __init__(self, path, seconds, memory=0):
        self.path, self.seconds, self.memory, self.process = str(path), seconds, memory, None

    def start(self):
        """Start a new process and return the signatures."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(self.path, self.memory, theirs), daemon=True)
        self.process.start()
        theirs.close()
        return self._receive(120)

    def __call__(self, signature, **inputs):
        """Return the outputs as lists, or a string: the error, "died with …" or "no answer in … s"."""
        if self.process is None:
            self.start()
        with contextlib.suppress(BrokenPipeError):  # the process died: `_receive` will say so
            self.connection.send((signature, inputs))
        return self._receive(self.seconds)

    def _receive(self, seconds):
        try:
            if self.connection.poll(seconds):
                return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return f"died with exit code {self.stop()}"
        self.stop()
        return f"no answer in {seconds:g} s"

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.join()
            return process.exitcode


def differences(alone, batched, tolerance=1e-4):
    """Return the names of the outputs in which two rows differ. Padding of the batch does not count.

    Numbers may differ by `tolerance`, which is relative above 1: a batch of another shape rounds differently.
    """
    return [name for name in alone if not same(alone[name], batched[name], tolerance)]


def same(alone, batched, tolerance):
    if isinstance(alone, list):
        rest = batched[len(alone) :]
        return all(same(a, b, tolerance) for a, b in zip(alone, batched, strict=False)) and is_padding(rest)
    if isinstance(alone, float):
        return alone == batched or abs(alone - batched) <= tolerance * max(1, abs(alone))
    return alone == batched


def is_padding(value):
    return all(map(is_padding, value)) if isinstance(value, list) else value in (b"", 0, False)


def bad_utf8(value):
    """Return whether any string in nested lists is not UTF-8."""
    if isinstance(value, list):
        return any(map(bad_utf8, value))
    if not isinstance(value, bytes):
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


@dataclass
class Report:
    """The incidents: each list has one dictionary for each of them."""

    sent: dict = field(default_factory=dict)  # kind -> how many strings
    failed: list = field(default_factory=list)  # errors, crashes and hangs
    not_utf8: list = field(default_factory=list)
    truncated_wrong: list = field(default_factory=list)
    near_ties: list = field(default_factory=list)  # another translation, whose score differs only by rounding
    influenced: list = field(default_factory=list)
    truncated: int = 0
    slowest: float = 0.0

    def __str__(self):
        lists = {name: len(value) for name, value in vars(self).items() if isinstance(value, list)}
        counts = ", ".join(f"{name} {number}" for name, number in lists.items())
        return f"{sum(self.sent.values())} sent, {counts}, truncated {self.truncated}, slowest {self.slowest:.2f} s"

    def clean(self):
        return not (self.failed or self.not_utf8 or self.truncated_wrong or self.influenced)


class Checker:
    """Sends calls to one signature and collects a `Report`.

    Args:
        watched: a `Watched`.
        signature: its name.
        is_truncated: a function from the inputs of one call to the right value of `truncated`, or None.
        near: two different translations are a near tie if their scores differ by no more than this.
    """

    def __init__(self, watched, signature, is_truncated=None, near=1e-3):
        self.watched, self.signature, self.is_truncated, self.near = watched, signature, is_truncated, near
        self.report = Report()

    def ask(self, calls):
        """Send one batch. Return the rows of its outputs, or None if the call failed.

        Args:
            calls: a list of (kind, inputs of one row by name).
        """
        inputs = {name: [row[name] for _, row in calls] for name in calls[0][1]}
        if "source_ids" in inputs and len(calls) > 1:
            inputs["source_ids"] = padded(inputs["source_ids"])
        start = time.perf_counter()
        outputs = self.watched(self.signature, **inputs)
        self.report.slowest = max(self.report.slowest, time.perf_counter() - start)
        if isinstance(outputs, str):
            self.report.failed.append({"what": outputs, "batch": len(calls), **described(calls)})
            return None
        return [{name: column[i] for name, column in outputs.items()} for i in range(len(calls))]

    def alone(self, call):
        """Send one row by itself and check the answer. Return the row of outputs, or None if the call failed."""
        kind, inputs = call
        self.report.sent[kind] = self.report.sent.get(kind, 0) + 1
        rows = self.ask([call])
        if rows is None:
            return None
        [row] = rows
        if any(map(bad_utf8, row.values())):
            self.report.not_utf8.append({"found": repr(row)[:300], **described([call])})
        if "truncated" in row:
            self.report.truncated += row["truncated"]
            if self.is_truncated is not None and row["truncated"] != self.is_truncated(inputs):
                self.report.truncated_wrong.append({"found": row["truncated"], **described([call])})
        return row

    def together(self, calls, expected):
        """Send a batch, and compare each row with the answer that it got by itself."""
        rows = self.ask(calls)
        for call, alone, batched in zip(calls, expected, rows or [], strict=False):
            if alone is not None and (names := differences(alone, batched)):
                score, other = alone["scores"], batched["scores"]
                near = not isinstance(score, list) and math.isclose(score, other, rel_tol=self.near, abs_tol=self.near)
                incident = {"outputs": names, "alone": repr(alone)[:600], "batch": repr(batched)[:600]}
                (self.report.near_ties if near else self.report.influenced).append({**incident, **described([call])})


def described(calls):
    """Return the kinds and the inputs of the first rows, cut short."""
    return {"rows": [(kind, {name: repr(value[:80]) for name, value in row.items()}) for kind, row in calls[:4]]}


def check(checker, calls, batch_size=16, advance=lambda count: None, seed=2):
    """Send every call by itself, then all in mixed batches. Return the `Report`."""
    expected = []
    for call in calls:
        expected.append(checker.alone(call))
        advance(1)
    order = random.Random(seed).sample(range(len(calls)), len(calls))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        checker.together([calls[i] for i in batch], [expected[i] for i in batch])
        advance(len(batch))
    return checker.report


def padded(rows):
    """Return rows of ids with one length. After END come arbitrary ids, which must have no effect."""
    width = max(map(len, rows)) + 1
    return [[*row, END, *([4 + len(row)] * width)][:width] for row in rows]


def random_ids(rng, vocabulary_size):
    """Return a row for the signature `ids`: random pieces, then nothing, or END, or END and arbitrary ids."""
    row = [rng.choice([UNK, rng.randrange(NUM_RESERVED, vocabulary_size)]) for _ in range(rng.randint(0, 30))]
    return row + rng.choice([[], [END], [END, PAD, START, END, vocabulary_size, -1]])


def rule(signature, tokenizer, max_source_length=256, extra=50):
    """Return a function from the inputs of a call to the right value of `truncated`.

    An export reads a text up to 64 bytes for each token of its limit. Then it cuts the text to the limit, with END.

    Args:
        max_source_length, extra: the limits with which the export was made.
    """

    def too_long(text, limit):
        if len(text) > 64 * limit:
            return True
        texts = [text.decode(errors="replace").encode()]
        return len(tokenizer.tokenize(texts).to_list()[0]) + 1 > limit

    if signature == "ids":
        return lambda inputs: ([*inputs["source_ids"], END]).index(END) + 1 > max_source_length
    if signature == "score":
        return lambda inputs: (
            too_long(inputs["sentences"], max_source_length)
            or too_long(inputs["translations"], max_source_length + extra)
        )
    return lambda inputs: too_long(inputs["sentences"], max_source_length)


def rows_for(signature, texts, vocabulary_size=0, seed=3):
    """Make calls of a signature from strings.

    Args:
        texts: a list of (kind, bytes), from `strings`.

    Returns:
        A list of (kind, inputs by name).
    """
    rng = random.Random(seed)
    if signature == "ids":
        return [("ids", {"source_ids": random_ids(rng, vocabulary_size)}) for _ in texts]
    if signature == "score":
        others = rng.sample([text for _, text in texts], len(texts))
        pairs = zip(texts, others, strict=True)
        return [(kind, {"sentences": text, "translations": other}) for (kind, text), other in pairs]
    return [(kind, {"sentences": text}) for kind, text in texts]


def main(
    export: Annotated[Path, typer.Option(help="The folder of an export's version.")],
    count: Annotated[int, typer.Option(help="How many strings are sent.")] = 20_000,
    signature: Annotated[list[str] | None, typer.Option(help="Signatures; serving_default if none.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Its file, to check `truncated` and draw ids.")] = None,
    longest: Annotated[int, typer.Option(help="Bytes of the longest string.")] = 1_000_000,
    seconds: Annotated[float, typer.Option(help="Time limit of one call.")] = 60,
    memory: Annotated[float, typer.Option(help="GiB of address space for the session; 0 is no limit.")] = 0,
    report: Annotated[Path | None, typer.Option(help="JSON file for the incidents.")] = None,
):
    """Send generated strings, and report incidents. The exit code is 1 if there are any."""
    watched = Watched(export, seconds, int(memory * 2**30))
    loaded = Tokenizer.load(tokenizer) if tokenizer else None
    texts, reports, clean = strings(count, longest=longest), {}, True
    with Progress(console=Console(stderr=True)) as bar:
        for name in signature or ["serving_default"]:
            task = bar.add_task(name, total=2 * count)
            checker = Checker(watched, name, rule(name, loaded) if loaded else None)
            calls = rows_for(name, texts, loaded.vocabulary_size if loaded else 0)
            for start in range(0, count, CHUNK):
                checked = check(checker, calls[start : start + CHUNK], advance=functools.partial(bar.advance, task))
                reports[name] = vars(checked)
                print(f"{name}: {checked}", flush=True)
                if report is not None:
                    report.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
            clean &= checked.clean()
    watched.stop()
    raise typer.Exit(0 if clean else 1)


if __name__ == "__main__":
    typer.run(main)
