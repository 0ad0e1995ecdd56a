"""Sentence pairs as ids in temporary files, so that memory does not grow with the corpus."""

import contextlib
import os
import tempfile
import weakref

import numpy as np

from keras_transformer.files import explained_disk_errors

ENTRY = np.dtype([("offset", np.int64), ("source", np.int32), ("target", np.int32)])  # in ids, without end marks
CHUNK = 1 << 16  # entries sorted at a time


class PairStore:
    """The ids of many pairs, written one after another and then read in any order.

    The files have no name: they vanish with the process, however it ends. They lie in `tempfile.gettempdir()`, which
    the environment variable TMPDIR moves, and take 2 or 4 bytes an id and 32 a pair.

    Args:
        vocabulary_size: ids are below it; they take 2 bytes up to 65,536.

    Raises:
        OSError: from any method, where the disk is full; it names the folder and its free space.
    """

    def __init__(self, vocabulary_size):
        self.dtype = np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.int32)
        self.folder = tempfile.gettempdir()
        with self._disk(), contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(3)]
            weakref.finalize(self, stack.pop_all().close)
        self.ids, self.written, self.sorted = files
        self.size = self.offset = 0

    def _disk(self):
        return explained_disk_errors(self.folder, "TMPDIR names another folder for temporary files.")

    def add(self, ids, source_lengths, target_lengths):
        """Append pairs: the ids of all, each pair's source before its target [total], and how many each has [N]."""
        entries = np.empty(len(source_lengths), ENTRY)
        sizes = source_lengths + target_lengths
        entries["offset"] = self.offset + np.cumsum(sizes) - sizes
        entries["source"], entries["target"] = source_lengths, target_lengths
        with self._disk():
            _write(self.ids, ids.astype(self.dtype), self.offset)
            _write(self.written, entries, self.size)
        self.offset += len(ids)
        self.size += len(entries)

    def sort(self, group_of, sizes):
        """Number the pairs anew, group by group, in a group as they were added.

        Args:
            group_of: a function of (first pair's number, source lengths [N], target lengths [N]) -> groups [N].
            sizes: how many pairs each group has.
        """
        cursors = np.cumsum(sizes) - sizes
        for start in range(0, self.size, CHUNK):
            entries = _read(self.written, ENTRY, start, min(CHUNK, self.size - start))
            groups = group_of(start, entries["source"], entries["target"])
            for group in np.unique(groups).tolist():
                chosen = entries[groups == group]
                with self._disk():
                    _write(self.sorted, chosen, int(cursors[group]))
                cursors[group] += len(chosen)
        self.written.close()

    def read(self, numbers):
        """Yield (source ids, target ids) of pairs by their numbers after `sort`."""
        for number in numbers:
            ((offset, source, target),) = _read(self.sorted, ENTRY, int(number), 1).tolist()
            ids = _read(self.ids, self.dtype, offset, source + target)
            yield ids[:source], ids[source:]


def _write(file, array, place):
    """Write at the place of item number `place`."""
    view = memoryview(np.ascontiguousarray(array)).cast("B")
    place *= array.itemsize
    while len(view):
        done = os.pwrite(file.fileno(), view, place)
        view, place = view[done:], place + done


def _read(file, dtype, place, count):
    return np.frombuffer(os.pread(file.fileno(), count * dtype.itemsize, place * dtype.itemsize), dtype, count)
