"""A stop where the loss is no number any more."""

import math
from collections import deque

import keras
import tensorflow as tf

from keras_transformer.training.sums import updates

REMEMBERED = 256  # batches; the pipeline runs only a few ahead of training
FIRST_IDS = 8


class NonFiniteLoss(FloatingPointError):
    """The training loss became NaN or infinite."""


class StopOnNaN(keras.callbacks.Callback):
    """Ends `fit` with `NonFiniteLoss` at the first step whose loss is NaN or infinite.

    Put it first: then no callback writes the weights of that step to the disk. On TensorFlow it costs nothing, as Keras
    reads the loss after each step anyway; on JAX it does so for callbacks that look at each step. A step that loss
    scaling leaves out, because its gradients overflow in float16, has a finite loss and is none of its business.

    The message names epoch, batch and update; of a dataset that passed through `watch`, the batch's shapes and
    first ids too:

        stop = StopOnNaN()
        model.fit(stop.watch(train), callbacks=[stop, ...])
    """

    def __init__(self):
        super().__init__()
        self.passed, self.length = deque(maxlen=REMEMBERED), None

    def watch(self, dataset):
        """The same dataset; what it yields is remembered as it passes, by a line of Python for each batch.

        Args:
            dataset: of `({"source": (B, S), "target": (B, T)}, labels)`, as `parallel_corpus` gives.
        """

        self.length = int(dataset.cardinality())

        def remember(index, source, target, ids):
            # Counted as `fit` counts: a run that goes on passes over what it has done.
            self.passed.append((int(index), tuple(map(int, source)), tuple(map(int, target)), ids.tolist()))

        def passing(index, batch):
            source, target = batch[0]["source"], batch[0]["target"]
            seen = index, tf.shape(source), tf.shape(target), source[0, :FIRST_IDS]
            with tf.control_dependencies([tf.numpy_function(remember, seen, [])]):
                return tf.nest.map_structure(tf.identity, batch)

        watched = dataset.enumerate().map(passing)
        for name, value in vars(dataset).items():  # such as the `report` of a `parallel_corpus`
            if not name.startswith("_") and not hasattr(watched, name):
                setattr(watched, name, value)
        return watched

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.next = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        first, self.next = self.next, batch + 1  # several with `steps_per_execution`
        if math.isfinite(loss):
            return
        which = f"batch {batch + 1}" if first == batch else f"one of the batches {first + 1} to {batch + 1}"
        lines = [
            f"the loss is {loss} in epoch {self.epoch + 1}, {which}, update {updates(self.model):,}.",
            *(self._described(index) for index in range(first, batch + 1)),
            "The model in memory is spoilt; what was saved before is not. Either this batch's loss overflowed, or the "
            "update before it did: lower the learning rate, warm up longer or clip gradients, and look at the batch.",
        ]
        raise NonFiniteLoss("\n".join(line for line in lines if line))

    def _described(self, index):
        """A batch of this epoch in words; nothing if it was not watched, or epochs are not those of the dataset."""
        if self.params.get("steps") not in (None, self.length):
            return ""
        for passed, source, target, ids in reversed(self.passed):
            if passed == index:
                beginning = " ".join(map(str, ids))
                return f"Batch {index + 1}: source {source}, target {target}; its first source begins {beginning}."
        return ""
