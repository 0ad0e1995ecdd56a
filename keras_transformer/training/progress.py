"""Show the speed and the progress of training: rates in the logs, a bar on the terminal."""

import atexit
import datetime
import time
from typing import Any

import keras
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keras_transformer.console import safe_console, show
from keras_transformer.training.skipping import SkippedSteps
from keras_transformer.training.sums import learning_rate, target_tokens
from keras_transformer.training.workers import is_chief, is_only_worker

SECONDS_BETWEEN_UPDATES = 0.5  # of the bar's text
SECONDS_BETWEEN_LINES = 60  # within an epoch, where the output is no terminal


class Throughput(keras.callbacks.Callback):
    """Adds `seconds`, `learning_rate`, `target_tokens` and `tokens_per_second` to the logs of each epoch.

    Put it before callbacks that read these values. `seconds` is the time of training, without validation.
    `target_tokens` counts the target tokens of all epochs so far. It needs one of our metrics in
    `compile(metrics=...)`, and so does the rate.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import Throughput

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[Throughput()]).history
        assert history["seconds"][0] > 0
        ```
    """

    adds_to_logs = ("seconds", "learning_rate", "target_tokens", "tokens_per_second")

    def on_train_begin(self, logs=None):
        self.tokens = 0
        self.started = time.monotonic()
        self.seconds = None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()
        self.seconds = None

    def get_state(self):
        """Return what a resumed run needs: the tokens of the epochs before, and the seconds of this epoch."""
        return {"tokens": self.tokens, "seconds": time.monotonic() - self.started if self.seconds is None else 0.0}

    def set_state(self, state):
        self.tokens = state["tokens"]
        self.started = time.monotonic() - state["seconds"]

    def on_test_begin(self, logs=None):
        self._stop()  # before validation resets the metrics that count the tokens

    def _stop(self):
        if self.seconds is None:
            self.epoch_tokens = target_tokens(self.model)  # this waits for the last step
            self.seconds = time.monotonic() - self.started

    def on_epoch_end(self, epoch, logs=None):
        self._stop()
        logs["seconds"] = self.seconds
        logs["learning_rate"] = learning_rate(self.model)
        if self.epoch_tokens is not None:
            self.tokens += self.epoch_tokens
            logs["target_tokens"] = self.tokens
            logs["tokens_per_second"] = self.epoch_tokens / self.seconds


