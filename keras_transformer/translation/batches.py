"""Sentences of like length together, and how far the work is."""

import contextlib

import numpy as np
from rich.console import Console
from rich.progress import Progress


def by_length(lengths, batch_size):
    """Yield index arrays of at most `batch_size` items of like length, the longest first."""
    order = np.argsort(lengths, kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@contextlib.contextmanager
def progress_bar(label, total, shown, done=0):
    """Give a function that says how many more of `total` items are done.

    The bar stands on standard error, where that is a terminal and `shown` is True.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.advance(task, count)
