"""Keep the logs of each epoch in a file."""

import json
import math
from pathlib import Path
from typing import Any

import keras

from keras_transformer.files import append_or_restore, explained_disk_errors, plain
from keras_transformer.inputs.paths import AnyPath, check_source, check_target
from keras_transformer.training.sums import updates
from keras_transformer.training.workers import is_chief

LINE_START = b'{"epoch": '


class HistoryFile(keras.callbacks.Callback):
    """Appends the logs of each epoch to a file: a line of JSON with `epoch` (from 1), `update` and the logged values.

    The callback never removes a complete line. A resumed `fit` appends to the file, and `read_history` knows which
    lines count. A line that a crash cut off is removed. A value that is NaN or infinite is written as null.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import HistoryFile, read_history

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[HistoryFile("run/history.jsonl")])
        assert [row["epoch"] for row in read_history("run/history.jsonl")] == [1, 2]
        ```

    Args:
        path: the file, for example "runs/en_de/history.jsonl". Its folder is created if missing.

    Raises:
        ValueError: the path is empty or begins with "~". When `fit` starts: the file exists and no `HistoryFile` has
            written it. It stays as it is.
        OSError: when `fit` starts, the path is a folder, or cannot be written. Later: the disk is full. The message
            names the path and the free space. The lines before are intact.
    """

    def __init__(self, path: AnyPath) -> None:
        super().__init__()
        self.path = check_target(path, "file", inside=True) if is_chief() else Path(path)

    def on_train_begin(self, logs=None):
        if is_chief():
            check_target(self.path, "file", inside=True)
        if self.path.exists():
            read_history(self.path)

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, "update": updates(self.model)}
        for name, value in (logs or {}).items():
            value = plain(value)
            row[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        if not is_chief():
            return
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with explained_disk_errors(self.path, "The lines before are intact."):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as stream:
                stream.seek(0)
                end = stream.read().rfind(b"\n") + 1
                stream.truncate(end)
                append_or_restore(stream, line, end)


def read_history(path: AnyPath) -> list[dict[str, Any]]:
    """Read the epochs of a `HistoryFile` as a list of dictionaries.

    Training may have gone back to an earlier epoch, or started again from the first. Then the later lines replace the
    earlier ones.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: a line is not one of a `HistoryFile`. The message names the file and the line.
    """
    *lines, cut_off = check_source(path).read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            epoch = int(row["epoch"])
        except (ValueError, KeyError, TypeError) as error:
            raise _bad_line(path, number, line) from error
        rows = [*(earlier for earlier in rows if earlier["epoch"] < epoch), row]
    if not cut_off.startswith(LINE_START[: len(cut_off)]):
        raise _bad_line(path, len(lines) + 1, cut_off)
    return rows


def _bad_line(path, number, line):
    beginning = line[:60].decode(errors="replace")
    return ValueError(f"{path}, line {number}: no epoch of a HistoryFile: {beginning!r}.")
