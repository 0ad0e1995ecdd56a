"""Curves for TensorBoard, which is not needed to write them."""

import time
from pathlib import Path

import keras
import tensorflow as tf

from keras_transformer.training.sums import PassedOver, Window, learning_rate, target_tokens, updates
from keras_transformer.training.workers import is_chief


def scalar(name, value, step):
    """As `tf.summary.scalar`, which asks for the package tensorboard."""
    metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR", plugin_data={"plugin_name": "scalars"})
    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)


class TensorBoardLog(keras.callbacks.Callback):
    """Writes curves for `tensorboard --logdir folder`, over the number of updates of the weights.

    Every `every` steps and after the last of an epoch, into the run "train": what `fit` logs (loss, accuracy,
    perplexity, the gradient's norm if it is logged), each over the steps since the last point, where Keras' own
    callback draws means since the epoch began (so are metrics that are neither ours nor a `keras.metrics.Mean`);
    the learning rate of the next update; and `tokens_per_second` of training. After each epoch, all of its logs as
    `epoch/…`, those of validation into the run "validation"; put it behind callbacks that add to them, such as
    `Throughput` and `ValidationBLEU`.

    Args:
        folder: created if missing. A `fit` that goes on, with the optimizer's state, goes on in it.
        every: steps between two points inside an epoch.
        report: the corpus' `report`: the share of padding in its batches goes to `epoch/source_padding` and
            `epoch/target_padding`, 0 to 1.

    Raises:
        ValueError: `every` below 1.
    """

    def __init__(self, folder, every=100, report=None):
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.folder, self.every = Path(folder), every
        self.padding = {}
        if report is not None:
            self.padding = {
                "source_padding": 1 - report.source_tokens / report.source_positions,
                "target_padding": 1 - report.target_tokens / report.target_positions,
            }
        self.writers = {}
        self.steps = self.seen = 0

    def on_train_begin(self, logs=None):
        self._close()
        self.window = Window()

    def on_epoch_begin(self, epoch, logs=None):
        self.window.start()
        self.passed_over = PassedOver(self)
        self.steps = self.seen = self.tokens = 0
        self.written_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.steps, self.logs = batch + 1, logs or {}
        if self.steps - self.seen >= self.every or self.passed_over:
            self._write_point()

    def on_test_begin(self, logs=None):
        self._write_the_rest()  # validation resets the metrics

    def _write_the_rest(self):
        if self.steps > self.seen:
            self._write_point()

    def _write_point(self):
        """Begin to look anew, and write what the steps since the last point were."""
        values = {**self.logs, **self.window.means(self.model), "learning_rate": learning_rate(self.model)}
        now, tokens = time.monotonic(), target_tokens(self.model)
        if tokens is not None:
            values["tokens_per_second"] = (tokens - self.tokens) / (now - self.written_at)
        self.seen, self.tokens, self.written_at = self.steps, tokens or 0, now
        if not self.passed_over:
            self._write("train", values)

    def on_epoch_end(self, epoch, logs=None):
        self._write_the_rest()
        logs = {**(logs or {}), "learning_rate": learning_rate(self.model), **self.padding}
        validation = {name: value for name, value in logs.items() if name.startswith("val_")}
        training = {name: value for name, value in logs.items() if name not in validation}
        self._write("train", training, "epoch/")
        self._write("validation", {name.removeprefix("val_"): value for name, value in validation.items()}, "epoch/")

    def on_train_end(self, logs=None):
        self._close()

    def _write(self, run, values, prefix=""):
        if not values or not is_chief():
            return
        if run not in self.writers:
            self.writers[run] = tf.summary.create_file_writer(str(self.folder / run))
        step = updates(self.model)
        with self.writers[run].as_default():
            for name, value in values.items():
                scalar(f"{prefix}{name}", value, step)
        self.writers[run].flush()  # what led to a crash is on the disk

    def _close(self):
        for writer in self.writers.values():
            writer.close()
        self.writers = {}
