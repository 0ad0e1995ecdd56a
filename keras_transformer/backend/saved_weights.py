"""The private part of Keras that writes weights into files: which weights, under which names.

`tests/backend/test_compat_weights.py` has a test for each function.
"""

import contextlib
import inspect
import json
import zipfile
from pathlib import Path

import keras

saving_lib = inspect.getmodule(keras.saving.load_weights).saving_lib  # it has no public name
MEMBER = "model.weights.h5"  # of the zip file that a `.keras` file is


class _Shapes(saving_lib.H5IOStore):
    """A store that notes names and shapes instead of values."""

    def __init__(self):
        self.found, self._place = {}, ""

    def __bool__(self):
        return True

    def make(self, path, metadata=None):
        self._place = f"{path}/vars/" if path else "vars/"
        return self

    def __setitem__(self, key, value):
        place = self._place + key
        self.found[place] = (getattr(value, "path", place), tuple(value.shape))


def weights_to_save(model):
    """What Keras would write into a file of a model's weights: {place in the file: (name, shape)}."""
    shapes = _Shapes()
    saving_lib._save_state(model, shapes, None, "", set())
    return shapes.found


def weights_in(path):
    """The weights that a `.weights.h5`, `.weights.json` or `.keras` file has: {place in the file: shape}.

    Raises:
        OSError: it is no such file, or is damaged. Other errors are possible.
    """
    path, shapes = Path(path), {}

    def note(place, item):
        if hasattr(item, "shape"):
            shapes[place] = tuple(item.shape)

    with contextlib.ExitStack() as opened:
        if path.suffix == ".keras":
            stores = [saving_lib.H5IOStore(MEMBER, archive=opened.enter_context(zipfile.ZipFile(path)))]
        elif path.suffix == ".json":  # an index of several files
            files = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
            stores = [saving_lib.H5IOStore(path.parent / name) for name in sorted(set(keras.tree.flatten(list(files))))]
        else:
            stores = [saving_lib.H5IOStore(path)]
        for store in stores:
            opened.callback(store.close)
            store.h5_file.visititems(note)
    return shapes
