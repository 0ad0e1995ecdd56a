"""Lock a training folder, so that only one process trains in it."""

import os
import weakref

from keras_transformer.files import lock

LOCK_FILE = ".training"

_locks = weakref.WeakValueDictionary()  # the locks of this process, by the real paths of their files


class FolderLock:
    """Keeps other processes from training in a folder.

    The lock ends with `release`, when the object is garbage collected, or with the process. A new lock of the same
    process on the same folder releases the earlier one: a `fit` that raised has left it behind.

    Args:
        folder: a `Path`, created if missing. It holds the file `.training` until `release`.

    Raises:
        BlockingIOError: another process trains in the folder.
        OSError: the folder cannot be created or written in. The type is that of the system's error.
    """

    def __init__(self, folder):
        self.path = folder / LOCK_FILE
        key = os.path.realpath(self.path)
        if earlier := _locks.get(key):
            earlier.release()
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"folder={str(folder)!r} is a file. Choose a folder to train in.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stream = open(self.path, "ab")  # noqa: SIM115
        except OSError as error:
            message = f"folder={str(folder)!r} cannot be written in: {error.strerror}, {error.filename}."
            raise OSError(error.errno, message) from error
        self._close = weakref.finalize(self, stream.close)
        if not lock(stream, self.path):
            self._close()
            raise BlockingIOError(
                f"another process is training in {folder}, or has not ended yet. Wait for it, or choose another folder."
            )
        _locks[key] = self

    def release(self):
        """Let other processes train in the folder. A second call does nothing."""
        if self._close.alive:
            self.path.unlink(missing_ok=True)  # before the lock ends, while no other process can hold the file
            self._close()
