"""How fast training goes and how far it is: rates in the logs, a bar on the terminal."""

import atexit
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from keras_transformer.metrics import TokenMetric


def target_tokens(model):
    """Target tokens that `fit` has seen in this epoch, from any of our metrics; None without one."""
    for metric in model.metrics:
        for part in getattr(metric, "metrics", [metric]):
            if isinstance(part, TokenMetric):
                return int(part.tokens.numpy())  # summed over the replicas
    return None


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
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        if self.epoch_tokens is not None:
            self.tokens += self.epoch_tokens
            logs["target_tokens"] = self.tokens
            logs["tokens_per_second"] = self.epoch_tokens / self.seconds


def readable(value):
    """A number in few characters: whole from 1,000 on, four digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class TrainingProgress(keras.callbacks.Callback):
    """A bar for each epoch with its time left, and a line of its results. Use with `verbose=0`.

    Where the output is no terminal, only the lines are printed.
    """

    def __init__(self, console=None):
        super().__init__()
        self.console = console or Console()
        self.bar = None

    def on_train_begin(self, logs=None):
        self._close()
        atexit.register(self._close)  # after an interrupted fit the cursor would stay hidden

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.params['epochs']}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[shown]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=self.params.get("steps"), shown="")
        self.started, self.shown_at = time.monotonic(), 0.0
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        shown = {}
        if self.console.is_terminal and now - self.shown_at > 0.5:  # reading a metric waits for the step
            self.shown_at = now
            tokens = target_tokens(self.model)
            rate = f"{tokens / (now - self.started):,.0f} tokens/s  " if tokens else ""
            shown["shown"] = f"{rate}loss {float((logs or {}).get('loss', float('nan'))):.3f}"
        self.bar.update(self.task, completed=batch + 1, **shown)

    def on_epoch_end(self, epoch, logs=None):
        self._close()
        facts = "  ".join(f"{name} {readable(value)}" for name, value in (logs or {}).items())
        self.console.print(f"epoch {epoch + 1}/{self.params['epochs']}  {facts}", highlight=False, soft_wrap=True)

    def on_train_end(self, logs=None):
        self._close()
        atexit.unregister(self._close)

    def _close(self):
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
