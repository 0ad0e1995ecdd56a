"""Warn about what cannot be meant: a loss or a metric of something else, labels to copy, a rate that never comes."""

import logging
import operator

import keras
import numpy as np

from keras_transformer.backend import compat
from keras_transformer.schedules import HIGHEST_RATE
from keras_transformer.train_step import fused
from keras_transformer.train_step.compile_checks import named_loss, only_loss
from keras_transformer.train_step.data_checks import arrays_in, is_tensorflow_dataset, named_parts

LIKE_ADAM = tuple(getattr(keras.optimizers, name) for name in ("Adam", "Adamax", "Lion", "Nadam", "RMSprop"))
MOST_WARMUP = 0.5  # the share of a run; the paper's is 0.04

logger = logging.getLogger("keras_transformer")


def warn_once(model, subject, message):
    """Log a warning, one about each subject for each `compile` of a model."""
    if subject not in model.logged:
        model.logged.add(subject)
        logger.warning("%s", message)


def check_compiled(model, metrics):
    """Warn about a loss that takes logits for probabilities, about what counts padding, and about a high rate.

    Args:
        model: a `TokenTraining` that was just compiled.
        metrics: a list of what `compile` was given as metrics.
    """
    fault = fault_of_loss(model.loss, gives_logits=not fused.overrides(model, "call"))
    if fault is not None:
        warn_once(
            model, "loss", f"The loss {fault}. LabelSmoothedCrossEntropy() takes logits and counts only target tokens."
        )
    counting = [name for name in map(_name, metrics) if name in COUNTING_METRICS]
    if counting:
        warn_once(
            model,
            "metric",
            f"The metric {counting[0]} counts padding. MaskedAccuracy() and Perplexity() count only target tokens.",
        )
    optimizer, rate = compat.inner_optimizer(model.optimizer), highest_rate(model.optimizer)
    if isinstance(optimizer, LIKE_ADAM) and rate is not None and rate > HIGHEST_RATE:
        warn_once(
            model,
            "rate",
            f"The learning rate is {rate:g}, and {type(optimizer).__name__} usually diverges above {HIGHEST_RATE:g}. "
            "The paper's highest rate is 0.0007: see TransformerSchedule.",
        )


def highest_rate(optimizer):
    """The constant rate of an optimizer, or the highest of a schedule of Keras; None if it is not known here.

    A `TransformerSchedule` has checked its own.
    """
    rate = compat.learning_rate_of(optimizer)
    if isinstance(rate, keras.Variable):
        return float(keras.ops.convert_to_numpy(rate))
    if not type(rate).__module__.startswith("keras."):
        return None
    return max(float(keras.ops.convert_to_numpy(rate(step))) for step in (0, getattr(rate, "warmup_steps", 0)))


def fault_of_loss(loss, gives_logits):
    """What is wrong with one of Keras' losses for logits (B, T, V) and labels (B, T) with 0 at padding, or None.

    Args:
        loss: what `compile` was given.
        gives_logits: whether the model gives logits, as far as is known.
    """
    loss = named_loss(only_loss(loss))
    if loss is keras.losses.sparse_categorical_crossentropy:
        loss = keras.losses.SparseCategoricalCrossentropy()
    if not isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        is_of_keras = getattr(loss, "__module__", "").startswith("keras.")
        return (
            f"{_name(loss)} is not made for logits (B, T, V) and labels (B, T), a piece each" if is_of_keras else None
        )
    options, faults = loss.get_config(), []
    if gives_logits and not options["from_logits"]:
        faults.append("takes the model's logits for probabilities: it needs from_logits=True")
    if options["ignore_class"] != 0:
        faults.append("counts padding: it needs ignore_class=0")
    return f"{_name(loss)} {', and '.join(faults)}" if faults else None


COUNTING_METRICS = frozenset(
    {"accuracy", "acc", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "sparse_categorical_accuracy"}
)


def _name(each):
    if isinstance(each, str):
        return each
    return getattr(each, "__name__", type(each).__name__)


def check_labels(model, given):
    """Warn about arrays whose labels are the ids of the target, not those that follow them; refuse labels of padding.

    Args:
        model: a compiled `TokenTraining`.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: all labels are padding, so that there is nothing to learn.
    """
    parts = named_parts(given.get("x"), given.get("y"), "x")
    if {"target", "labels"} <= set(parts) and model.input_limits:
        title, labels_title = parts["target"][0], parts["labels"][0]
        target, labels = (keras.ops.convert_to_numpy(parts[side][1]) for side in ("target", "labels"))
        if not np.any(labels):
            raise ValueError(
                f"{labels_title} holds only padding, the id 0. Give the ids that follow each id of {title}."
            )
        if np.array_equal(target, labels):
            warn_once(
                model,
                "labels",
                f"{labels_title} holds the same ids as {title}: the decoder reads each label before it predicts it, "
                "and learns to copy. A row of the target is START + ids, and one of labels is ids + END.",
            )


def check_schedule(model, given):
    """Warn if the learning rate still rises when most of a `fit` is over.

    Args:
        model: a compiled `TokenTraining`.
        given: the arguments of `fit`, by name.
    """
    warmup = getattr(compat.learning_rate_of(model.optimizer), "warmup_steps", None)
    steps = steps_of_an_epoch(given)
    if not isinstance(warmup, int) or steps is None:
        return
    before = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    total = before + steps * max(given.get("epochs", 1) - given.get("initial_epoch", 0), 0)
    if before < total and warmup > MOST_WARMUP * total:
        ends = "never reaches its highest rate" if warmup > total else "reaches its highest rate late"
        warn_once(
            model,
            "schedule",
            f"The learning rate rises for warmup_steps={warmup} updates, and training ends after {total}: it {ends}. "
            f"Set warmup_steps to about {max(total // 10, 1)}, or train for more epochs.",
        )


def steps_of_an_epoch(given):
    """The number of updates of an epoch, from the arguments of `fit`; None if it is not known."""
    if given.get("steps_per_epoch") is not None:
        return operator.index(given["steps_per_epoch"])
    x = given.get("x")
    if is_tensorflow_dataset(x):
        count = int(x.cardinality())
        return count if count >= 0 else None
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    if not (arrays := arrays_in(x)):
        return None
    rows = arrays[0].shape[0]
    if given.get("validation_data") is None:
        rows = int(rows * (1 - given.get("validation_split", 0.0)))
    return -(-rows // (given.get("batch_size") or 32))
