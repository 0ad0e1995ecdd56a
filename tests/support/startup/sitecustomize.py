"""Python runs this where it starts with this folder on its path, as the tests' processes do. It makes imports quick.

TensorFlow and Keras import large libraries where these are installed, for features that no test uses: converting
models of JAX, showing pictures, and tables as data. Half of the import's time goes there. They are told that the
library is missing, which they expect. Everything else still finds it.
"""

import gc
import importlib.abc
import sys

gc.set_threshold(10_000, 10, 10)  # the imports keep all that they make, and the collector would search it all the time

# The library, and the modules that go without it.
UNUSED = {
    "jax": ("tensorflow.lite.python.util", "keras.src.callbacks.orbax_checkpoint"),
    "matplotlib": ("keras.src.visualization.",),
    "matplotlib.pyplot": ("keras.src.visualization.",),
    "pandas": ("keras.src.trainers.data_adapters.array_slicing", "tensorflow.python.keras."),
}


class WithoutUnused(importlib.abc.MetaPathFinder):
    """Finds nothing. It refuses a library to the modules that go without it."""

    def find_spec(self, name, path=None, target=None):
        """Raise ModuleNotFoundError where the module that imports `name` goes without it."""
        if name in UNUSED:
            frame = sys._getframe(1)
            while frame is not None and frame.f_globals.get("__name__", "").startswith(("importlib.", "_frozen_")):
                frame = frame.f_back
            if frame is not None and frame.f_globals.get("__name__", "").startswith(UNUSED[name]):
                raise ModuleNotFoundError(f"no module named {name!r} for this importer", name=name)
        return None


sys.meta_path.insert(0, WithoutUnused())
