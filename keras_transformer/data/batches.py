"""Padded batches from stored pairs, as a stream that can begin at any batch of any epoch."""

import operator
import weakref

import numpy as np
import tensorflow as tf

from keras_transformer.ids import END, PAD, START

PARALLEL_CALLS = 2


class Position:
    """The batch at which the next pass over a corpus begins. Batches are numbered through all epochs.

    A pass has `batches` batches, as many as an epoch. A pass that is read to its end moves the position behind its
    last batch. A pass that is not read to its end does not move it.

    `hold_at` stops that: passes no longer move the position, and each pass is the whole epoch that the position is in.
    Only in the first pass, which is that of the caller, the batches before the position hold nothing but PAD, because
    the caller skips them.
    """

    def __init__(self, batches):
        self.batches = batches
        self.step = 0
        self.held = False
        self.skips = False  # whether the next pass is that of the caller of `hold_at`

    @property
    def epoch(self):
        return self.step // self.batches

    @property
    def batch(self):
        return self.step % self.batches

    def move_to(self, epoch, batch=0):
        """Let the next pass begin at a batch of an epoch. Both numbers count from 0.

        Raises:
            ValueError: a number is not whole or is negative, or the epoch has no such batch.
        """
        for value in (epoch, batch):
            if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
                raise ValueError(f"start must be (epoch, batch), whole numbers from 0, got ({epoch!r}, {batch!r}).")
        if batch >= self.batches:
            raise ValueError(f"start=({epoch}, {batch}) is beyond the epoch: its batches are 0..{self.batches - 1}.")
        self.step = int(epoch) * self.batches + int(batch)
        self.held = False

    def hold_at(self, epoch, batch=0):
        """Move to a batch, and stay in its epoch after the next pass, in which the caller skips the batches before it.

        The caller calls this before each of its own passes.
        """
        self.move_to(epoch, batch)
        self.held = self.skips = True

    def begin_pass(self):
        """Return two numbers for a pass that begins now: its first batch, and the first batch that is not skipped."""
        if not self.held:
            return self.step, self.step
        first = self.epoch * self.batches
        first_due = self.step if self.skips else first
        self.skips = False  # a further pass, for example of a validation on the same corpus, gets every batch
        return first, first_due

    def end_pass(self, step):
        """Note that a pass has given its last batch, which is number `step`."""
        if not self.held:
            self.step = step + 1


class Pairs:
    """The stored pairs of a corpus and their order."""

    def __init__(self, store, order):
        self.store, self.order = store, order


def stream(store, order, shapes, position):
    """A dataset of `position.batches` batches from `position` on; `parallel_corpus` describes a batch.

    Args:
        store: a sorted `PairStore`.
        order: an `Order` of its pairs.
        shapes: tuple of `Shape`.
        position: a `Position`. A pass reads it when it is asked for its first batch.
    """
    pairs = Pairs(store, order)
    steps = tf.data.Dataset.from_tensors(0).flat_map(_one_pass(position))
    batches = steps.map(_reader(pairs, shapes), num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    # The position moves after the prefetch, which runs ahead of the batches that are used.
    dataset = batches.prefetch(tf.data.AUTOTUNE).map(_mover(position))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(position.batches))
    dataset.pairs = pairs  # keeps them as long as the dataset lives
    return dataset


def _one_pass(position):
    """A function that gives the steps of a pass: (batch number, whether it is due, whether it is the last)."""
    count = position.batches

    def bounds():
        return tuple(map(np.int64, position.begin_pass()))

    @tf.autograph.experimental.do_not_convert
    def one_pass(_):
        first, begin = tf.numpy_function(bounds, [], [tf.int64] * 2)
        steps = tf.data.Dataset.range(first, first + count)
        mark = tf.autograph.experimental.do_not_convert(lambda step: (step, step >= begin, step == first + count - 1))
        return steps.map(mark)

    return one_pass


def _reader(pairs, shapes):
    """A function from a step to its batch.

    TensorFlow never frees a function that `tf.numpy_function` has taken, nor what the function refers to. The pairs
    are large, so the function refers to them weakly and the dataset owns them.
    """
    reference = weakref.ref(pairs)

    def batch(step, is_due):
        if (pairs := reference()) is None:
            raise RuntimeError(
                "the dataset that parallel_corpus returned is gone. Keep it as long as you read a dataset made from it."
            )
        shape, numbers = pairs.order.batch(int(step)) if is_due else (0, [])
        return fill(pairs.store, shapes, shape, numbers)

    @tf.autograph.experimental.do_not_convert
    def read(step, is_due, is_last):
        # Not stateful: a step always gives the same batch, so TensorFlow may read several at a time.
        parts = tf.numpy_function(batch, [step, is_due], [tf.int32] * 3, stateful=False)
        return step, is_last, *(tf.ensure_shape(part, [None, None]) for part in parts)

    return read


def _mover(position):
    """A function that hands a batch over, and moves the position when the batch is the last of a pass."""

    def end_pass(step):
        position.end_pass(int(step))
        return True

    @tf.autograph.experimental.do_not_convert
    def hand_over(step, is_last, source, target, labels):
        moved = tf.cond(is_last, lambda: tf.numpy_function(end_pass, [step], tf.bool), lambda: True)
        with tf.control_dependencies([moved]):
            return {"source": tf.identity(source), "target": target}, labels

    return hand_over


def fill(store, shapes, shape, numbers):
    """The batch of a shape that holds the pairs of some numbers: source, target, labels as int32 arrays."""
    source_length, target_length, rows = shapes[shape]
    source, labels = (np.full((rows, length), PAD, np.int32) for length in (source_length, target_length))
    for row, pair in enumerate(store.read(numbers)):
        for side, ids in zip((source, labels), pair, strict=True):
            side[row, : len(ids)] = ids
            side[row, len(ids)] = END
    shifted = np.concatenate([np.full((rows, 1), START, np.int32), labels[:, :-1]], axis=1)
    target = np.where(labels == PAD, PAD, shifted)  # START + pieces is as long as pieces + END
    return source, target.astype(np.int32), labels
