"""Write curves for TensorBoard. Only to see them, the package tensorboard is needed: the extra `tensorboard`."""

import importlib.util
import logging
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_transformer.files import explained_disk_errors, is_disk_full
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath, check_target, checked_path
from keras_transformer.training.skipping import SkippedSteps
from keras_transformer.training.sums import Window, learning_rate, target_tokens, updates
from keras_transformer.training.workers import is_chief

EXTRA = "keras-transformer-translation[tensorboard]"

logger = logging.getLogger("keras_transformer")


def write_scalar(name, value, step):
    """Write a number as `tf.summary.scalar` does, which needs the package tensorboard."""
    metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR", plugin_data={"plugin_name": "scalars"})
    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)


class TensorBoardLog(keras.callbacks.Callback):
    """Writes curves for `tensorboard --logdir folder`. Their x axis is the number of updates of the weights.

    To see them, install the extra `tensorboard`. Without it, the callback says so and writes them all the same.

    The run "train" gets a point every `every` steps, and after the last step of an epoch. A point holds the logs of
    `fit` (loss, accuracy, perplexity, and the gradient's norm if it is logged), the learning rate of the next update
    and `tokens_per_second`. Each value is a mean over the steps since the last point. Only metrics that are neither
    ours nor a `keras.metrics.Mean` are means since the epoch began, as in Keras' own callback.

    After each epoch, all its logs are written as `epoch/…`, those of validation into the run "validation". So put this
    callback after those that add to the logs, for example `Throughput` and `ValidationBLEU`.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import TensorBoardLog

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[TensorBoardLog("run/curves", every=10)])
        ```

    Args:
        folder: created if missing. A resumed `fit` adds to the curves in it.
        every: the number of steps between two points inside an epoch.
        report: the `report` of the corpus. With it, `epoch/source_padding` and `epoch/target_padding` are the share of
            padding in the batches, from 0 to 1.

    Raises:
        ValueError: `every` is below 1.
        OSError: when `fit` starts, the folder cannot be written in. Later: the disk is full. The message names the
            folder and the free space. The points before are intact.
    """

    def __init__(self, folder: AnyPath, every: int = 100, report: Any = None) -> None:
        super().__init__()
        self.folder, self.every = Path(checked_path(folder, "folder")), whole("every", every)
        self.padding = {}
        if report is not None:
            self.padding = {
                "source_padding": 1 - report.source_tokens / report.source_positions,
                "target_padding": 1 - report.target_tokens / report.target_positions,
            }
        self.writers = {}
        self.steps = self.drawn_steps = 0  # the steps of this epoch, and how many of them the points so far include

    def on_train_begin(self, logs=None):
        self._close()
        if is_chief():
            check_target(self.folder, "folder", "folder", inside=True)
            if importlib.util.find_spec("tensorboard") is None:
                logger.warning("To see the curves in %s: pip install %r", self.folder, EXTRA)
        self.window = Window()

    def on_epoch_begin(self, epoch, logs=None):
        self.window.start()
        self.skipped_steps = SkippedSteps(self)
        self.steps = self.drawn_steps = self.tokens = 0
        self.point_time = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.steps, self.logs = batch + 1, logs or {}
        if self.steps - self.drawn_steps >= self.every or self.skipped_steps.all_so_far():
            self._end_point()

    def on_test_begin(self, logs=None):
        self._end_last_point()  # before validation resets the metrics

    def _end_last_point(self):
        if self.steps > self.drawn_steps:
            self._end_point()

    def _end_point(self):
        """Write a point for the steps since the last one, unless they were skipped, and begin the next."""
        values = {**self.logs, **self.window.means(self.model), "learning_rate": learning_rate(self.model)}
        now, tokens = time.monotonic(), target_tokens(self.model)
        if tokens is not None:
            values["tokens_per_second"] = (tokens - self.tokens) / (now - self.point_time)
        self.drawn_steps, self.tokens, self.point_time = self.steps, tokens or 0, now
        if not self.skipped_steps.all_so_far():
            self._write("train", values)

    def on_epoch_end(self, epoch, logs=None):
        self._end_last_point()
        logs = {**(logs or {}), "learning_rate": learning_rate(self.model), **self.padding}
        validation = {name: value for name, value in logs.items() if name.startswith("val_")}
        training = {name: value for name, value in logs.items() if name not in validation}
        self._write("train", training, "epoch/")
        self._write("validation", {name.removeprefix("val_"): value for name, value in validation.items()}, "epoch/")

    def on_train_end(self, logs=None):
        self._close()

    def on_interrupt(self, error):
        """Close the files of the curves."""
        if not is_disk_full(error):  # closing would try to write again
            self._close()

    def _write(self, run, values, prefix=""):
        if not values or not is_chief():
            return
        step = updates(self.model)
        with explained_disk_errors(self.folder, "The points before are intact."):
            if run not in self.writers:
                self.writers[run] = tf.summary.create_file_writer(str(self.folder / run))
            with self.writers[run].as_default():
                for name, value in values.items():
                    write_scalar(f"{prefix}{name}", value, step)
            self.writers[run].flush()  # a crash then loses no point

    def _close(self):
        for writer in self.writers.values():
            writer.close()
        self.writers = {}
