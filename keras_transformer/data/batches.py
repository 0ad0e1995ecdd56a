"""Padded batches out of stored pairs, as a stream that can begin at any batch of any epoch."""

import operator
import weakref

import numpy as np
import tensorflow as tf

from keras_transformer.ids import END, PAD, START

PARALLEL_CALLS = 2


class Position:
    """Where the next pass over a corpus begins, in the endless row of its epochs' batches.

    A pass is always `batches` long. A pass that is read to its end moves the position on behind it; one that is broken
    off leaves it where it was. While the position is held, passes do not move it, and a pass is that of the epoch: the
    batches before the position are filled with PAD, for one who passes over them.
    """

    def __init__(self, batches):
        self.batches = batches
        self.step = 0
        self.held = False

    @property
    def epoch(self):
        return self.step // self.batches

    @property
    def batch(self):
        return self.step % self.batches

    def move_to(self, epoch, batch=0):
        """Let the next pass begin at a batch of an epoch, both counted from 0.

        Raises:
            ValueError: numbers that are not whole or negative, or a batch behind the last one of an epoch.
        """
        for value in (epoch, batch):
            if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
                raise ValueError(f"start must be (epoch, batch), whole numbers from 0, got ({epoch!r}, {batch!r}).")
        if batch >= self.batches:
            raise ValueError(f"start=({epoch}, {batch}) is beyond the epoch: its batches are 0..{self.batches - 1}.")
        self.step = int(epoch) * self.batches + int(batch)
        self.held = False

    def hold_at(self, epoch, batch=0):
        """Move there and stay: for one who moves before each pass and passes over the `batch` first of its batches."""
        self.move_to(epoch, batch)
        self.held = True

    def passed(self, step):
        """A pass has given its last batch, number `step`."""
        if not self.held:
            self.step = step + 1


class Pairs:
    """The stored pairs of a corpus and their order."""

    def __init__(self, store, order):
        self.store, self.order = store, order


def stream(store, order, shapes, position):
    """Dataset of `position.batches` batches from `position` on: ({"source", "target"}, labels); see `parallel_corpus`.

    Args:
        store: a sorted `PairStore`.
        order: an `Order` of its pairs.
        shapes: tuple of `Shape`.
        position: a `Position`, read when a pass asks for its first batch.
    """
    count = position.batches

    def bounds():
        first = position.epoch * count if position.held else position.step
        return np.int64(first), np.int64(position.step)

    def one_pass(_):
        first, begin = tf.numpy_function(bounds, [], [tf.int64] * 2)
        steps = tf.data.Dataset.range(first, first + count)
        return steps.map(lambda step: (step, step >= begin, step == first + count - 1))

    # TensorFlow keeps these functions for good, and so what they hold; what is large belongs to the dataset.
    pairs = Pairs(store, order)
    owned = weakref.ref(pairs)

    def batch(step, is_due):
        if (pairs := owned()) is None:
            raise RuntimeError(
                "the dataset of parallel_corpus is gone: keep it as long as what was made of it is read."
            )
        shape, numbers = pairs.order.batch(int(step)) if is_due else (0, [])
        return fill(pairs.store, shapes, shape, numbers)

    def read(step, is_due, is_last):
        # Not stateful: the same step gives the same batch, so that several may be read at a time.
        parts = tf.numpy_function(batch, [step, is_due], [tf.int32] * 3, stateful=False)
        return step, is_last, *(tf.ensure_shape(part, [None, None]) for part in parts)

    def passed(step):
        position.passed(int(step))
        return True

    def hand_over(step, is_last, source, target, labels):
        moved = tf.cond(is_last, lambda: tf.numpy_function(passed, [step], tf.bool), lambda: True)
        with tf.control_dependencies([moved]):
            return {"source": tf.identity(source), "target": target}, labels

    steps = tf.data.Dataset.from_tensors(0).flat_map(one_pass)
    batches = steps.map(read, num_parallel_calls=PARALLEL_CALLS, deterministic=True).prefetch(tf.data.AUTOTUNE)
    # Behind the prefetching, which runs ahead of what is used.
    dataset = batches.map(hand_over).apply(tf.data.experimental.assert_cardinality(count))
    dataset.pairs = pairs
    return dataset


def fill(store, shapes, shape, numbers):
    """The batch of a shape with the pairs of some numbers: source, target, labels as int32 arrays."""
    source_length, target_length, rows = shapes[shape]
    source, labels = (np.full((rows, length), PAD, np.int32) for length in (source_length, target_length))
    for row, pair in enumerate(store.read(numbers)):
        for side, ids in zip((source, labels), pair, strict=True):
            side[row, : len(ids)] = ids
            side[row, len(ids)] = END
    shifted = np.concatenate([np.full((rows, 1), START, np.int32), labels[:, :-1]], axis=1)
    target = np.where(labels == PAD, PAD, shifted)  # START + pieces ends where pieces + END does
    return source, target.astype(np.int32), labels
