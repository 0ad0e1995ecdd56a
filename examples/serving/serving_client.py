"""The part that the REST and the gRPC client share: batches, time limits, retries, errors and the command line."""

import itertools
import json
import math
import random
import re
import sys
from time import monotonic, sleep
from typing import Annotated

import typer

# The inputs of each signature. Every other signature has only sentences.
INPUTS = {"score": ("sentences", "translations"), "ids": ("source_ids",)}
# A row of each signature, in words and as a test. A row of every other signature is a sentence.
ROWS = {
    "serving_default": ("a string", lambda row: isinstance(row, str)),
    "score": ("a sentence and its translation, two strings", lambda row: is_list(row, str) and len(row) == 2),
    "ids": ("a list of whole numbers", lambda row: is_list(row, int)),
}
END = 3  # the id that ends a source; the exported graph ignores all ids after it
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts

# gRPC's name of an error: the exit code of the command, and the meaning. Every other error: 1.
ERRORS = {
    "UNAVAILABLE": (3, "the server is not there, or not ready"),
    "RESOURCE_EXHAUSTED": (3, "the server has too much to do"),
    "NOT_FOUND": (4, "the server has no such model or version"),
    "INVALID_ARGUMENT": (5, "the server refuses the request"),
    "FAILED_PRECONDITION": (5, "the server refuses the request"),
    "DEADLINE_EXCEEDED": (6, "the time limit passed"),
}


def missing(package, error):
    """Return the error for a package that is not installed. It names the extra that has the package."""
    return ImportError(
        f"this client needs {package}: pip install {package}, or 'keras-transformer-translation[serving]'. ({error})"
    )


def is_list(row, kind):
    """Return whether `row` is a list or a tuple with only values of this kind."""
    return isinstance(row, (list, tuple)) and all(isinstance(part, kind) for part in row)


class ServingError(Exception):
    """The server gave no answer. `code` is gRPC's name of the error, `exit_code` that of the command."""

    def __init__(self, code, message):
        self.code, self.message = code, message
        self.exit_code, meaning = ERRORS.get(code, (1, f"the request failed ({code})"))
        super().__init__(f"{meaning}: {message}")


class Client:
    """A model on TensorFlow Serving. Use a client in one thread only.

    Args:
        address: where the server listens.
        model: the name of the model on the server.
        version: a whole number. If None, the newest version.
        timeout: seconds for one attempt.
        deadline: seconds for one call of `predict` with all its batches and attempts. None is no limit.
        retries: further attempts for a batch while the server is not available or has too much to do. After other
            errors there is no further attempt, and none after a time limit.
        batch_size: the most sentences of one request. A server refuses more than its `max_batch_size`.
    """

    def __init__(self, address, model, version=None, *, timeout=10.0, deadline=None, retries=4, batch_size=32):
        for name, value in (("timeout", timeout), ("deadline", deadline), ("batch_size", batch_size)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}.")
        self.address, self.model, self.version = address, model, version
        self.timeout, self.deadline, self.retries, self.batch_size = timeout, deadline, retries, batch_size

    def ask(self, columns, signature, seconds):
        """Send one request.

        Args:
            columns: {name of an input: a list with one value for each row}.
            signature: the name of the signature.
            seconds: the time limit.

        Returns:
            {name of an output: a list with one value for each row}.

        Raises:
            ServingError: the server did not answer, or answered with an error.
        """
        raise NotImplementedError

    def translate(self, sentences):
        """Return a list of translations for a list of strings.

        Raises:
            ServingError: as in `predict`; also FAILED_PRECONDITION if the model gives no translations.
        """
        return [translation_of(row) for row in self.predict(sentences)]

    def predict(self, rows, signature="serving_default"):
        """Yield a dictionary of outputs for each row, in the order of the rows, as soon as its batch is answered.

        Args:
            rows: an iterable of sentences. For the signature `score` they are pairs (sentence, translation), for `ids`
                lists of ids.
            signature: the name of the signature.

        Raises:
            ServingError: as in `ask`; also FAILED_PRECONDITION if an output has not one value for each row.
            ValueError: a text is not Unicode (it has half of a surrogate pair), or a list has no ids.
            TypeError: `rows` is one string, or a row does not fit the signature.
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
                message = f"{len(batch)} rows were sent to {signature!r}, but not as many came back."
                raise ServingError("INTERNAL", message)
            for values in zip(*outputs.values(), strict=True):
                yield dict(zip(outputs, values, strict=True))

    def _ask_again(self, columns, signature, end):
        """Call `ask` until it succeeds, with pauses. They double, and are random, so callers return one by one."""
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
    """Return the translation from a row of outputs.

    Raises:
        ServingError: the row has none.
    """
    if not isinstance(row.get("translations"), str):
        raise ServingError("FAILED_PRECONDITION", f"the model gives no text as translations, but {row!r}.")
    return row["translations"]


def to_columns(rows, signature):
    """Return {name of an input: list} for a list of rows. Rows of ids get the same length.

    Raises:
        TypeError, ValueError: see `Client.predict`.
    """
    wanted, fits = ROWS.get(signature, ROWS["serving_default"])
    for row in rows:
        if not fits(row):
            raise TypeError(f"a row of {signature!r} must be {wanted}, got {row!r}.")
    if signature == "ids":
        if not all(rows):
            raise ValueError(f"a row of 'ids' has no ids. For an empty source, send only the id of END, [{END}].")
        longest = max(map(len, rows))
        return {"source_ids": [[*row, *[END] * (longest - len(row))] for row in rows]}
    names = INPUTS.get(signature, ("sentences",))
    columns = zip(*rows, strict=True) if len(names) > 1 else [rows]
    columns = {name: list(column) for name, column in zip(names, columns, strict=True)}
    for text in itertools.chain(*columns.values()):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            place = f"character {error.start + 1} is half of a surrogate pair"
            raise ValueError(f"{text!r} is not Unicode text: {place}.") from error
    return columns


def stdin_lines():
    """Yield the lines of standard input. A line ends only at \\n: other line separators belong to a sentence."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
            raise ValueError(f"standard input, line {number}: not valid UTF-8 ({place}).") from error


