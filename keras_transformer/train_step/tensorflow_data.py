"""Checks of `tf.data` batches. They run where the data are read, so XLA does not leave them out."""

import keras
import tensorflow as tf

from keras_transformer.ids import PAD
from keras_transformer.train_step import data_checks
from keras_transformer.train_step.argument_kinds import check_array, check_inputs


def checked_dataset(limits, dataset, name):
    """The dataset, with a check of each batch.

    Args:
        limits: the model's `input_limits`.
        dataset: a `tf.data.Dataset`, on which `fit` or `evaluate` runs.
        name: its name in errors.

    Raises:
        ValueError: what is known of the shapes and dtypes of batches cannot fit.
        TypeError: the inputs are not ids of both sides.
    """
    check_inputs(name, keras.utils.unpack_x_y_sample_weight(dataset.element_spec)[0])

    @tf.autograph.experimental.do_not_convert  # else errors of shapes come with a traceback in their text
    def check(*batch):
        x, y = (*batch, None)[:2]
        parts = data_checks.named_parts(x, y, name)
        conditions = [each for side, part in parts.items() for each in _conditions(limits, side, *part)]
        if "target" in parts and "labels" in parts:
            conditions += _equal_lengths(parts["target"], parts["labels"])
        asserts = [tf.debugging.Assert(holds, [data_checks.MARK + text, value]) for holds, text, value in conditions]
        with tf.control_dependencies(asserts):
            batch = tf.nest.map_structure(tf.identity, batch)
        return batch if len(batch) > 1 else batch[0]

    return dataset.map(check)


def _conditions(limits, side, title, values):
    """What must hold of an array: (condition, the error up to its value, the value) each."""
    limit = limits["target" if side == "labels" else side]
    check_array(title, values)
    if not isinstance(values, tf.Tensor) or values.shape.rank is None:
        return
    data_checks.check_shape(title, values.shape, limit)
    text = data_checks.unknown_id(title, limit)
    if values.dtype.is_floating:
        broken = tf.boolean_mask(values, values != tf.floor(values))  # NaN is among them
        yield tf.equal(tf.size(broken), 0), text, broken[:1]
    elif not values.dtype.is_integer:
        raise ValueError(data_checks.no_numbers(title, values.dtype.name))
    values = tf.cast(values, tf.int64)
    for worst in (tf.reduce_min(values), tf.reduce_max(values)):
        is_empty = tf.equal(tf.size(values), 0)
        yield is_empty | ((worst >= 0) & (worst < limit.size)), text, worst
    if side != "labels":
        broken = tf.reduce_any((values[:, :-1] == PAD) & (values[:, 1:] != PAD), axis=1)
        place = tf.strings.join(["it before a token in row ", tf.strings.as_string(tf.argmax(broken))])
        yield ~tf.reduce_any(broken), data_checks.padding_in_front(title), place
    if limit.longest is not None:
        length = tf.shape(values)[1]
        yield length <= limit.longest, data_checks.too_long(title, limit), length


def _equal_lengths(target, labels):
    """The condition that labels have the length of the target."""
    (title, target), (labels_title, labels) = target, labels
    if target.shape.rank != 2 or labels.shape.rank != 2:
        return []
    length, labels_length = tf.shape(target)[1], tf.shape(labels)[1]
    text = f"{labels_title} must have as many positions as {title}, a label for each, got"
    return [(tf.equal(length, labels_length), text, labels_length)]
