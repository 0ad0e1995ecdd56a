"""What the REST and the gRPC client share: batches, time limits, retries, errors and the command line."""

import itertools
import json
import math
import random
import re
import sys
from time import monotonic, sleep
from typing import Annotated

import typer

# The inputs of each signature. Any other signature is asked with sentences alone.
INPUTS = {"score": ("sentences", "translations"), "ids": ("source_ids",)}
# What a row of each signature is, in words and as a test. A row of any other is a sentence.
ROWS = {
    "serving_default": ("a string", lambda row: isinstance(row, str)),
    "score": ("a sentence and its translation, two strings", lambda row: is_list(row, str) and len(row) == 2),
    "ids": ("a list of whole numbers", lambda row: is_list(row, int)),
}
END = 3  # the id that closes a source; the exported graph ignores what stands behind it
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts

# gRPC's name of an error: the command's exit code, and what it means. Any other: 1.
ERRORS = {
    "UNAVAILABLE": (3, "the server is not there, or not ready"),
    "RESOURCE_EXHAUSTED": (3, "the server has too much to do"),
    "NOT_FOUND": (4, "the server has no such model or version"),
    "INVALID_ARGUMENT": (5, "the server refuses the request"),
    "FAILED_PRECONDITION": (5, "the server refuses the request"),
    "DEADLINE_EXCEEDED": (6, "the time limit passed"),
}


def is_list(row, kind):
    """Whether it is a list or a tuple of this kind alone."""
    return isinstance(row, (list, tuple)) and all(isinstance(part, kind) for part in row)


class ServingError(Exception):
    """The server gave no answer. `code` is gRPC's name of the error, `exit_code` the command's."""

    def __init__(self, code, message):
        self.code, self.message = code, message
        self.exit_code, meaning = ERRORS.get(code, (1, f"the request failed ({code})"))
        super().__init__(f"{meaning}: {message}")


class Client:
    """A model on a TensorFlow Serving; for one thread.

    Args:
        address: where the server listens.
        model: the model's name there.
        version: a whole number; the newest if None.
        timeout: seconds for one attempt.
        deadline: seconds for one call of `predict` with all its batches and attempts; None is no limit.
        retries: further attempts for a batch while the server is not available or has too much to do. Other
            errors, a passed time limit among them, are not tried again.
        batch_size: the most sentences of one request; a server refuses more than its `max_batch_size`.
    """

    def __init__(self, address, model, version=None, *, timeout=10.0, deadline=None, retries=4, batch_size=32):
        for name, value in (("timeout", timeout), ("deadline", deadline), ("batch_size", batch_size)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}.")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}.")
        self.address, self.model, self.version = address, model, version
        self.timeout, self.deadline, self.retries, self.batch_size = timeout, deadline, retries, batch_size

    def ask(self, columns, signature, seconds):
        """One request.

        Args:
            columns: a dictionary of input name -> list, one value a row.
            seconds: the time limit.

        Returns:
            A dictionary of output name -> list, one value a row.

        Raises:
            ServingError: the server did not answer, or answered with an error.
        """
        raise NotImplementedError

    def translate(self, sentences):
        """A list of strings -> the list of their translations.

        Raises:
            ServingError: FAILED_PRECONDITION for a model that gives none; and as in `predict`.
        """
        return [translation_of(row) for row in self.predict(sentences)]

    def predict(self, rows, signature="serving_default"):
        """Yield a dictionary of the signature's outputs for each row, in their order, as batches come back.

        Args:
            rows: any iterable of sentences; for `score` of (sentence, translation) pairs, for `ids` of lists of ids.

        Raises:
            ServingError: as in `ask`; FAILED_PRECONDITION for an output that has not one value a row.
            ValueError: a text that is not Unicode (a lone surrogate), or a list without ids.
            TypeError: one string, or a row that is none of the signature.
        """
        if isinstance(rows, str):
            raise TypeError(f"rows must be a list, got one string: write [{rows[:60]!r}].")
        end = math.inf if self.deadline is None else monotonic() + self.deadline
        rows = iter(rows)
        while batch := list(itertools.islice(rows, self.batch_size)):
            outputs = self._ask_again(to_columns(batch, signature), signature, end)
            for name, column in outputs.items():
                if not isinstance(column, list):
                    message = f"{signature!r} gives one value as {name} for all rows, {column!r}, and not one for each."
                    raise ServingError("FAILED_PRECONDITION", message)
            if {len(column) for column in outputs.values()} != {len(batch)}:
                raise ServingError("INTERNAL", f"{len(batch)} rows were sent to {signature!r}, others came back.")
            for values in zip(*outputs.values(), strict=True):
                yield dict(zip(outputs, values, strict=True))

    def _ask_again(self, columns, signature, end):
        """`ask`, with pauses in between that double and differ by chance, so that callers do not come back at once."""
        for attempt in itertools.count():
            left = end - monotonic()
            if left <= 0:
                raise ServingError("DEADLINE_EXCEEDED", f"{self.deadline} s for all batches.")
            try:
                return self.ask(columns, signature, min(self.timeout, left))
            except ServingError as error:
                if error.code not in RETRIED or not self.retries:
                    raise
                if attempt == self.retries:
                    raise ServingError(error.code, f"{error.message} ({attempt + 1} attempts)") from error
                pause = random.uniform(0.5, 1.0) * min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
                if monotonic() + pause >= end:
                    message = f"{self.deadline} s for all batches and attempts; {error}"
                    raise ServingError("DEADLINE_EXCEEDED", message) from error
                sleep(pause)