def format_number(value):
    """Write a number in few characters: as a whole number from 1,000, with four digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class TimeLeft:
    """Estimates the time of the steps and epochs that are left from the time of those that are done.

    Steps are timed apart from the pauses between epochs, in which validation, samples and checkpoints run. The first
    step, which compiles the graph, and the time before it do not count.

    Args:
        clock: a function that returns seconds.
    """

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.steps, self.step_seconds = 0, 0.0
        self.pauses, self.pause_seconds = 0, 0.0
        self.last_step = None  # (its time, its number)
        self.pause_start = None  # while there is a pause

    def step(self, number, skipped=False):
        """Note that the first `number` steps of the epoch are done. A skipped step is not timed."""
        now = self.clock()
        if self.last_step is not None and not skipped:
            last_time, last_number = self.last_step
            self.steps += number - last_number
            self.step_seconds += now - last_time
        self.last_step = now, number

    def begin_pause(self):
        """Note that the steps of the epoch are over. In a pause, a second call does nothing."""
        if self.pause_start is None:
            self.pause_start = self.clock()

    def end_pause(self):
        """Note that the next epoch begins."""
        if self.pause_start is not None and self.last_step is not None:
            now = self.clock()
            self.pauses += 1
            self.pause_seconds += now - self.pause_start
            self.last_step = now, 0
        self.pause_start = None

    def seconds(self, steps, pauses):
        """Return the seconds that some steps and pauses will take. At least one step must have been timed."""
        count, seconds = self.pauses, self.pause_seconds
        if self.pause_start is not None:
            count, seconds = count + 1, seconds + self.clock() - self.pause_start
        return steps * self.step_seconds / self.steps + pauses * seconds / max(count, 1)


def format_time(seconds):
    """Write seconds as "1:02:03"."""
    return str(datetime.timedelta(seconds=round(seconds)))


class TrainingProgress(keras.callbacks.Callback):
    """Shows a bar for each epoch, with the time left of the epoch and of the training, and then a line of its results.

    Use it with `verbose=0`. If the output is no terminal, it prints lines only: one after each epoch, and one a minute.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import TrainingProgress

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[TrainingProgress()])
        ```

    Args:
        console: a `rich.console.Console`. None prints to the standard output, on the first worker only.
            Printing never ends the training, see `SampleTranslations`.
    """

    def __init__(self, console: Any = None) -> None:
        super().__init__()
        self.console = safe_console(console, quiet=not is_chief())
        self.bar = None

    def on_train_begin(self, logs=None):
        self._close()
        self.time_left = TimeLeft()
        atexit.register(self._close)  # otherwise an interrupted fit leaves the cursor hidden

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs_after = self.params["epochs"] - epoch - 1
        self.steps = self.params.get("steps")  # None for a dataset of unknown length
        self.bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.params['epochs']}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=self.steps, rate="", left="")
        self.started, self.tokens = time.monotonic(), 0
        self.shown_at = 0.0 if self.console.is_terminal else self.started
        self.skipped_steps = SkippedSteps(self)
        self.time_left.end_pause()
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        skipped = self.skipped_steps.all_so_far()
        self.time_left.step(batch + 1, skipped)
        now = time.monotonic()
        if skipped:
            self.started, self.tokens = now, target_tokens(self.model) or 0
            return
        texts = {}
        pause = SECONDS_BETWEEN_UPDATES if self.console.is_terminal else SECONDS_BETWEEN_LINES
        # Reading a metric waits for the step, and for every other worker.
        if is_only_worker() and now - self.shown_at > pause:
            self.shown_at = now
            tokens = target_tokens(self.model)
            rate = f"{(tokens - self.tokens) / (now - self.started):,.0f} tokens/s  " if tokens else ""
            texts["rate"] = f"{rate}loss {float((logs or {}).get('loss', float('nan'))):.3f}"
            texts["left"] = self._left(batch + 1)
            if not self.console.is_terminal:
                self._show_line(batch + 1, **texts)
        self.bar.update(self.task, completed=batch + 1, **texts)

    def _show_line(self, step, rate, left):
        """Print the state of the epoch as a plain line, for a log file."""
        epoch = self.params["epochs"] - self.epochs_after
        show(self.console, f"epoch {epoch}/{self.params['epochs']}  step {step}/{self.steps or '?'}  {rate}  {left}")

    def on_test_begin(self, logs=None):
        if self.bar is not None:  # there is none in `evaluate` outside of `fit`
            self.time_left.begin_pause()
            self.bar.update(self.task, left=f"validating  {self._left(self.steps)}")

    def on_epoch_end(self, epoch, logs=None):
        self.time_left.begin_pause()
        self._close()
        results = [f"{name} {format_number(value)}" for name, value in (logs or {}).items()]
        if self.epochs_after and (left := self._total_left(self.steps, self.epochs_after)):
            results.append(f"left {left}")
        line = "  ".join([f"epoch {epoch + 1}/{self.params['epochs']}", *results])
        show(self.console, line)

    def on_train_end(self, logs=None):
        self._close()
        atexit.unregister(self._close)

    def on_interrupt(self, error):
        """End the bar, which would go on moving and hide the cursor."""
        self.on_train_end()

    def _left(self, done):
        """The time left of this epoch's steps and of `fit` in words; "" before a step was timed."""
        if not (total := self._total_left(done, self.epochs_after + 1)):
            return ""
        epoch = format_time(self.time_left.seconds(self.steps - done, 0))
        return f"left {epoch}, of all {total}"

    def _total_left(self, done, pauses):
        """The time left of `fit` after `done` steps of this epoch; "" before a step was timed."""
        if not self.steps or not self.time_left.steps:
            return ""
        return format_time(self.time_left.seconds(self.steps - done + self.epochs_after * self.steps, pauses))

    def _close(self):
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
