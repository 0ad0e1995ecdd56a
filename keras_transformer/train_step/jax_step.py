"""The steps of `fit` and `evaluate` on JAX, where arrays are global: over all devices at once."""

import contextlib

import jax
import keras
from jax import numpy as jnp

from keras_transformer.backend import compat
from keras_transformer.losses.chunks import VectorsLoss
from keras_transformer.train_step import fused


def prepare(optimizer):
    """Nothing to do: XLA makes one pass of an update."""


def clear_errors(model):
    """A block that changes nothing: errors of JAX are clear already."""
    return contextlib.nullcontext()


def watched(model, dataset):
    """The dataset. JAX traces what it compiles, and `train_step` counts that."""
    return dataset


def train_step(model, state, data):
    """One update; returns the logs and the new state."""
    model.train_traces += 1
    trainable, non_trainable, optimizer, metrics = state
    batch = model.unpack(data)
    tokens = model.count_tokens(batch[1])
    parts = model.accumulate_steps

    def add(carry, micro_batch):
        sums, non_trainable, metrics = carry
        state = trainable, non_trainable, optimizer, metrics
        gradients, *after = gradients_of(model, state, micro_batch, tokens)
        return (list(map(jnp.add, sums, gradients)), *after), None

    if parts == 1:
        gradients, non_trainable, metrics = gradients_of(model, state, batch, tokens)
    else:
        micro_batches = jax.tree.map(lambda rows: split(rows, parts), batch)
        start = (list(map(jnp.zeros_like, trainable)), non_trainable, metrics)
        (gradients, non_trainable, metrics), _ = jax.lax.scan(add, start, micro_batches)
    with stateless_scope(model.metrics_variables, metrics) as scope:
        if model._gradient_norm is not None:
            log_norm(model, gradients, optimizer)
        logs = model.get_metrics_result()
    metrics = values(scope, model.metrics_variables, metrics)
    trainable, optimizer = model.optimizer.stateless_apply(optimizer, gradients, trainable)
    return logs, (trainable, non_trainable, optimizer, metrics)


def test_step(model, state, data):
    """The losses and metrics of a batch; returns the logs and the new state."""
    trainable, non_trainable, metrics = state
    batch = model.unpack(data)
    tokens = model.count_tokens(batch[1])
    state = trainable, non_trainable, None, metrics
    loss, outputs, non_trainable, metrics = forward(model, state, batch, tokens, training=False)
    metrics, logs = logged(model, metrics, batch, loss, outputs, tokens, parts=1)
    logs.pop("gradient_norm", None)
    return logs, (trainable, non_trainable, metrics)


def gradients_of(model, state, batch, tokens):
    """Gradients for a (micro-)batch, and the other variables after it."""
    trainable, non_trainable, optimizer, metrics = state

    def loss_of(trainable):
        state = trainable, non_trainable, optimizer, metrics
        loss, *others = forward(model, state, batch, tokens, training=True)
        with stateless_scope(model.optimizer.variables, optimizer):
            return model.optimizer.scale_loss(loss), (loss, *others)

    gradients, (loss, outputs, non_trainable, metrics) = jax.grad(loss_of, has_aux=True)(trainable)
    metrics, _ = logged(model, metrics, batch, loss, outputs, tokens, model.accumulate_steps)
    return list(gradients), non_trainable, metrics


def forward(model, state, batch, tokens, training):
    """The share of a (micro-)batch in the step's loss, what metrics need, and the variables after it.

    Metrics need a `VectorsLoss` in the fused way, else the logits.
    """
    trainable, non_trainable, optimizer, metrics = state
    if model.takes_fused_way(batch[2]):
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        with stateless_scope(variables, [*trainable, *non_trainable]) as scope:
            loss, result = fused.loss_of(model, batch, fused.output_map(model), tokens, training)
        return loss, result, values(scope, model.non_trainable_variables, non_trainable), metrics
    x, *others = batch
    # Keras goes past `model.__call__`, which takes a pair and a dictionary.
    if isinstance(x, list | tuple) and isinstance(model.input, dict):
        x = dict(zip(model.input, x, strict=True))
    with compat.one_call_of(model):  # else a layer that is called twice forgets the loss of its first call
        _, (loss, prediction, non_trainable, metrics) = model.compute_loss_and_updates(
            trainable, non_trainable, metrics, x, *others, training=training, optimizer_variables=optimizer
        )
    if training and model.accumulate_steps > 1:  # the loss has divided by the tokens of the micro-batch
        loss *= fused.share_of_tokens(batch[1], tokens)
    return loss, prediction, non_trainable, metrics


def logged(model, metrics, batch, loss, outputs, tokens, parts):
    """The metrics' variables with one of a batch's `parts` added, and their values by name."""
    x, y, sample_weight = batch
    weight = y.shape[0] if tokens is None else tokens / parts
    with stateless_scope(model.metrics_variables, metrics) as scope:
        model.loss_tracker.update_state(loss * parts, sample_weight=weight)
        if isinstance(outputs, VectorsLoss):
            fused.update_metrics(model, y, outputs)
            logs = model.get_metrics_result()
        else:
            logs = model.compute_metrics(x, y, outputs, sample_weight)
    return values(scope, model.metrics_variables, metrics), logs


def stateless_scope(variables, values):
    """A scope in which variables have these values, and in which assignments do not change the variables."""
    mapping = list(zip(variables, values, strict=True))
    return keras.StatelessScope(state_mapping=mapping, collect_losses=True)  # those of `add_loss`


def values(scope, variables, before):
    """The values that variables have in the scope, those of `before` where the scope has set none."""
    set_there = map(scope.get_current_value, variables)
    return [old if new is None else new for new, old in zip(set_there, before, strict=True)]


def split(rows, parts):
    """(B, ...) -> (parts, B / parts, ...): every `parts`-th row, so that each device keeps its rows."""
    if rows.shape[0] % parts:
        raise ValueError(f"accumulate_steps={parts} must divide the rows of a batch, got {rows.shape[0]}.")
    return jnp.swapaxes(jnp.reshape(rows, (rows.shape[0] // parts, parts, *rows.shape[1:])), 0, 1)


def log_norm(model, gradients, optimizer):
    """Add the gradients' norm to its metric; an overflow, which loss scaling skips, does not count."""
    with stateless_scope(model.optimizer.variables, optimizer):
        scale = model.optimizer.scale_loss(1.0)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients)) / scale
    counts = jnp.isfinite(norm) | (not hasattr(model.optimizer, "inner_optimizer"))
    model._gradient_norm.update_state(jnp.where(counts, norm, 0.0), sample_weight=counts.astype("float32"))