def translation_of(row):
    """The translation among a row's outputs.

    Raises:
        ServingError: there is none.
    """
    if not isinstance(row.get("translations"), str):
        raise ServingError("FAILED_PRECONDITION", f"the model gives no text as translations, but {row!r}.")
    return row["translations"]


def to_columns(rows, signature):
    """Rows -> a dictionary of input name -> list; rows of ids get one length.

    Raises:
        TypeError, ValueError: see `Client.predict`.
    """
    wanted, fits = ROWS.get(signature, ROWS["serving_default"])
    for row in rows:
        if not fits(row):
            raise TypeError(f"a row of {signature!r} must be {wanted}, not {row!r}.")
    if signature == "ids":
        if not all(rows):
            raise ValueError("a row without ids; an empty source is the END id alone.")
        longest = max(map(len, rows))
        return {"source_ids": [[*row, *[END] * (longest - len(row))] for row in rows]}
    names = INPUTS.get(signature, ("sentences",))
    columns = zip(*rows, strict=True) if len(names) > 1 else [rows]
    columns = {name: list(column) for name, column in zip(names, columns, strict=True)}
    for text in itertools.chain(*columns.values()):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"{text!r} is not Unicode text: character {error.start + 1} is half a pair.") from error
    return columns


def stdin_lines():
    """Yield standard input's lines; they end at \\n alone, as other line separators belong to a sentence."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
            raise ValueError(f"standard input, line {number}: not valid UTF-8 ({place}).") from error


def read_rows(texts, signature):
    """Yield a row of `predict` for each text; what is wrong is named by its number."""
    for number, text in enumerate(texts, start=1):
        if signature == "score":
            parts = text.split("\t")
            if len(parts) != 2:
                raise ValueError(f"text {number}: score needs a sentence, a tab and its translation.")
            yield tuple(parts)
        elif signature == "ids":
            if not re.fullmatch(r"\s*\d+(\s+\d+)*\s*", text):
                raise ValueError(f"text {number}: ids needs whole numbers with spaces between them.")
            yield [int(part) for part in text.split()]
        else:
            yield text


def write_row(row, signature, number):
    """A line on standard output: the translation, or for other signatures all outputs as JSON."""
    if signature == "serving_default":
        print(re.sub(r"[\r\n]+", " ", translation_of(row)), flush=True)
    else:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    if row.get("truncated"):
        print(f"text {number}: longer than the model's limit; the end was cut off.", file=sys.stderr)


def command(client):
    """The command line of a `Client` class."""

    def main(
        texts: Annotated[list[str] | None, typer.Argument(help="Texts; the lines of standard input if none.")] = None,
        address: Annotated[str, typer.Option(client.OPTION, help="Where the server listens.")] = client.DEFAULT,
        model: Annotated[str, typer.Option(help="The model's name on the server.")] = "en_de",
        version: Annotated[int | None, typer.Option(help="Of the model; the newest if not given.")] = None,
        signature: Annotated[
            str, typer.Option(help="serving_default, n_best, score, ids or align.")
        ] = "serving_default",
        timeout: Annotated[float, typer.Option(help="Seconds for one attempt.")] = 10.0,
        deadline: Annotated[float | None, typer.Option(help="Seconds for everything; no limit if not given.")] = None,
        retries: Annotated[int, typer.Option(help="Further attempts while the server is not available.")] = 4,
        batch_size: Annotated[int, typer.Option(help="The most texts of one request.")] = 32,
    ):
        """Translate texts with a TensorFlow Serving.

        Prints a translation a line; for other signatures a JSON object a line, with every output. `score`
        takes "sentence TAB translation", `ids` takes numbers. Exit codes: 2 wrong input, 3 no server or one
        with too much to do, 4 no such model, 5 request refused, 6 time limit passed, 1 anything else.
        """
        number = 0
        try:
            server = client(
                address, model, version, timeout=timeout, deadline=deadline, retries=retries, batch_size=batch_size
            )
            rows = read_rows(texts or stdin_lines(), signature)
            for number, row in enumerate(server.predict(rows, signature), start=1):
                write_row(row, signature, number)
        except (ServingError, ValueError) as error:
            where = f"{address}, model {model!r}: " if isinstance(error, ServingError) else ""
            print(f"error: {where}{error}" + (f" {number} texts were done before." if number else ""), file=sys.stderr)
            raise typer.Exit(getattr(error, "exit_code", 2)) from error

    return main
