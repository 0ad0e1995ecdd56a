"""The logs of each epoch in a file, which outlives the process."""

import json
import math
import os
from pathlib import Path

import keras

from keras_transformer.training.sums import updates
from keras_transformer.training.workers import is_chief

LINE_START = b'{"epoch": '


class HistoryFile(keras.callbacks.Callback):
    """Appends each epoch's logs to a file: a line of JSON with `epoch` (from 1), `update`, and what is logged.

    What stands in the file stays: a `fit` that goes on after a break adds to it, and `read_history` knows which
    epochs count. A line that a crash cut off is removed. A value that is NaN or infinite is written as null.

    Args:
        path: such as "runs/en_de/history.jsonl"; its folder is created if missing.

    Raises:
        ValueError: before training, a file that is no `HistoryFile`'s; it stays as it is.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs=None):
        if self.path.exists():
            read_history(self.path)

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, "update": updates(self.model)}
        for name, value in (logs or {}).items():
            value = value.item() if hasattr(value, "item") else value  # NumPy's
            row[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        if not is_chief():
            return
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())


def read_history(path):
    """The epochs of a `HistoryFile` as a list of dictionaries.

    Where training went back to an earlier epoch after a break, or began anew, the later lines count.

    Raises:
        OSError: no such file.
        ValueError: a line that is none of a `HistoryFile`; file and line are named.
    """
    *lines, cut_off = Path(path).read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            epoch = int(row["epoch"])
        except (ValueError, KeyError, TypeError) as error:
            raise _no_history(path, number, line) from error
        rows = [*(earlier for earlier in rows if earlier["epoch"] < epoch), row]
    if not cut_off.startswith(LINE_START[: len(cut_off)]):
        raise _no_history(path, len(lines) + 1, cut_off)
    return rows


def _no_history(path, number, line):
    beginning = line[:60].decode(errors="replace")
    return ValueError(f"{path}, line {number}: no epoch of a HistoryFile: {beginning!r}.")
