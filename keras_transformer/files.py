"""Read text files, and write files so that no crash leaves half of one."""

import codecs
import contextlib
import errno
import gzip
import hashlib
import json
import logging
import os
import re
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

from keras_transformer.inputs.first_bytes import ENOUGH, GZIP, check_first_bytes
from keras_transformer.inputs.paths import check_target

logger = logging.getLogger("keras_transformer")

# The files and folders in a training folder. Those of its tokenizer are in inputs/tokenizers.py.
MODEL_FILE = "model.keras"
LAST_FILE = "last.keras"
AVERAGE_FILE = "average.keras"
AVERAGED_FOLDER = "averaged"  # the weights of the epochs that will be averaged
STATES_FOLDER = "checkpoints"  # the states from which a run resumes

SPACE_ERRORS = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # None: NumPy and h5py may give no number
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML has no form for these characters
LONGEST_PREFIX = 50  # characters of a name at the start of a temporary name


def read_lines(path, name=None):
    """Yield the lines of a UTF-8 text file, plain or `.gz`, one at a time.

    Only `\\n` ends a line, and a `\\r` before it is dropped. Other separators, for example U+2028, stay inside their
    sentence, so that two aligned files stay aligned. A byte order mark at the start of the file is dropped.

    Args:
        path: the file.
        name: what a message calls the file. None is the path.

    Raises:
        ValueError: the bytes are not UTF-8 (the message names the file and the line, or the encoding or the packed
            format if the first bytes show it), or the `.gz` is broken.
        OSError: the file cannot be read.
    """
    path = Path(path)
    name = path if name is None else name
    for number, line in enumerate(_raw_lines(path), start=1):
        if number == 1:
            check_first_bytes(name, line, unpacked=path.suffix == ".gz")
            line = line.removeprefix(codecs.BOM_UTF8)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}, line {number}: not valid UTF-8 (byte {error.start + 1} of the line is "
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
        if path.is_file():  # a pipe is read only once
            with open(path, "rb") as stream:
                start = stream.read(ENOUGH)
            if not start.startswith(GZIP.mark):
                check_first_bytes(path, start)
        remedy = "Copy it again, or give plain text a name without .gz."
        raise ValueError(f"{path} is no gzip file, or a broken one: {error}. {remedy}") from error


def sha256(path, opener=open):
    """The SHA-256 of a file in hexadecimal; with `opener=gzip.open`, the SHA-256 of the unpacked bytes."""
    with opener(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def written_beside(path, overwrite=False, names=None, *, kind=None, argument="path"):
    """Give the block a temporary path beside `path`, and move the output to `path` when the block ends.

    The block may write a file or a folder. The output is flushed to the disk before it is moved. When the block
    raises, the temporary output is removed and `path` stays as it was. A process that is killed leaves its temporary
    output behind; see `remove_leftovers`.

    Args:
        path: the file or folder to write.
        overwrite: whether to replace an existing `path`.
        names: the names that a folder at `path` may hold when it is replaced. None allows all names. With names, the
            block writes a folder.
        kind: "file" or "folder", what the block writes. None allows both, but one never replaces the other.
        argument: the name of the argument, for messages.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or `path` holds other names than `names`.
        FileNotFoundError: the block wrote nothing.
        OSError: the disk is full, or one may not write there. The message names the path, and the free space if the
            disk is full. Before the block: everything that `check_target` raises.
    """
    path = check_target(path, kind if names is None else "folder", argument, overwrite)
    others = [] if names is None else sorted(entry.name for entry in path.glob("*") if entry.name not in names)
    if others:
        raise FileExistsError(f"{path} also holds {', '.join(others[:3])}, which would be lost. Choose another folder.")
    with explained_disk_errors(path, "What was written before is intact."):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A temporary name longer than 255 bytes would be refused.
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name[:LONGEST_PREFIX]}.", dir=path.parent))
    try:
        beside = scratch / path.name
        with explained_disk_errors(path, "What was written before is intact."):
            yield beside
            if not beside.exists():
                raise FileNotFoundError(f"nothing was written to {beside}, the temporary path of {path}.")
            _flush(beside)
            check_target(path, "folder" if beside.is_dir() else "file", argument)
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


def append_or_restore(stream, data, end):
    """Append bytes to a file, and wait until they are on the disk. If that fails, cut the file off at `end` again.

    Args:
        stream: a file that was opened for binary appending.
        data: bytes.
        end: where the file ends before.
    """
    try:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    except BaseException:  # KeyboardInterrupt too
        with contextlib.suppress(OSError):  # the rest of the buffer, which the disk has no room for
            stream.close()
        with open(stream.name, "rb+") as again:
            again.truncate(end)
        raise


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
    """Say in one line which path could not be written, and how much space is free if the disk is full.

    An OSError of the system keeps its type and its number. Another library's error of a full disk becomes an OSError.
    An error that was raised with a text of its own, for example a FileExistsError, passes unchanged.
    """
    try:
        yield
    except FileExistsError:
        raise
    except Exception as error:
        if known := getattr(error, "explained_reason", None):  # an inner block has explained it
            number, reason = known
        elif is_disk_full(error):
            number, reason = errno.ENOSPC, os.strerror(errno.ENOSPC)
        elif isinstance(error, OSError) and (error.errno is not None or type(error) is OSError):
            number, reason = error.errno, " ".join(str(error.strerror or error).split())
        else:
            raise
        space = f"; {_free_space(path)} are free" if number in SPACE_ERRORS else ""
        message = f"{reason}: writing {path} failed{space}. {advice}"
        explained = OSError(message) if number is None else OSError(number, message)
        explained.explained_reason = number, reason
        raise explained from error


def is_disk_full(error):
    """Whether an error of any library says that the disk, or the part of it that a user may take, is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


def _free_space(path):
    folder = next(parent for parent in (Path(path), *Path(path).resolve().parents) if parent.is_dir())
    return f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB"


def xml_text(text):
    r"""A text with an escape, such as \x01, for each character that no XML may hold. Tabs and line ends stay."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def json_text(value, **options):
    """Write a value as JSON. Numbers, strings and arrays of NumPy become Python's own.

    Args:
        value: anything that JSON can hold, with NumPy's values in it, also as keys.
        **options: those of `json.dumps`.

    Raises:
        TypeError: JSON cannot hold a value.
    """
    return json.dumps(plain(value), **options)


def plain(value):
    """Return a value with Python's own numbers, strings and lists in place of NumPy's, at any depth."""
    if isinstance(value, dict):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value
