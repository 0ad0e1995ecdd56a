"""The steps of `fit` and `evaluate` on TensorFlow, inside one replica."""

import functools
import warnings
import weakref

import keras
import tensorflow as tf

from keras_transformer.backend import compat
from keras_transformer.backend.replicas import sums_over_replicas
from keras_transformer.backend.values import shape_of
from keras_transformer.train_step import fused
from keras_transformer.train_step.tensorflow_errors import SPLIT, clear_errors
from keras_transformer.train_step.tensorflow_gradients import dense, plus, reduced

__all__ = ["build_optimizer", "clear_errors", "prepare", "several_steps", "test_step", "train_step", "watched"]


def prepare(optimizer):
    """Change how an optimizer adds up the gradients of replicas, and how Adam updates a variable.

    The sums get no gradient of their own, see `compat.sum_over_replicas`.

    Adam's update becomes one kernel, which passes over memory once instead of a dozen times. Keras' formula,
    checkpoints, clipping, averages, loss scaling and strategies stay as they are. A weight differs from Keras' by less
    than 1e-5 of its change, as the kernel rounds 1 - β to float32. Other classes may have another formula, so nothing
    changes for them.
    """
    if optimizer is None:  # of a model that is only evaluated
        return
    inner = compat.inner_optimizer(optimizer)
    compat.set_gradient_sum(inner, sums_over_replicas)
    if type(inner) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not inner.amsgrad:
        compat.set_update_step(inner, functools.partial(adam_update, inner))


def adam_update(adam, gradient, variable, learning_rate):
    """`keras.optimizers.Adam.update_step` without AMSGrad."""
    first, second = compat.adam_moments(adam, variable)
    step = tf.cast(adam.iterations + 1, variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=first.value.handle,
        v=second.value.handle,
        beta1_power=adam.beta_1**step,
        beta2_power=adam.beta_2**step,
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=adam.beta_1,
        beta2=adam.beta_2,
        epsilon=adam.epsilon,
        grad=tf.cast(gradient, variable.dtype),
    )


def build_optimizer(model):
    """Make the variables of the optimizer before the first step: TensorFlow traces a step that makes variables twice.

    If a layer of a subclass is not built yet, its weights are not known, and the first step makes the variables.
    """
    variables = model.trainable_variables
    if variables and not model.optimizer.built and all(layer.built for layer in compat.all_layers(model)):
        with model.distribute_strategy.scope():
            model.optimizer.build(variables)


def train_step(model, data):
    """One update from one replica's batch; returns the logs."""
    model.train_traces += tf.inside_function()
    batch = unpacked(model, data)
    tokens = model.count_tokens(batch[1])
    gradients = gradients_of(model, batch, tokens) if model.accumulate_steps == 1 else accumulated(model, batch, tokens)
    if not gradients:  # as in Keras' own step
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return model.get_metrics_result()
    gradients = reduced(model, list(map(dense, gradients)))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_weights)
    # The call that finds the dataset at its end has no data. Without this, it would still count an update.
    with tf.control_dependencies([each for each in tf.nest.flatten(data) if each is not None]):
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    return model.get_metrics_result()


def unpacked(model, data):
    """Inputs, labels and sample weights of a batch.

    A step that has seen weights (B,) and then (B, T) is traced for weights of any rank. These become (B, 1) or (B, T).
    """
    x, y, sample_weight = model.unpack(data)
    if sample_weight is not None and shape_of(sample_weight) is None:
        sample_weight = tf.reshape(sample_weight, [tf.shape(sample_weight)[0], -1])
    return x, y, sample_weight


def test_step(model, data):
    """The losses and metrics of one replica's batch; returns the logs."""
    batch = unpacked(model, data)
    tokens = model.count_tokens(batch[1])
    output_map = fused.output_map(model) if model.takes_fused_way(batch[2]) else None
    loss, update_metrics = forward(model, batch, tokens, output_map, training=False)
    log_loss(model, batch, loss, tokens, parts=1)
    update_metrics()
    logs = model.get_metrics_result()
    logs.pop("gradient_norm", None)
    return logs


def watched(model, dataset):
    """The dataset. If XLA compiles the step, `model.compiled_shapes` collects each shape of a batch.

    TensorFlow traces the step once for all shapes. XLA compiles it for each shape, and TensorFlow does not report that.
    """
    if not (model.jit_compile and isinstance(dataset, tf.data.Dataset)):
        return dataset

    reference = weakref.ref(model)  # TensorFlow never frees `note`

    def note(*shapes):
        reference().compiled_shapes.add(tuple(tuple(shape.tolist()) for shape in shapes))

    def passing(*batch):
        shapes = [tf.shape(rows) for rows in tf.nest.flatten(batch)]
        with tf.control_dependencies([tf.numpy_function(note, shapes, [])]):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.map(passing)


