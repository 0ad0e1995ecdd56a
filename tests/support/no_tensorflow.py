"""A pytest plugin that makes every import of TensorFlow fail, as on a machine without it."""

import sys

for name in ("tensorflow", "tensorflow_text"):
    sys.modules[name] = None
