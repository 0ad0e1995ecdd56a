"""The file of a training state: facts and named arrays, whole or not there."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_transformer.files import safely_written

FACTS = "facts"
# What NumPy, zipfile and json raise for bytes that are not what they should be.
DAMAGED = (
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
    """Write a state to `path`, an `.npz` of NumPy; what was there before is replaced only by the whole new file.

    Args:
        facts: what JSON can hold.
        arrays: dict of names to arrays, bfloat16 and its like among them.

    Raises:
        OSError: a full disk, say; it names the path and the free space. What was there before is still there.
    """
    stored = {FACTS: _as_bytes({"facts": facts, "dtypes": {name: each.dtype.name for name, each in arrays.items()}})}
    for name, each in arrays.items():
        # NumPy's format does not know the dtypes that ml_dtypes adds.
        stored[name] = each.view(f"u{each.dtype.itemsize}") if each.dtype.kind == "V" else each
    with safely_written(path, overwrite=True) as beside, open(beside, "wb") as stream:
        np.savez(stream, **stored)


def _as_bytes(value):
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def read_state(path, wanted=lambda name: True):
    """Read what `write_state` wrote, its checksums included: facts, and a dict of the arrays whose names are `wanted`.

    Raises:
        ValueError: a damaged file, or another kind of file; the message names it.
        OSError: a file that cannot be read.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            head = json.loads(file[FACTS].tobytes())
            dtypes = {name: np.dtype(dtype) for name, dtype in head["dtypes"].items() if wanted(name)}
            arrays = {name: file[name] for name in dtypes}
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged, or no training state: {error}") from error
    return head["facts"], {
        name: each.view(dtypes[name]) if each.dtype != dtypes[name] else each for name, each in arrays.items()
    }


def differences(there, here, name=""):
    """The fields in which two nested dictionaries differ, as lines "field: value there, value here"."""
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
    """The states `stem`-NUMBER.npz of a folder, {number: path}, lowest number first."""
    found = {}
    for path in Path(folder).glob(f"{stem}-*.npz"):
        number = path.stem.removeprefix(f"{stem}-")
        if number.isdecimal():
            found[int(number)] = path
    return dict(sorted(found.items()))
