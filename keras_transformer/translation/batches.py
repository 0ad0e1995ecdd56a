"""Sentences of similar length in one batch, batches at the same time, and a progress bar."""

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from keras_transformer.console import safe_console

WORKERS = 2  # two small matrix products at the same time are faster than one on two threads
# A batch is divided among idle workers if each gets at least this many sentences (measured).
FEWEST = 4


class Batches(NamedTuple):
    """How a list is divided into batches."""

    size: int = 64  # the most sentences of a batch
    progress: bool = False  # show a progress bar
    workers: int = WORKERS  # batches at the same time


def by_length(lengths, batch_size, workers=1):
    """Yield arrays of indices: batches of items of similar length, the longest first, of almost the same size.

    There are as few batches as `batch_size` allows. But while each worker gets at least `FEWEST` items, there is a
    batch for each worker.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    count = max(-(-len(order) // batch_size), min(workers, len(order) // FEWEST))
    if count:
        yield from np.array_split(order, count)


def at_the_same_time(work, items, workers):
    """Yield each item with `work(item)`, in order. As many threads as `workers` do the work.

    One worker is the caller's own thread: TensorFlow keeps `tf.device` by thread, so the caller's device counts.
    When `work` fails, or the caller stops reading, items that have not begun are dropped.
    """
    if workers == 1:
        yield from ((item, work(item)) for item in items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > workers:
                    item, future = waiting.popleft()
                    yield item, future.result()
            for item, future in waiting:
                yield item, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def progress_bar(label, total, shown, done=0):
    """Give a function that takes how many more of the `total` items are done.

    The bar is on standard error. It appears only if that is a terminal and `shown` is True.
    """
    console = safe_console(Console(stderr=True))
    with Progress(console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.advance(task, count)
