"""Check paths before the work: those that will be read, and those that will be written."""

import difflib
import errno
import os
from pathlib import Path

AnyPath = str | os.PathLike[str]
MOST_NAMES = 2000  # of a folder that are compared with a name that is not there
MOST_UNLIKE = 0.7  # the least similarity of two names, as in `difflib`


def refuse_own_input(target, sources, argument="output"):
    """Refuse to write over what is read, before the work.

    Args:
        target: the path that will be written, or None.
        sources: paths that are read. None stands for no path.
        argument: the name of the target's argument.

    Raises:
        ValueError: the target is one of the sources.
    """
    if target is None or not os.path.exists(target):
        return
    if any(source is not None and os.path.realpath(source) == os.path.realpath(target) for source in sources):
        raise ValueError(f"{argument}={str(target)!r} is a file that is read here. Choose another path to write to.")


def check_target(path, kind=None, argument="path", overwrite=True, inside=False):
    """Refuse a path that cannot be written, before the work whose result it will hold. Nothing is created.

    Args:
        path: str or `os.PathLike`.
        kind: "file" or "folder", what will be written. None allows both.
        argument: the name of the argument, for messages.
        overwrite: whether there may be something already.
        inside: whether a folder that is there gets files, or a file gets lines. Otherwise it is replaced: the new one
            is written beside it.

    Returns:
        The `Path`.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
        TypeError: `path` is no path.
        ValueError: the path is empty, begins with "~" or has a NUL; it is meant for a file and ends in a slash; or
            there is a device or a pipe.
        IsADirectoryError, NotADirectoryError: there is a folder instead of a file, or a file instead of a folder.
        OSError: the path is too long, or one may not write there.
    """
    text = checked_path(path, argument)
    path, named = Path(text), f"{argument}={text!r}"
    if kind == "file" and text.endswith(os.sep):
        raise ValueError(f"{named} ends in {os.sep!r}, as a folder does. Give the name of a file.")
    _check_name(path, f"{named} cannot be written")
    there = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
    if there != path:
        if not there.is_dir():
            raise NotADirectoryError(f"{named} cannot be written: {there} is no folder. Choose another path.")
    elif path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{named} is neither a file nor a folder, and would be replaced. Choose another path.")
    elif path.is_dir() and kind == "file":
        raise IsADirectoryError(f"{named} is a folder. Choose the name of a file.")
    elif path.is_file() and kind == "folder":
        raise NotADirectoryError(f"{named} is a file. Choose the name of a folder.")
    elif path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True to replace it.")
    written = there if there != path or (inside and path.exists()) else path.absolute().parent
    if not os.access(written, os.W_OK | (os.X_OK if written.is_dir() else 0)):
        reason = f"no permission to write in {written}"
        raise PermissionError(errno.EACCES, f"{named} cannot be written: {reason}. Choose another path.")
    return path


def _check_name(path, failure):
    """Refuse a path that the system cannot look up, for example a name of more than 255 bytes."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise OSError(error.errno, f"{failure}: {error.strerror}. Choose another path.") from error


def checked_path(path, argument="path"):
    """Return a path as str, if it is one.

    Raises:
        TypeError: `path` is no path.
        ValueError: the path is empty, has a NUL, or begins with "~", which Python does not expand.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{argument} must be a path, a str or a pathlib.Path, got {path!r}.")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{argument}={text!r} is no path. Give the name of a file or a folder.")
    if os.path.expanduser(text) != text:
        raise ValueError(f"{argument}={text!r}: ~ is not expanded. Pass {os.path.expanduser(text)!r}.")
    return text


def check_source(path, kind="file", argument="path"):
    """Refuse a path that cannot be read.

    Args:
        path: str or `os.PathLike`.
        kind: "file" or "folder", what is expected there. A file may also be a pipe or a device.
        argument: the name of the argument, for messages.

    Returns:
        The `Path`.

    Raises:
        TypeError, ValueError: `path` is no path, or begins with "~".
        FileNotFoundError: there is nothing.
        IsADirectoryError, NotADirectoryError: there is a folder instead of a file, or a file instead of a folder.
        PermissionError: one may not read it.
    """
    text = checked_path(path, argument)
    path = Path(text)
    _check_name(path, f"{argument}={text!r} cannot be read")
    if not path.exists():
        parent = next(each for each in path.absolute().parents if each.exists())
        nearest = "" if parent == path.absolute().parent else f" {parent} is the last folder of this path that exists."
        raise FileNotFoundError(f"{argument}={text!r} does not exist.{nearest or _similar(path)}")
    if path.is_dir() and kind == "file":
        raise IsADirectoryError(f"{argument}={text!r} is a folder. Give a file.")
    if not path.is_dir() and kind == "folder":
        raise NotADirectoryError(f"{argument}={text!r} is a file. Give a folder.")
    if not os.access(path, os.R_OK | (os.X_OK if kind == "folder" else 0)):
        raise PermissionError(errno.EACCES, f"{argument}={text!r} cannot be read: no permission.")
    return path


def _similar(path):
    """A hint with the name in the same folder that is most like one that does not exist."""
    folder = path.parent
    names = sorted(os.listdir(folder))[:MOST_NAMES] if os.access(folder, os.R_OK) else []
    near = [name for name in difflib.get_close_matches(path.name, names, 2, MOST_UNLIKE) if name != path.name]
    return f" Did you mean {str(folder / near[0])!r}?" if near else ""
