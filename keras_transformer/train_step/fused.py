"""The fused way: loss and metrics from decoder vectors. The logits (B, T, V) never exist as a whole."""

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.losses.chunks import OutputMap
from keras_transformer.losses.distillation import WordLevelDistillation
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy, count_tokens
from keras_transformer.metrics import MaskedAccuracy, Perplexity

METRICS = frozenset({MaskedAccuracy, Perplexity})


def reason_for_logits(model, sample_weight):
    """Why a step must compute the logits as a whole, in words; None if it can take the fused way.

    Args:
        model: a compiled `TokenTraining`.
        sample_weight: the weights that came with the batch, or None.
    """
    if type(model.loss) is not LabelSmoothedCrossEntropy:
        is_inside = isinstance(model.loss, list | tuple | dict)
        return f"the loss is {'in a list' if is_inside else _name(model.loss)}, not LabelSmoothedCrossEntropy"
    foreign = sorted(kind.__name__ for kind in model.kinds_of_metrics - METRICS)
    if foreign:
        return f"the metrics {', '.join(foreign)} are not among MaskedAccuracy and Perplexity"
    own = [name for name in ("call", "compute_loss", "compute_metrics") if overrides(model, name)]
    if own:
        return f"{type(model).__name__} has its own {' and '.join(own)}"
    if model.reason_against_vectors is not None:
        return model.reason_against_vectors
    if model.has_loss_weights:
        return "compile was given loss_weights"
    if sample_weight is not None:
        return "the data have sample weights"
    if model.compute_dtype == "float16":
        return "the range of float16 is too small for gradients that are not scaled yet"
    return None


def overrides(model, name):
    """Whether a subclass of the library's models defines the method `name`."""
    return any(name in vars(kind) for kind in type(model).__mro__ if getattr(kind, "trains_on_tokens", False))


def warning_of(reason):
    """The warning that the fused way is not taken, and why."""
    return (
        f"Training computes the logits of whole batches, which takes more memory: {reason}. Loss and metrics are the "
        "same either way."
    )


def output_map(model):
    """The `OutputMap` of a model."""
    return OutputMap(*model.output_variables)


def loss_of(model, batch, output_map, divisor, training, in_place=False):
    """The loss of a (micro-)batch from decoder vectors.

    Args:
        model: a compiled `TokenTraining`.
        batch: inputs, labels and None.
        output_map: the model's `OutputMap`; its matrix may be a tensor with the value of the variable.
        divisor: the number of target tokens of the whole step, a float32 scalar.
        training: whether the gradient is needed.
        in_place: see `add_to_columns`.

    Returns:
        The whole loss with the model's additional losses, a float32 scalar, and the `VectorsLoss`.
    """
    x, labels, _ = batch
    result = model.loss.of_vectors(
        labels,
        model.decoder_vectors(x, training=training),
        output_map,
        divisor,
        training=training,
        with_hits=MaskedAccuracy in model.kinds_of_metrics,
        in_place=in_place,
    )
    return with_additional_losses(model, result.loss), result


def divides_by_itself(model, loss, has_loss_weights):
    """Whether a loss with which a model is compiled must count the tokens itself, as not all of it is known here."""
    known = type(loss) in (LabelSmoothedCrossEntropy, WordLevelDistillation) and not overrides(model, "compute_loss")
    return not known or has_loss_weights


def micro_batch_loss(model, batch, prediction, tokens):
    """The share of a micro-batch in the loss of its step, from logits.

    Args:
        model: a compiled `TokenTraining`.
        batch: inputs, labels and sample weights of the micro-batch.
        prediction: its logits (B, T, V).
        tokens: the number of target tokens of the whole step, a float32 scalar.
    """
    x, labels, sample_weight = batch
    if divides_by_itself(model, model.loss, model.has_loss_weights):  # on one replica, see `TokenTraining.compile`
        loss = model.compute_loss(x, labels, prediction, sample_weight, training=True)
        return loss * share_of_tokens(labels, tokens)
    return with_additional_losses(model, model.loss.of_logits(labels, prediction, tokens, sample_weight, x))


def share_of_tokens(labels, tokens):
    """The share of a micro-batch, by its labels, in the `tokens` of the whole step: what its mean loss counts."""
    return count_tokens(labels) / ops.maximum(tokens, 1.0)


def with_additional_losses(model, loss):
    """The loss with those of `add_loss` and of regularizers."""
    return sum((compat.additional_loss(model, each) for each in model.losses), loss)


def update_metrics(model, labels, vectors_loss):
    """Add a (micro-)batch to the compiled metrics."""
    for metric in compat.compiled_metrics(model, labels, keras.KerasTensor((None, None, 1), "float32")):
        metric.update_from_loss(labels, vectors_loss)


def _name(loss):
    return loss if isinstance(loss, str) or loss is None else getattr(loss, "__name__", type(loss).__name__)
