"""Stop training when the loss is NaN or infinite, and write no weights that are."""

import math
from collections import deque
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transformer.training.sums import updates

NUM_WATCHED = 256  # batches; the input pipeline runs only a few batches ahead of training
NUM_FIRST_IDS = 8


class NonFiniteLoss(FloatingPointError):
    """The training loss became NaN or infinite."""


def check_weights(model, folder):
    """Refuse to write a model whose last update has spoiled it. The loss of that update was still a number.

    Args:
        model: a model, whose variables have their values.
        folder: where it would be written.

    Raises:
        FloatingPointError: a weight that is trained is NaN or infinite. The message names it.
    """
    for variable in model.trainable_variables:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise FloatingPointError(
                f"{variable.path} holds NaN or infinity after update {updates(model):,}, so these weights are not "
                f"written to {folder}. What was written before is intact. Lower the learning rate, warm up longer or "
                "clip gradients."
            )


class WatchedBatch(NamedTuple):
    """What an error message says about a batch."""

    index: int  # in its epoch, from 0
    source_shape: tuple
    target_shape: tuple
    first_ids: list


class StopOnNaN(keras.callbacks.Callback):
    """Ends `fit` with `NonFiniteLoss` at the first step whose loss is NaN or infinite.

    Put it first in the list of callbacks: then no other callback writes the weights of that step to the disk. On
    TensorFlow it costs no time, because Keras reads the loss after each step anyway. On JAX, Keras then waits for
    each step. In float16, loss scaling leaves out steps whose gradients overflow. Their loss is finite, and they do
    not stop training.

    The message names the epoch, the batch and the update. With `model.fit(stop.watch(dataset), callbacks=[stop])` it
    also has the shapes and the first ids of the batch.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import StopOnNaN

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[StopOnNaN()])
        ```
    """

    def __init__(self) -> None:
        super().__init__()
        self.watched, self.length = deque(maxlen=NUM_WATCHED), None

    def watch(self, dataset: Any) -> Any:
        """Return the same dataset, and remember what an error message needs of each batch that it yields.

        Args:
            dataset: a dataset of `({"source": (B, S), "target": (B, T)}, labels)`, as `parallel_corpus` returns it.
        """
        self.length = int(dataset.cardinality())

        def remember(index, source_shape, target_shape, ids):
            # The index counts as `fit` does: a resumed run reads the batches that it skips.
            shapes = tuple(map(int, source_shape)), tuple(map(int, target_shape))
            self.watched.append(WatchedBatch(int(index), *shapes, ids.tolist()))

        def watch_batch(index, batch):
            source, target = batch[0]["source"], batch[0]["target"]
            remembered = index, tf.shape(source), tf.shape(target), source[0, :NUM_FIRST_IDS]
            with tf.control_dependencies([tf.numpy_function(remember, remembered, [])]):
                return tf.nest.map_structure(tf.identity, batch)

        watched = dataset.enumerate().map(watch_batch)
        for name, value in vars(dataset).items():  # for example the `report` of a `parallel_corpus`
            if not name.startswith("_") and not hasattr(watched, name):
                setattr(watched, name, value)
        return watched

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.next_batch = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        first, self.next_batch = self.next_batch, batch + 1  # several batches with `steps_per_execution`
        if math.isfinite(loss):
            return
        which = f"batch {batch + 1}" if first == batch else f"one of the batches {first + 1} to {batch + 1}"
        lines = [
            f"the loss is {loss} in epoch {self.epoch + 1}, {which}, update {updates(self.model):,}.",
            *(self._describe(index) for index in range(first, batch + 1)),
            "The model in memory is spoiled; files that were saved before are not. Either the loss of this batch "
            "overflowed, or the update before it did. Lower the learning rate, warm up longer or clip gradients, and "
            "look at the batch.",
        ]
        raise NonFiniteLoss("\n".join(line for line in lines if line))

    def _describe(self, index):
        """A sentence about a batch of this epoch; "" if it was not watched, or if epochs of `fit` are not whole."""
        if self.params.get("steps") not in (None, self.length):
            return ""
        for batch in reversed(self.watched):
            if batch.index == index:
                ids = " ".join(map(str, batch.first_ids))
                return (
                    f"Batch {index + 1}: source {batch.source_shape}, target {batch.target_shape}; its first source "
                    f"begins {ids}."
                )
        return ""