def read_rows(texts, signature):
    """Yield a row for `predict` for each text. Errors name the number of the text."""
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
    """Print a line: the translation, or for signatures other than `serving_default` all outputs as JSON."""
    if signature == "serving_default":
        print(re.sub(r"[\r\n]+", " ", translation_of(row)), flush=True)
    else:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    if row.get("truncated"):
        print(f"text {number}: longer than the model's limit; the end was cut off.", file=sys.stderr)


def command(client):
    """Return the command line of a `Client` class."""

    def main(
        texts: Annotated[list[str] | None, typer.Argument(help="Texts; the lines of standard input if none.")] = None,
        address: Annotated[str, typer.Option(client.OPTION, help="Where the server listens.")] = client.DEFAULT,
        model: Annotated[str, typer.Option(help="The model's name on the server.")] = "en_de",
        version: Annotated[int | None, typer.Option(help="Version of the model; the newest if not given.")] = None,
        signature: Annotated[
            str, typer.Option(help="serving_default, n_best, score, ids or align.")
        ] = "serving_default",
        timeout: Annotated[float, typer.Option(help="Seconds for one attempt.")] = 10.0,
        deadline: Annotated[float | None, typer.Option(help="Seconds for everything; no limit if not given.")] = None,
        retries: Annotated[int, typer.Option(help="Further attempts while the server is not available.")] = 4,
        batch_size: Annotated[int, typer.Option(help="The most texts of one request.")] = 32,
    ):
        """Translate texts with TensorFlow Serving.

        Prints one translation for each text; for other signatures a JSON object with every output. `score` takes
        "sentence TAB translation", `ids` takes numbers. Exit codes: 2 wrong input, 3 server not available or with too
        much to do, 4 no such model, 5 request refused, 6 time limit passed, 1 anything else.
        """
        number = 0
        sys.stdout.reconfigure(errors="backslashreplace")  # an old encoding does not end the program
        try:
            server = client(
                address, model, version, timeout=timeout, deadline=deadline, retries=retries, batch_size=batch_size
            )
            rows = read_rows(texts or stdin_lines(), signature)
            for number, row in enumerate(server.predict(rows, signature), start=1):
                write_row(row, signature, number)
        except (ServingError, ValueError) as error:
            where = f"{address}, model {model!r}: " if isinstance(error, ServingError) else ""
            done = f" {number} texts were translated before." if number else ""
            print(f"error: {where}{error}{done}", file=sys.stderr)
            raise typer.Exit(getattr(error, "exit_code", 2)) from error

    return main
