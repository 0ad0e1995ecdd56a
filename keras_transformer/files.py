"""Text files in, finished files out: what every room that touches the disk shares."""

import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from pathlib import Path

# What a training folder holds.
MODEL_FILE = "model.keras"
LAST_FILE = "last.keras"
TOKENIZER_FILE = "tokenizer.model"

# A line without text, for TensorFlow's regular expressions: nothing but what str.isspace() calls white space.
BLANK = r"[\pZ\x09-\x0d\x1c-\x1f\x{85}]*"


def read_lines(path):
    """Yield the lines of a UTF-8 text file, plain or `.gz`, one at a time.

    Lines end at `\\n` alone (a `\\r` before it is dropped), so characters such as U+2028 stay inside
    their sentence and two aligned files stay aligned.

    Raises:
        ValueError: bytes that are not UTF-8; the message names the file and the line.
            A broken `.gz`; the message names the file.
        OSError: a file that cannot be read.
    """
    path = Path(path)
    for number, line in enumerate(_raw_lines(path), start=1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid UTF-8 (byte {error.start + 1} of the line is "
                f"0x{line[error.start]:02x}). Convert the file to UTF-8, or remove the line."
            ) from error


def _raw_lines(path):
    if path.suffix != ".gz":
        with open(path, "rb") as stream:
            yield from stream
        return
    try:
        with gzip.open(path, "rb") as stream:
            yield from stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is no gzip file, or a broken one: {error}.") from error


@contextlib.contextmanager
def written_beside(path, overwrite=False):
    """Give a temporary path beside `path`; move what was written there into place when the block ends well.

    Works for a file or a folder. When the block raises, the temporary output is removed and whatever
    stood at `path` stays as it was.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        beside = scratch / path.name
        yield beside
        if not beside.exists():
            raise FileNotFoundError(f"nothing was written to {beside}, which was to become {path}.")
        _move(beside, path, scratch / "replaced")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(beside, path, replaced):
    """Put `beside` where `path` is; a folder there goes to `replaced`, and comes back if the move fails."""
    is_folder = path.is_dir()  # a file is replaced in one move
    if is_folder:
        os.replace(path, replaced)
    try:
        os.replace(beside, path)
    except OSError:
        if is_folder:
            os.replace(replaced, path)
        raise
