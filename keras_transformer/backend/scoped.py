"""A value for the time of a `with` block."""

import contextlib
import contextvars


class Scoped:
    """What is said here is heard by all that is called inside the block, without being handed on.

    Each thread has a value of its own, as the replicas of a `MirroredStrategy` are threads.

    Args:
        name: for debuggers.
        outside: the value outside of any block.
    """

    def __init__(self, name, outside):
        self._variable = contextvars.ContextVar(name, default=outside)

    def get(self):
        """The value of the innermost block."""
        return self._variable.get()

    @contextlib.contextmanager
    def set_to(self, value):
        """The block; gives `value`."""
        before = self._variable.set(value)
        try:
            yield value
        finally:
            self._variable.reset(before)
