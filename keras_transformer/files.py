"""Text files in, finished files out: what every room that touches the disk shares."""

import codecs
import contextlib
import errno
import fcntl
import gzip
import hashlib
import logging
import os
import shutil
import tempfile
import zlib
from pathlib import Path

logger = logging.getLogger("keras_transformer")

# What a training folder holds.
MODEL_FILE = "model.keras"
LAST_FILE = "last.keras"
TOKENIZER_FILE = "tokenizer.model"
AVERAGE_FILE = "average.keras"
AVERAGED = "averaged"  # a folder in it, with the epochs' weights that are to be averaged
STATES = "checkpoints"  # a folder in it, with what a broken run goes on from

# A line without text, for TensorFlow's regular expressions: nothing but what str.isspace() calls white space.
BLANK = r"[\pZ\x09-\x0d\x1c-\x1f\x{85}]*"


def read_lines(path):
    """Yield the lines of a UTF-8 text file, plain or `.gz`, one at a time.

    Lines end at `\\n` alone (a `\\r` before it is dropped), so characters such as U+2028 stay inside
    their sentence and two aligned files stay aligned. A byte order mark at the start of the file is no text.

    Raises:
        ValueError: bytes that are not UTF-8; the message names the file and the line.
            A broken `.gz`; the message names the file.
        OSError: a file that cannot be read.
    """
    path = Path(path)
    for number, line in enumerate(_raw_lines(path), start=1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
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


def sha256(path, opened=open):
    """The SHA-256 of a file in hexadecimal, in bounded memory; with `opened=gzip.open`, of what is packed in it."""
    with opened(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def written_beside(path, overwrite=False, names=None):
    """Give a temporary path beside `path`; move what was written there into place when the block ends well.

    Works for a file or a folder, which is on the disk before it is moved. When the block raises, the temporary
    output is removed and whatever stood at `path` stays as it was; a process that is killed leaves its temporary
    output behind (`remove_leftovers`).

    Args:
        path: the file or folder.
        overwrite: whether to replace what is there.
        names: all that a folder may hold which is replaced; None is anything.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or it holds something else than `names`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True to replace it.")
    others = [] if names is None else sorted(each.name for each in path.glob("*") if each.name not in names)
    if others:
        raise FileExistsError(f"{path} also holds {', '.join(others[:3])}, which would be lost. Choose another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        beside = scratch / path.name
        yield beside
        if not beside.exists():
            raise FileNotFoundError(f"nothing was written to {beside}, which was to become {path}.")
        _flush(beside)
        _move(beside, path, scratch / "replaced")
        _sync(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(beside, path, replaced):
    """Put `beside` where `path` is; a folder there goes to `replaced`, and comes back if the move fails."""
    try:
        if path.is_dir():  # a file is replaced in one move
            os.replace(path, replaced)
        os.replace(beside, path)
    except BaseException:  # an interrupt too: what is in `replaced` is removed soon
        if os.path.lexists(replaced) and not os.path.lexists(path):
            os.replace(replaced, path)
        raise


def _flush(path):
    """Put a file, or all that a folder holds, on the disk, so that no crash can leave the name without the bytes."""
    for each in [path, *(path.rglob("*") if path.is_dir() else ())]:
        _sync(each)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def safely_written(path, overwrite=False):
    """`written_beside`, where an OSError also says how much is free on the disk, and that nothing is lost."""
    with (
        explained_disk_errors(path, "What was written before is intact."),
        written_beside(path, overwrite) as beside,
    ):
        yield beside


def remove_leftovers(folder, pattern):
    """Remove what `written_beside` left in a folder, for names like the glob `pattern`, in processes that were killed.

    No other process may be writing there (`lock`).
    """
    for scratch in Path(folder).glob(f".{pattern}.*"):
        if scratch.is_dir():
            shutil.rmtree(scratch)


def lock(stream, path):
    """Whether no other process holds the file at `path`; then it is this one's, as long as `stream` is open.

    Args:
        stream: `path`, opened for writing. A file that was moved or removed since is another's.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
        logger.warning("%s lies where files have no locks: let no other process write it.", path)
        return True


@contextlib.contextmanager
def explained_disk_errors(path, advice):
    """Let an OSError of the block say at which `path` it happened, how much is free there, and an advice.

    Its type and number stay the same.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        folder = next(each for each in (Path(path), *Path(path).resolve().parents) if each.is_dir())
        free = shutil.disk_usage(folder).free
        raise OSError(
            error.errno, f"{error.strerror or error}: writing {path} failed; {free / 2**20:,.1f} MiB are free. {advice}"
        ) from error
