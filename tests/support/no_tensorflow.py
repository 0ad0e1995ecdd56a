"""A pytest plugin that makes every import of TensorFlow fail, like on a machine without TensorFlow."""

import sys

for name in ("tensorflow", "tensorflow_text"):
    sys.modules[name] = None
