"""How fast training goes and how far it is: rates in the logs, a bar on the terminal."""

import atexit
import datetime
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keras_transformer.training.sums import PassedOver, learning_rate, target_tokens
from keras_transformer.training.workers import is_alone, is_chief


class Throughput(keras.callbacks.Callback):
    """Adds to each epoch's logs: seconds, target tokens seen so far, their rate, the learning rate.

    Put it before callbacks that read these. The time is that of training alone, without validation.
    """

    def on_train_begin(self, logs=None):
        self.tokens = 0
        self.started = time.monotonic()
        self.seconds = None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()
        self.seconds = None

    def get_state(self):
        """What a resumed run goes on from: the tokens of the epochs before, and the seconds of this one."""
        return {"tokens": self.tokens, "seconds": time.monotonic() - self.started if self.seconds is None else 0.0}

    def set_state(self, state):
        self.tokens = state["tokens"]
        self.started = time.monotonic() - state["seconds"]

    def on_test_begin(self, logs=None):
        self._stop()  # validation resets the metrics that count the tokens

    def _stop(self):
        if self.seconds is None:
            self.epoch_tokens = target_tokens(self.model)  # waits for the last step
            self.seconds = time.monotonic() - self.started

    def on_epoch_end(self, epoch, logs=None):
        self._stop()
        logs["seconds"] = self.seconds
        logs["learning_rate"] = learning_rate(self.model)
        if self.epoch_tokens is not None:
            self.tokens += self.epoch_tokens
            logs["target_tokens"] = self.tokens
            logs["tokens_per_second"] = self.epoch_tokens / self.seconds


def readable(value):
    """A number in few characters: whole from 1,000 on, four digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class TimeLeft:
    """How long the steps and epochs that are left will take, from those that are done.

    Steps and what stands between epochs (validation, samples, checkpoints) are timed apart, and neither the
    first step, which compiles the graph, nor the time before it counts.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.steps, self.stepping = 0, 0.0  # steps timed, and their seconds
        self.pauses, self.pausing = 0, 0.0  # pauses between epochs, and their seconds
        self.last_step = self.pause = None

    def step(self, done, passed_over=False):
        """`done` steps of this epoch are done; one that was only passed over took no time."""
        now = self.clock()
        if self.last_step is not None and not passed_over:
            at, before = self.last_step
            self.steps, self.stepping = self.steps + done - before, self.stepping + now - at
        self.last_step = now, done

    def stop(self):
        """The steps of the epoch are over; said more than once, the first time counts."""
        if self.pause is None:
            self.pause = self.clock()

    def go_on(self):
        """The next epoch begins."""
        if self.pause is not None and self.last_step is not None:
            now = self.clock()
            self.pauses, self.pausing = self.pauses + 1, self.pausing + now - self.pause
            self.last_step = now, 0
        self.pause = None

    def seconds(self, steps, epochs):
        """Seconds that `steps` steps and the pauses after `epochs` epochs take; needs a timed step."""
        pauses, pausing = self.pauses, self.pausing
        if self.pause is not None:  # in one
            pauses, pausing = pauses + 1, pausing + self.clock() - self.pause
        return steps * self.stepping / self.steps + epochs * pausing / max(pauses, 1)


def clock_time(seconds):
    """Seconds as "1:02:03"."""
    return str(datetime.timedelta(seconds=round(seconds)))


class TrainingProgress(keras.callbacks.Callback):
    """A bar for each epoch with the time left of it and in all, and a line of its results. Use with `verbose=0`.

    Where the output is no terminal, only the lines are printed.
    """

    def __init__(self, console=None):
        super().__init__()
        self.console = console or Console(quiet=not is_chief())
        self.bar = None

    def on_train_begin(self, logs=None):
        self._close()
        self.time_left = TimeLeft()
        atexit.register(self._close)  # after an interrupted fit the cursor would stay hidden

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs_after = self.params["epochs"] - epoch - 1
        self.steps = self.params.get("steps")  # None for a dataset of unknown length
        self.bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.params['epochs']}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[shown]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=self.steps, shown="", left="")
        self.started, self.tokens, self.shown_at = time.monotonic(), 0, 0.0
        self.passed_over = PassedOver(self)
        self.time_left.go_on()
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        passed_over = bool(self.passed_over)
        self.time_left.step(batch + 1, passed_over)
        now = time.monotonic()
        shown = {}
        if passed_over:
            self.started, self.tokens = now, target_tokens(self.model) or 0
            return
        # Reading a metric waits for the step, and for every other worker.
        if self.console.is_terminal and is_alone() and now - self.shown_at > 0.5:
            self.shown_at = now
            tokens = target_tokens(self.model)
            rate = f"{(tokens - self.tokens) / (now - self.started):,.0f} tokens/s  " if tokens else ""
            shown["shown"] = f"{rate}loss {float((logs or {}).get('loss', float('nan'))):.3f}"
            shown["left"] = self._left(batch + 1)
        self.bar.update(self.task, completed=batch + 1, **shown)

    def on_test_begin(self, logs=None):
        if self.bar is not None:  # not so in `evaluate` alone
            self.time_left.stop()
            self.bar.update(self.task, left=f"validating  {self._left(self.steps)}")

    def on_epoch_end(self, epoch, logs=None):
        self.time_left.stop()
        self._close()
        facts = [f"{name} {readable(value)}" for name, value in (logs or {}).items()]
        if self.epochs_after and (left := self._of_all(self.steps, self.epochs_after)):
            facts.append(f"left {left}")
        line = "  ".join([f"epoch {epoch + 1}/{self.params['epochs']}", *facts])
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, logs=None):
        self._close()
        atexit.unregister(self._close)

    def _left(self, done):
        """The time left of this epoch's steps and of `fit` in words; "" before anything is known."""
        if not (of_all := self._of_all(done, self.epochs_after + 1)):
            return ""
        of_epoch = clock_time(self.time_left.seconds(self.steps - done, 0))
        return f"left {of_epoch}, of all {of_all}"

    def _of_all(self, done, pauses):
        """The time left of `fit` after `done` steps of this epoch; "" before anything is known."""
        if not self.steps or not self.time_left.steps:
            return ""
        return clock_time(self.time_left.seconds(self.steps - done + self.epochs_after * self.steps, pauses))

    def _close(self):
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
