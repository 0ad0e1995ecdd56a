"""Refuse, before `compile` changes anything, what cannot work with logits (B, T, V) and labels (B, T), an id each."""

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.options import nearest
from keras_transformer.losses.distillation import WordLevelDistillation
from keras_transformer.train_step import fused

NO_LOSS = "the model was compiled without a loss. Call compile(optimizer, loss=LabelSmoothedCrossEntropy())."
LOSS = "Give LabelSmoothedCrossEntropy()"
METRICS = "Give MaskedAccuracy() or Perplexity()"
PAIR = "logits (B, T, V) and labels (B, T), an id each"
AUTOMATIC_LOSSES = ("crossentropy", "ce")  # Keras chooses by the shapes, here the sparse one
AUTOMATIC_METRICS = ("accuracy", "acc")
SHAPE, PIECES = (2, 3), 5  # of a try: all sizes differ, so that nothing is broadcast


def check_compile(model, given):
    """Refuse names that Keras does not know, and losses and metrics of Keras that would fail in the first step.

    Args:
        model: a `TokenTraining`.
        given: the arguments of `compile`, by name.

    Raises:
        TypeError: an optimizer, a loss or a metric is none.
        ValueError: an unknown name; a loss or a metric that needs predictions of the labels' shape; several losses; a
            teacher that does not fit.
    """
    check_optimizer(given.get("optimizer"))
    gives_logits = not (fused.overrides(model, "call") or fused.overrides(model, "compute_loss") or _own_step(model))
    loss = only_loss(given.get("loss"), getattr(model, "output_names", None))
    found = named_loss(loss)
    if gives_logits and is_of_keras(found) and not works(found):
        raise ValueError(f"{_called('loss', loss)} cannot work with {PAIR}. {LOSS}.")
    if isinstance(loss, WordLevelDistillation):
        check_distillation(model, given)
    gives_logits = gives_logits and not fused.overrides(model, "compute_metrics")
    for argument in ("metrics", "weighted_metrics"):
        for number, metric in enumerate(keras.tree.flatten(given.get(argument) or [])):
            found = named_metric(f"{argument}[{number}]", metric)
            if gives_logits and is_of_keras(found) and not works(found):
                raise ValueError(f"{_called(f'{argument}[{number}]', metric)} cannot work with {PAIR}. {METRICS}.")


def check_distillation(model, given):
    """Refuse a teacher that does not fit the student, and what hides the loss from the step.

    Raises:
        ValueError: see `WordLevelDistillation`; a loss in a list or a dictionary, or with `loss_weights`.
    """
    if given["loss"] is not only_loss(given["loss"]) or given.get("loss_weights") is not None:
        raise ValueError("WordLevelDistillation must be given by itself: no list, no dictionary and no loss_weights.")
    given["loss"].teachers.check(model.input_limits)


def check_loss(model):
    """Refuse to train or to evaluate without a loss, unless something in the model may add one.

    Keras says it in the first step: too late on JAX, where an error in a step takes the model's weights.

    Raises:
        ValueError: `compile` was given no loss.
    """
    if model.loss is not None or model.losses or fused.overrides(model, "compute_loss") or _own_step(model):
        return
    layers = [layer for layer in compat.all_layers(model) if layer is not model]
    own = any(not type(layer).__module__.startswith(("keras.", "keras_transformer.")) for layer in layers)
    regularized = any(layer.activity_regularizer is not None for layer in (model, *layers))
    if not (own or regularized or fused.overrides(model, "call")):
        raise ValueError(NO_LOSS)


def check_optimizer(optimizer):
    """Refuse what is no optimizer. None is allowed: a model that is only evaluated needs none."""
    if optimizer is None or isinstance(optimizer, keras.optimizers.Optimizer | dict):
        return
    if not isinstance(optimizer, str):
        raise TypeError(f"optimizer must be an optimizer of Keras, or its name, got {shown(optimizer)}.")
    try:
        keras.optimizers.get(optimizer)
    except ValueError:
        names = [name.lower() for name in dir(keras.optimizers) if name[0].isupper()]
        raise ValueError(f"optimizer={optimizer!r} is no optimizer of Keras.{_nearest(optimizer, names)}") from None


def only_loss(loss, outputs=None):
    """The loss of a model with one output, which Keras also takes in a list or in a dictionary.

    Args:
        loss: the argument of `compile`.
        outputs: the names of the model's outputs, or None to accept any.

    Raises:
        ValueError: several losses, or one for an output that the model does not have.
    """
    if isinstance(loss, dict) and "class_name" not in loss:
        if outputs is not None and list(loss) != list(outputs):
            names = ", ".join(map(repr, loss))
            raise ValueError(f"loss is a dictionary for the outputs {names}, and the model has one output. {LOSS}.")
        loss = list(loss.values())
    if isinstance(loss, list | tuple):
        if len(loss) != 1:
            raise ValueError(f"loss is a list of {len(loss)}, and the model has one output. {LOSS}.")
        [loss] = loss
    return loss


def named_loss(loss):
    """The loss, or the one that Keras has under this name."""
    if isinstance(loss, str):
        if loss.lower() in AUTOMATIC_LOSSES:
            return keras.losses.sparse_categorical_crossentropy
        try:
            return keras.losses.get(loss)
        except ValueError:
            raise ValueError(f"loss={loss!r} is no loss of Keras. {LOSS}.") from None
    if loss is not None and not callable(loss) and not isinstance(loss, dict):
        raise TypeError(f"loss must be a loss, a function or the name of a loss of Keras, got {shown(loss)}. {LOSS}.")
    return loss


def named_metric(argument, metric):
    """The metric, or the one that Keras has under this name."""
    if not isinstance(metric, str):
        if metric is not None and not callable(metric) and not isinstance(metric, keras.metrics.Metric):
            raise TypeError(f"{argument} must be a metric, a function or a name, got {shown(metric)}. {METRICS}.")
        return metric
    if metric.lower() in AUTOMATIC_METRICS:
        return keras.metrics.sparse_categorical_accuracy
    try:
        return keras.metrics.get(metric)
    except ValueError:
        raise ValueError(f"{argument}={metric!r} is no metric of Keras. {METRICS}.") from None


def is_of_keras(function):
    """Whether a loss or a metric is Keras' own, and not made of a function of the user."""
    return getattr(function, "__module__", "").startswith("keras.") and type(function) is not (
        keras.metrics.MeanMetricWrapper
    )


def works(function):
    """Whether a loss or a metric of Keras takes logits and labels of the model. Its state does not change."""
    labels, logits = ops.zeros(SHAPE, "int32"), ops.zeros((*SHAPE, PIECES))
    try:
        if isinstance(function, keras.metrics.Metric):
            state = [ops.zeros(variable.shape, variable.dtype) for variable in function.variables]
            function.stateless_update_state(state, labels, logits, sample_weight=None)
        else:
            function(labels, logits)
    except Exception:  # each backend raises other types for shapes that do not fit
        return False
    return True


def _own_step(model):
    return not type(model).train_step.__module__.startswith(__package__)


def _called(argument, value):
    if isinstance(value, str):
        return f"{argument}={value!r}"
    return f"{argument}={getattr(value, '__name__', type(value).__name__)}"


def _nearest(name, names):
    return nearest(name.lower(), names) or " Give keras.optimizers.Adam(...), for example."