def several_steps(model, step):
    """A function that takes up to `steps_per_execution` steps on several replicas and gives the logs.

    Keras' own loop takes each step inside a `tf.cond`. There TensorFlow loses the tensors that the graphs of the
    replicas capture ("You must feed a value for placeholder"). Here each step is in the body of the loop.
    """
    strategy, logged = model.distribute_strategy, set()

    @tf.function(reduce_retracing=True, autograph=False)
    def on_replicas(data):
        logged.update(strategy.run(step, args=(data,)))

    @tf.function(reduce_retracing=True, autograph=False)
    def loop(iterator):
        count = model.steps_per_execution

        def one(done, data):
            on_replicas(data.get_value())
            return done + 1, tf.cond(done + 1 < count, iterator.get_next_as_optional, lambda: data)

        start = (tf.constant(0), iterator.get_next_as_optional())
        done, _ = tf.while_loop(lambda done, data: (done < count) & data.has_value(), one, start)
        return done, {name: value for name, value in model.get_metrics_result().items() if name in logged}

    def function(iterator):
        done, logs = loop(iterator)
        if done == 0:
            raise StopIteration
        return logs

    return function


def forward(model, batch, tokens, output_map, training, in_place=False):
    """The loss of a (micro-)batch as its share of the step's loss, and a function that updates the metrics.

    Args:
        batch: inputs, labels and sample weights.
        tokens: `model.count_tokens` of the step.
        output_map: the model's `OutputMap` for the fused way, None for the logits.
        in_place: see `add_to_columns`.
    """
    x, y, sample_weight = batch
    if output_map is not None:
        loss, result = fused.loss_of(model, batch, output_map, tokens, training, in_place)
        return loss, lambda: fused.update_metrics(model, y, result)
    prediction = model(x, training=training)
    if training and model.accumulate_steps > 1:
        loss = fused.micro_batch_loss(model, batch, prediction, tokens)
    else:
        loss = model.compute_loss(x, y, prediction, sample_weight, training=training)
    return loss, lambda: model.compute_metrics(x, y, prediction, sample_weight=sample_weight)


def log_loss(model, batch, loss, tokens, parts):
    """Add to the logged loss that of a batch, which is one of `parts` micro-batches of a replica."""
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    if tokens is None:  # Keras' own loss: a mean over rows
        model.loss_tracker.update_state(loss * replicas, sample_weight=tf.shape(batch[1])[0])
    else:  # the losses of all parts add up to the step's loss, whose weight is its number of tokens
        parts *= replicas
        model.loss_tracker.update_state(loss * parts, sample_weight=tokens / parts)


def gradients_of(model, batch, tokens):
    """Gradients of the trainable weights for a (micro-)batch. Its loss and metrics are logged."""
    matrix = output_map = None
    with tf.GradientTape() as tape:
        if model.takes_fused_way(batch[2]):
            matrix, output_map = watched_output_map(model, tape)
        loss, update_metrics = forward(model, batch, tokens, output_map, training=True, in_place=not model.jit_compile)
        log_loss(model, batch, loss, tokens, model.accumulate_steps)
        loss = model.optimizer.scale_loss(loss)
    update_metrics()
    weights = model.trainable_weights
    if not weights:
        return []
    if output_map is None:
        return tape.gradient(loss, weights)
    gradients, to_matrix = tape.gradient(loss, (weights, output_map.matrix))
    return [
        plus(to_matrix, gradient) if weight is matrix else gradient
        for weight, gradient in zip(weights, gradients, strict=True)
    ]


def watched_output_map(model, tape):
    """The variable of the output map's matrix, and an `OutputMap` that reads it as a tensor with its own gradient.

    If embeddings are tied, the gradients of the few rows that were looked up are then added to that of the output map
    in place. TensorFlow would make each of them (V, D) first.
    """
    output_map = fused.output_map(model)
    value = tf.stop_gradient(tf.convert_to_tensor(output_map.matrix))
    tape.watch(value)
    return output_map.matrix, output_map._replace(matrix=value)


def accumulated(model, batch, tokens):
    """The sum of the gradients of `accumulate_steps` micro-batches, computed one after the other."""
    parts = model.accumulate_steps
    batch = tf.nest.map_structure(lambda rows: None if rows is None else split(rows, parts), batch)

    def add(part, sums):
        micro_batch = tf.nest.map_structure(lambda rows: None if rows is None else tf.gather(rows, part), batch)
        gradients = gradients_of(model, micro_batch, tokens)
        return part + 1, list(map(plus, sums, gradients))

    start = [tf.zeros(weight.shape, weight.dtype) for weight in model.trainable_weights]
    return tf.while_loop(
        lambda part, sums: part < parts, add, (0, start), parallel_iterations=1, maximum_iterations=parts
    )[1]


def split(rows, parts):
    """(B, ...) -> (parts, B / parts, ...)."""
    count = tf.shape(rows)[0]
    check = tf.debugging.Assert(
        count % parts == 0, [f"accumulate_steps={parts} must divide the rows of each replica's batch, got", count]
    )
    with tf.control_dependencies([check]), tf.name_scope(SPLIT):
        return tf.reshape(rows, [parts, count // parts, *tf.unstack(tf.shape(rows)[1:])])
