"""The steps of `fit` and `evaluate` on JAX, where arrays are global: over all devices at once."""

import contextlib

import jax
import keras
from jax import numpy as jnp

from keras_transformer.losses.label_smoothing import divided_by


def prepare(optimizer):
    """XLA makes one pass of an update as it is."""


def clear_errors(model):
    """Errors of JAX are clear already."""
    return contextlib.nullcontext()


def watched(model, dataset):
    """The dataset: JAX traces what it compiles, and `train_step` counts that."""
    return dataset


def train_step(model, state, data):
    """One update; returns the logs and the new state."""
    model.train_traces += 1
    trainable, non_trainable, optimizer, metrics = state
    batch = keras.utils.unpack_x_y_sample_weight(data)
    tokens = model.step_tokens(batch[1])
    parts = model.accumulate_steps

    def add(carry, micro):
        sums, non_trainable, metrics = carry
        gradients, *after = gradients_of(model, (trainable, non_trainable, optimizer, metrics), micro, tokens)
        return (list(map(jnp.add, sums, gradients)), *after), None

    if parts == 1:
        gradients, non_trainable, metrics = gradients_of(model, state, batch, tokens)
    else:
        if model.losses:
            raise ValueError("accumulate_steps does not go with regularizers and add_loss, which would count k times.")
        micro = jax.tree.map(lambda rows: split(rows, parts), batch)
        start = (list(map(jnp.zeros_like, trainable)), non_trainable, metrics)
        (gradients, non_trainable, metrics), _ = jax.lax.scan(add, start, micro)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
        if model._gradient_norm is not None:
            log_norm(model, gradients, optimizer)
        logs = model.get_metrics_result()
    metrics = values(scope, model.metrics_variables, metrics)
    trainable, optimizer = model.optimizer.stateless_apply(optimizer, gradients, trainable)
    return logs, (trainable, non_trainable, optimizer, metrics)


def test_step(model, state, data):
    """The losses and metrics of a batch; returns the logs and the new state."""
    trainable, non_trainable, metrics = state
    batch = keras.utils.unpack_x_y_sample_weight(data)
    tokens = model.step_tokens(batch[1])
    with divided_by(tokens), model.logits_left_out(batch[2], training=False):
        _, aux = model.compute_loss_and_updates(trainable, non_trainable, metrics, *batch, training=False)
        loss, prediction, non_trainable, metrics = aux
        metrics, logs = logged(model, metrics, batch, loss, prediction, tokens, 1)
    logs.pop("gradient_norm", None)
    return logs, (trainable, non_trainable, metrics)


def gradients_of(model, state, batch, tokens):
    """Gradients for a (micro-)batch, and the other variables after it."""
    trainable, non_trainable, optimizer, metrics = state
    with divided_by(tokens), model.logits_left_out(batch[2], training=True) as output_map:

        def loss_of(trainable):
            loss, aux = model.compute_loss_and_updates(
                trainable, non_trainable, metrics, *batch, training=True, optimizer_variables=optimizer
            )
            return loss, (aux, None if output_map is None else output_map.judged)

        gradients, (aux, judged) = jax.grad(loss_of, has_aux=True)(trainable)
        if output_map is not None:
            output_map.judged = judged
        loss, prediction, non_trainable, metrics = aux
        metrics, _ = logged(model, metrics, batch, loss, prediction, tokens, model.accumulate_steps)
    return list(gradients), non_trainable, metrics


def logged(model, metrics, batch, loss, prediction, tokens, parts):
    """The metrics' variables with one of a batch's `parts` added, and what they say."""
    x, y, sample_weight = batch
    weight = y.shape[0] if tokens is None else tokens / parts
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
        model.loss_tracker.update_state(loss * parts, sample_weight=weight)
        logs = model.compute_metrics(x, y, prediction, sample_weight)
    return values(scope, model.metrics_variables, metrics), logs


def values(scope, variables, before):
    """The variables' values in the scope, for those not set there as `before`."""
    found = map(scope.get_current_value, variables)
    return [old if new is None else new for new, old in zip(found, before, strict=True)]


def split(rows, parts):
    """(B, ...) -> (parts, B / parts, ...): every `parts`-th row, so that each device keeps its rows."""
    if rows.shape[0] % parts:
        raise ValueError(f"accumulate_steps={parts} must divide the rows of a batch, got {rows.shape[0]}.")
    return jnp.swapaxes(jnp.reshape(rows, (rows.shape[0] // parts, parts, *rows.shape[1:])), 0, 1)


def log_norm(model, gradients, optimizer):
    """Add the gradients' norm to its metric; an overflow, which loss scaling skips, is no update."""
    with keras.StatelessScope(state_mapping=list(zip(model.optimizer.variables, optimizer, strict=True))):
        scale = model.optimizer.scale_loss(1.0)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients)) / scale
    counts = jnp.isfinite(norm) | (not hasattr(model.optimizer, "inner_optimizer"))
    model._gradient_norm.update_state(jnp.where(counts, norm, 0.0), sample_weight=counts.astype("float32"))
