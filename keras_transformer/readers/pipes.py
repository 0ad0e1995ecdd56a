"""Pipes and other inputs that give their bytes only once."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from keras_transformer.files import explained_disk_errors


def is_pipe(path):
    """Whether a path gives its bytes only once: a pipe, a terminal, or another thing that is no file on a disk."""
    path = Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def reread(path):
    """Give the block a path that can be read several times: `path`, or a temporary copy of what a pipe gives.

    The copy keeps the name of the pipe, and is in the folder that the environment variable TMPDIR names.

    Raises:
        OSError: the disk is full; the message names the folder and its free space.
    """
    if not is_pipe(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        with (
            explained_disk_errors(folder, "TMPDIR names another folder for temporary files."),
            open(path, "rb") as pipe,
            open(copy, "wb") as stream,
        ):
            shutil.copyfileobj(pipe, stream)
        yield copy
