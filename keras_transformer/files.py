"""Read text files, and write files so that no crash leaves half of one."""

import codecs
import contextlib
import errno
import gzip
import hashlib
import logging
import os
import shutil
import tempfile
import zlib
from pathlib import Path

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "keras_transformer's data, training and file translation need a POSIX system: Linux, macOS, or WSL on Windows."
    ) from error

logger = logging.getLogger("keras_transformer")

# The files and folders in a training folder.
MODEL_FILE = "model.keras"
LAST_FILE = "last.keras"
TOKENIZER_FILE = "tokenizer.model"
AVERAGE_FILE = "average.keras"
AVERAGED_FOLDER = "averaged"  # the weights of the epochs that will be averaged
STATES_FOLDER = "checkpoints"  # the states from which a run resumes

# The first bytes of files that are not UTF-8, the longer ones first.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_lines(path, name=None):
    """Yield the lines of a UTF-8 text file, plain or `.gz`, one at a time.

    Only `\\n` ends a line, and a `\\r` before it is dropped. Other separators, for example U+2028, stay inside their
    sentence, so that two aligned files stay aligned. A byte order mark at the start of the file is dropped.

    Args:
        path: the file.
        name: what a message calls the file. None is the path.

    Raises:
        ValueError: the bytes are not UTF-8 (the message names the file and the line, or the encoding if the first
            bytes show it), or the `.gz` is broken.
        OSError: the file cannot be read.
    """
    path = Path(path)
    name = path if name is None else name
    for number, line in enumerate(_raw_lines(path), start=1):
        if number == 1:
            _check_first_bytes(name, line)
            line = line.removeprefix(codecs.BOM_UTF8)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}, line {number}: not valid UTF-8 (byte {error.start + 1} of the line is "
                f"0x{line[error.start]:02x}). Convert the file to UTF-8, or remove the line."
            ) from error


def _check_first_bytes(name, line):
    """Raise ValueError if the first line of a file shows that it is UTF-16, UTF-32 or compressed."""
    start = line[:4]
    shown = start.hex(" ")
    if start.startswith(b"\x1f\x8b"):
        raise ValueError(f"{name} is a gzip file: its first bytes are {shown}. Give it a name that ends in .gz.")
    kind = next((kind for mark, kind in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if kind is None and len(start) == 4:  # without a mark: where the first characters are of ASCII, the NULs show it
        kind = {(1, 0, 0, 0): "UTF-32LE", (0, 0, 0, 1): "UTF-32BE"}.get(tuple(map(bool, start)))
        kind = {(1, 0, 1, 0): "UTF-16LE", (0, 1, 0, 1): "UTF-16BE"}.get(tuple(map(bool, start)), kind)
    if kind is not None:
        raise ValueError(
            f"{name} is {kind}: its first bytes are {shown}. Convert it to UTF-8, for example by: "
            f"iconv -f {kind} -t UTF-8 {name} > utf8.txt"
        )


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


def sha256(path, opener=open):
    """The SHA-256 of a file in hexadecimal; with `opener=gzip.open`, the SHA-256 of the unpacked bytes."""
    with opener(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def written_beside(path, overwrite=False, names=None):
    """Give the block a temporary path beside `path`, and move the output to `path` when the block ends.

    The block may write a file or a folder. The output is flushed to the disk before it is moved. When the block
    raises, the temporary output is removed and `path` stays as it was. A process that is killed leaves its temporary
    output behind; see `remove_leftovers`.

    Args:
        path: the file or folder to write.
        overwrite: whether to replace an existing `path`.
        names: the names that a folder at `path` may hold when it is replaced. None allows all names.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or `path` holds other names than `names`.
        FileNotFoundError: the block wrote nothing.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True to replace it.")
    others = [] if names is None else sorted(entry.name for entry in path.glob("*") if entry.name not in names)
    if others:
        raise FileExistsError(f"{path} also holds {', '.join(others[:3])}, which would be lost. Choose another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        beside = scratch / path.name
        yield beside
        if not beside.exists():
            raise FileNotFoundError(f"nothing was written to {beside}, the temporary path of {path}.")
        _flush(beside)
        _move(beside, path, scratch / "replaced")
        _sync(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(beside, path, replaced):
    """Move `beside` to `path`. A folder at `path` is first moved to `replaced`, and moved back if that fails."""
    try:
        if path.is_dir():  # `os.replace` replaces files, and no folders
            os.replace(path, replaced)
        os.replace(beside, path)
    except BaseException:  # KeyboardInterrupt too, because the caller removes `replaced`
        if os.path.lexists(replaced) and not os.path.lexists(path):
            os.replace(replaced, path)
        raise


def _flush(path):
    """Flush a file, or a folder and its content, to the disk: no crash can then leave the name without the bytes."""
    for entry in [path, *(path.rglob("*") if path.is_dir() else ())]:
        _sync(entry)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def safely_written(path, overwrite=False):
    """`written_beside` whose OSErrors also name the free space of the disk and say that nothing is lost."""
    with (
        explained_disk_errors(path, "What was written before is intact."),
        written_beside(path, overwrite) as beside,
    ):
        yield beside


def remove_leftovers(folder, pattern):
    """Remove the temporary outputs that killed processes left in a folder.

    Call it only while no other process writes there; see `lock`.

    Args:
        folder: the folder of the paths that `written_beside` got.
        pattern: a glob for the names of these paths.
    """
    for scratch in Path(folder).glob(f".{pattern}.*"):
        if scratch.is_dir():
            shutil.rmtree(scratch)


def lock(stream, path):
    """Lock a file for this process until `stream` is closed.

    Args:
        stream: `path`, opened for writing.
        path: `Path` of the file.

    Returns:
        False if another process has locked the file, or has moved or removed it since `stream` was opened.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
        logger.warning("The file system of %s has no locks. Let no other process write this file.", path)
        return True


@contextlib.contextmanager
def explained_disk_errors(path, advice):
    """Add `path`, the free space there and some advice to the message of an OSError in the block.

    The type and the number of the error stay the same. A FileExistsError passes unchanged.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        folder = next(parent for parent in (Path(path), *Path(path).resolve().parents) if parent.is_dir())
        free = shutil.disk_usage(folder).free
        raise OSError(
            error.errno, f"{error.strerror or error}: writing {path} failed; {free / 2**20:,.1f} MiB are free. {advice}"
        ) from error
