"""The time of calls: every benchmark measures it here."""

import resource
import statistics
import time
from typing import NamedTuple


class Timings(NamedTuple):
    """The result of `repeat`."""

    seconds: list  # of each timed call
    cpu_seconds: list  # of each timed call, all threads together
    values: list  # the return values of all calls, the warm-up calls first

    @property
    def median(self):
        """The median of `seconds`."""
        return statistics.median(self.seconds)


def timed(function, *arguments):
    """Call a function once. Return the seconds and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def repeat(call, seconds=0.0, *, warm_up=2, fewest=2, most=40):
    """Call a function again and again, and time each call after the warm-up.

    Args:
        call: a function without arguments.
        seconds: the timed calls stop when they took this long together.
        warm_up: calls before the timed ones.
        fewest: at least so many calls are timed, however long they take.
        most: at most so many calls are timed, however short they are. It must not be less than `fewest`.

    Returns:
        `Timings`.
    """
    timings = Timings([], [], [call() for _ in range(warm_up)])
    while len(timings.seconds) < fewest or (sum(timings.seconds) < seconds and len(timings.seconds) < most):
        cpu_start = cpu_seconds()
        elapsed, value = timed(call)
        timings.cpu_seconds.append(cpu_seconds() - cpu_start)
        timings.seconds.append(elapsed)
        timings.values.append(value)
    return timings


def cpu_seconds():
    """Return the processor time that all threads of this process have used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def epoch_timer():
    """Return a Keras callback, and a list that it extends with the seconds of each epoch of `fit`.

    When Keras ends an epoch, the logs are numbers. So the steps are done, on a GPU too.
    """
    import keras

    starts, seconds = [], []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: seconds.append(time.perf_counter() - starts[-1]),
    )
    return callback, seconds


def medians(rounds):
    """Return the median of each key over dictionaries with the same keys."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def shares(ops, count_name, calls):
    """Sum up the ops of a trace by group.

    Args:
        ops: a list of (group, time), one for each op.
        count_name: the name under which the number of ops is returned.
        calls: the numbers of ops are divided by this.

    Returns:
        {group: {"share": its share of the whole time, count_name: number of ops}}, the largest share first.
    """
    totals, counts = {}, {}
    for group, duration in ops:
        totals[group] = totals.get(group, 0) + duration
        counts[group] = counts.get(group, 0) + 1
    whole = sum(totals.values())
    ordered = sorted(totals.items(), key=lambda item: -item[1])
    return {group: {"share": total / whole, count_name: counts[group] / calls} for group, total in ordered}
