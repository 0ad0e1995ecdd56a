"""One process trains in a folder at a time."""

import os
import weakref

from keras_transformer.files import lock

LOCK_FILE = ".training"

_held = weakref.WeakValueDictionary()  # this process' locks, by their files' real paths


class FolderLock:
    """Lets no other process train in a folder until `release`, or until it is collected, or the process ends.

    In one process the newest counts: it takes the place of what a `fit` that raised has left held.

    Args:
        folder: a `Path`; made if missing. It holds the file `.training` until `release`.

    Raises:
        BlockingIOError: another process trains there.
        OSError: it cannot be made, or written in; of the kind that the system says.
    """

    def __init__(self, folder):
        self.path = folder / LOCK_FILE
        key = os.path.realpath(self.path)
        if earlier := _held.get(key):
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
                f"another process is training in {folder}, or has not ended since. Wait for it, or choose another "
                "folder."
            )
        _held[key] = self

    def release(self):
        """Let others train there; a second time, do nothing."""
        if self._close.alive:
            self.path.unlink(missing_ok=True)  # while nobody else can hold it
            self._close()
