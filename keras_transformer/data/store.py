"""Sentence pairs as ids in temporary files. Memory does not grow with the corpus."""

import contextlib
import os
import tempfile
import weakref

import numpy as np

from keras_transformer.files import explained_disk_errors

ENTRY = np.dtype([("offset", np.int64), ("source", np.int32), ("target", np.int32)])  # in ids, without END
CHUNK = 1 << 16  # entries sorted at a time


class PairStore:
    """The ids of many pairs. They are written one after another, sorted once, and then read in any order.

    The files have no name, so they are gone when the process ends, also when it is killed. They are in the folder
    `tempfile.gettempdir()`; the environment variable TMPDIR names another. They take 2 or 4 bytes for each id, and
    32 bytes for each pair.

    Args:
        vocabulary_size: int. The ids of both sides are below it. An id takes 2 bytes with at most 65,536 pieces, and 4
            with more.

    Raises:
        OSError: the disk is full. Every method can raise it. The message names the folder and its free space.
    """

    def __init__(self, vocabulary_size):
        self.dtype = np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.int32)
        self.folder = tempfile.gettempdir()
        with self._explained_errors(), contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(3)]
            weakref.finalize(self, stack.pop_all().close)
        self.ids, self.unsorted, self.sorted = files
        self.size = self.offset = 0

    def _explained_errors(self):
        return explained_disk_errors(self.folder, "TMPDIR names another folder for temporary files.")

    def add(self, ids, source_lengths, target_lengths):
        """Append N pairs.

        Args:
            ids: the ids of all pairs in one array, in each pair the source before the target.
            source_lengths, target_lengths: arrays [N], how many ids each side of a pair has.
        """
        entries = np.empty(len(source_lengths), ENTRY)
        sizes = source_lengths + target_lengths
        entries["offset"] = self.offset + np.cumsum(sizes) - sizes
        entries["source"], entries["target"] = source_lengths, target_lengths
        with self._explained_errors():
            _write(self.ids, ids.astype(self.dtype), self.offset)
            _write(self.unsorted, entries, self.size)
        self.offset += len(ids)
        self.size += len(entries)

    def sort(self, group_of, sizes):
        """Give the pairs new numbers, group by group. Inside a group they stay in the order in which they were added.

        Args:
            group_of: a function from (number of the first pair, source lengths [N], target lengths [N]) to groups [N].
            sizes: how many pairs each group has.
        """
        cursors = np.cumsum(sizes) - sizes
        for start in range(0, self.size, CHUNK):
            entries = _read(self.unsorted, ENTRY, start, min(CHUNK, self.size - start))
            groups = group_of(start, entries["source"], entries["target"])
            for group in np.unique(groups).tolist():
                chosen = entries[groups == group]
                with self._explained_errors():
                    _write(self.sorted, chosen, int(cursors[group]))
                cursors[group] += len(chosen)
        self.unsorted.close()

    def read(self, numbers):
        """Yield (source ids, target ids) of pairs. `numbers` are those that `sort` gave."""
        for number in numbers:
            ((offset, source, target),) = _read(self.sorted, ENTRY, int(number), 1).tolist()
            ids = _read(self.ids, self.dtype, offset, source + target)
            yield ids[:source], ids[source:]


def _write(file, array, place):
    """Write the array at item number `place` of a file of such items."""
    view = memoryview(np.ascontiguousarray(array)).cast("B")
    offset = place * array.itemsize
    while len(view):
        size = os.pwrite(file.fileno(), view, offset)
        view, offset = view[size:], offset + size


def _read(file, dtype, place, count):
    """Read `count` items from item number `place` on."""
    return np.frombuffer(os.pread(file.fileno(), count * dtype.itemsize, place * dtype.itemsize), dtype, count)
