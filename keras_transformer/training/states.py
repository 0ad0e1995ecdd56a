"""Read and write training states: files of facts and named arrays that are complete or do not exist."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_transformer.files import json_text, written_beside

FACTS = "facts"
# The errors that NumPy, zipfile and json raise for a damaged file.
DAMAGE_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_state(path, facts, arrays):
    """Write a state to `path` as an `.npz` of NumPy. An older file there stays until the new one is complete.

    Args:
        path: the file.
        facts: anything that JSON can hold, or numbers of NumPy.
        arrays: dict of names to arrays of any dtype, bfloat16 too.

    Raises:
        OSError: the file cannot be written, for example on a full disk. The message names the path and the free space.
            An older file is still there.
    """
    dtypes = {name: array.dtype.name for name, array in arrays.items()}
    stored = {FACTS: np.frombuffer(json_text({"facts": facts, "dtypes": dtypes}).encode(), np.uint8)}
    for name, array in arrays.items():
        # NumPy's format lacks the dtypes of ml_dtypes, for example bfloat16: they are stored as unsigned integers.
        stored[name] = array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array
    with written_beside(path, overwrite=True, kind="file") as beside, open(beside, "wb") as stream:
        np.savez(stream, **stored)


def read_state(path, wanted=lambda name: True):
    """Read a file of `write_state` and check its checksums.

    Args:
        path: the file.
        wanted: a function of an array's name that says whether to read the array.

    Returns:
        The facts, and a dict of names to arrays.

    Raises:
        ValueError: the file is damaged, or is no state; the message names it.
        OSError: the file cannot be read.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            head = json.loads(file[FACTS].tobytes())
            dtypes = {name: np.dtype(dtype) for name, dtype in head["dtypes"].items() if wanted(name)}
            arrays = {name: file[name] for name in dtypes}
    except DAMAGE_ERRORS as error:
        raise ValueError(f"{path} is damaged, or no training state: {error}") from error
    return head["facts"], {
        name: array.view(dtypes[name]) if array.dtype != dtypes[name] else array for name, array in arrays.items()
    }


def differences(there, here, name=""):
    """List the fields in which two nested dictionaries differ, as "field is VALUE there and VALUE here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        prefix = f"{name}." if name else ""
        keys = [*there, *(key for key in here if key not in there)]
        return [
            line
            for key in keys
            for line in differences(there.get(key, "nothing"), here.get(key, "nothing"), f"{prefix}{key}")
        ]
    return [] if there == here else [f"{name} is {there!r} there and {here!r} here"]


def states_in(folder, stem):
    """Find the files `stem`-NUMBER.npz of a folder: {number: path}, in the order of the numbers."""
    paths = {}
    for path in Path(folder).glob(f"{stem}-*.npz"):
        number = path.stem.removeprefix(f"{stem}-")
        if number.isdecimal():
            paths[int(number)] = path
    return dict(sorted(paths.items()))
