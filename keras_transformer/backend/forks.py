"""TensorFlow does not work in a process that was forked after TensorFlow was used: its threads are not there.

An op that waits for these threads would wait for ever. So a child of such a fork is recognized, and refused at once.
"""

import os

from keras_transformer.backend.compat import is_tensorflow_used

_state = {"broken": False}  # by a fork


def _remember():
    """Runs in each child after a fork."""
    _state["broken"] |= is_tensorflow_used()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember)


def check_process():
    """Raise RuntimeError in a process that was forked after TensorFlow was used."""
    if _state["broken"]:
        raise RuntimeError(
            "this process was forked after TensorFlow was used, and TensorFlow would hang here. Load the model and the "
            "tokenizer after the fork (not before it, as with gunicorn --preload), or start the process by "
            "multiprocessing.get_context('spawn')."
        )
