"""The steps of `fit` and `evaluate` on TensorFlow, inside one replica."""

import contextlib
import functools
import re

import keras
import tensorflow as tf

from keras_transformer.backend.kernels import kernels_alone
from keras_transformer.losses.label_smoothing import divided_by

CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")
SPLIT = "rows_by_accumulate_steps"  # a scope's name, which XLA's errors repeat


def prepare(optimizer):
    """Have Adam update each variable by one kernel, which passes once over memory instead of a dozen times.

    Keras' formula, checkpoints, clipping, averages, loss scaling and strategies stay as they are; a weight differs
    from Keras' by less than 1e-5 of the way it moves, as the kernel rounds 1 - β to float32. Of other classes, which
    may have a formula of their own, nothing changes.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if type(inner) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not inner.amsgrad:
        inner.update_step = functools.partial(adam_update, inner)


def adam_update(adam, gradient, variable, learning_rate):
    """`keras.optimizers.Adam.update_step` without AMSGrad."""
    index = adam._get_variable_index(variable)
    step = tf.cast(adam.iterations + 1, variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=adam._momentums[index].value.handle,
        v=adam._velocities[index].value.handle,
        beta1_power=adam.beta_1**step,
        beta2_power=adam.beta_2**step,
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=adam.beta_1,
        beta2=adam.beta_2,
        epsilon=adam.epsilon,
        grad=tf.cast(gradient, variable.dtype),
    )


@contextlib.contextmanager
def clear_errors(model):
    """Says in one line what went wrong in a step, where that is known."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        rows = re.search(r"must divide the rows .*, got\] \[(\d+)\]", error.message)
        if rows is None and SPLIT not in error.message:
            raise
        raise ValueError(
            f"accumulate_steps={model.accumulate_steps} must divide the rows of each replica's batch"
            + ("." if rows is None else f", got {rows[1]} rows.")
        ) from error
    except tf.errors.OpError as error:
        if not re.search(r"Collective ops is aborted|unhealthy|heartbeat", error.message):
            raise
        lost = lost_workers(error.message)
        names = " and ".join(map(" ".join, lost)) or "another worker"
        raise RuntimeError(
            f"Training has ended: {names} of TF_CONFIG no longer answers. Look there for the cause, then start the "
            "same command on all workers again: training goes on from the last checkpoint, if one is kept."
        ) from error


def lost_workers(message):
    """Whom TensorFlow's error about a collective means, as ("worker", "1"), as far as it says."""
    task = r"/job:(\w+)/replica:0/task:(\d+)"
    lost = re.findall(task, message.partition("unhealthy")[2])
    lost += re.findall(f"(?:remote target|in-error task:) {task}", message)
    if not lost and "RPC: /tensorflow.CoordinationService/" in message:  # which the first worker runs
        lost = [("worker", "0")]
    return sorted(set(lost))


def train_step(model, data):
    """One update from one replica's batch; returns the logs."""
    model.train_traces += tf.inside_function()
    batch = keras.utils.unpack_x_y_sample_weight(data)
    tokens = model.step_tokens(batch[1])
    gradients = gradients_of(model, batch, tokens) if model.accumulate_steps == 1 else added(model, batch, tokens)
    gradients = reduced(model, list(map(dense, gradients)))
    model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    return model.get_metrics_result()


def test_step(model, data):
    """The losses and metrics of one replica's batch; returns the logs."""
    batch = keras.utils.unpack_x_y_sample_weight(data)
    tokens = model.step_tokens(batch[1])
    with model.logits_left_out(batch[2], training=False):
        prediction = model(batch[0], training=False)
        loss_of(model, batch, prediction, tokens, training=False)
        model.compute_metrics(*batch[:2], prediction, sample_weight=batch[2])
    logs = model.get_metrics_result()
    logs.pop("gradient_norm", None)
    return logs


def watched(model, dataset):
    """The dataset; if the step is compiled, each shape of a batch is noted in `model.compiled_shapes`.

    The step is traced once for all shapes, and XLA compiles it for each by itself, of which TensorFlow tells nobody.
    """
    if not (model.jit_compile and isinstance(dataset, tf.data.Dataset)):
        return dataset

    def note(*shapes):
        model.compiled_shapes.add(tuple(tuple(shape.tolist()) for shape in shapes))

    def passing(*batch):
        shapes = [tf.shape(rows) for rows in tf.nest.flatten(batch)]
        with tf.control_dependencies([tf.numpy_function(note, shapes, [])]):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.map(passing)


def several_steps(model, step):
    """Up to `steps_per_execution` steps on several replicas, as a function of an iterator that gives the logs.

    Keras' own loop takes each step inside a `tf.cond`, where what the replicas' graphs capture gets lost ("You must
    feed a value for placeholder"). Here the step stands in the body of the loop.
    """
    strategy, logged = model.distribute_strategy, set()

    @tf.function(reduce_retracing=True)
    def on_replicas(data):
        logged.update(strategy.run(step, args=(data,)))

    @tf.function(reduce_retracing=True)
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


def replica_context():
    return tf.distribute.get_replica_context()


def loss_of(model, batch, prediction, tokens, training):
    """The (micro-)batch's share of the step's loss, which is logged too."""
    x, y, sample_weight = batch
    with divided_by(tokens):
        loss = model.compute_loss(x, y, prediction, sample_weight, training=training)
    replicas = replica_context().num_replicas_in_sync
    parts, weight = replicas, tf.shape(y)[0]  # Keras' own: a mean over rows
    if tokens is not None:  # the parts' losses add up to the step's, which weighs as much as it has tokens
        parts *= model.accumulate_steps if training else 1
        weight = tokens / parts
    model.loss_tracker.update_state(loss * parts, sample_weight=weight)
    return loss


def gradients_of(model, batch, tokens):
    """Gradients of the trainable weights for a (micro-)batch, whose losses and metrics are logged."""
    compiled = contextlib.nullcontext() if model.jit_compile else kernels_alone()
    with compiled, model.logits_left_out(batch[2], training=True) as output_map:
        with tf.GradientTape() as tape:
            matrix = None if output_map is None else read_apart(output_map, tape)
            prediction = model(batch[0], training=True)
            loss = loss_of(model, batch, prediction, tokens, training=True)
            loss = model.optimizer.scale_loss(loss)
        model.compute_metrics(*batch[:2], prediction, sample_weight=batch[2])
        weights = model.trainable_weights
        if output_map is None:
            return tape.gradient(loss, weights)
        gradients, towards_matrix = tape.gradient(loss, (weights, output_map.matrix))
        return [
            plus(towards_matrix, gradient) if weight is matrix else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]


def read_apart(output_map, tape):
    """The variable that `output_map` reads, which from now on is a tensor whose gradient stands by itself.

    Where embeddings are tied, the few rows that were looked up are then added to the output map's gradient in place,
    instead of being made (V, D) first, once for each lookup.
    """
    matrix = output_map.matrix
    output_map.matrix = tf.stop_gradient(tf.convert_to_tensor(matrix))
    tape.watch(output_map.matrix)
    return matrix


def added(model, batch, tokens):
    """The sum of the gradients of `accumulate_steps` micro-batches, one after the other."""
    if model.losses:
        raise ValueError("accumulate_steps does not go with regularizers and add_loss, which would count k times.")
    parts = model.accumulate_steps
    batch = tf.nest.map_structure(lambda rows: None if rows is None else split(rows, parts), batch)

    def add(part, sums):
        micro = tf.nest.map_structure(lambda rows: None if rows is None else tf.gather(rows, part), batch)
        gradients = gradients_of(model, micro, tokens)
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


def dense(gradient):
    """An embedding's gradient as one array, since Keras' Adam squares the parts of a row that occurs twice apart."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def plus(total, gradient):
    """`total` with a gradient added: dense, of the rows of an embedding alone, or None where there is none."""
    if gradient is None:
        return total
    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(total, gradient.indices[:, None], gradient.values)
    return total + gradient


def reduced(model, gradients):
    """Gradients that the optimizer, which adds up those of all replicas, treats as one replica's would be.

    Keras' optimizers clip the gradients of each replica by itself, and look for an overflow on the first
    alone. Where that matters, or the norm is wanted, they are added up here: one replica hands the sums
    on, and the others zeros, save where the sum is not finite.
    """
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scaled = inner is not optimizer
    clips = any(getattr(inner, name, None) is not None for name in CLIPS)
    context = replica_context()
    several = context.num_replicas_in_sync > 1
    if several and (scaled or clips or model._gradient_norm is not None):
        whole = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [g for g in gradients if g is not None]))
        gradients = [None if gradient is None else next(whole) for gradient in gradients]
    else:
        several = False
    if model._gradient_norm is not None:
        norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(tf.constant(1.0))
        counts = tf.math.is_finite(norm) | (not scaled)  # an overflow is no update
        model._gradient_norm.update_state(tf.where(counts, norm, 0), sample_weight=tf.cast(counts, "float32"))
    return gradients if not several else [handed_on(gradient, context) for gradient in gradients]


def handed_on(gradient, context):
    if gradient is None:
        return None
    others = tf.where(tf.math.is_finite(gradient), tf.zeros_like(gradient), gradient)
    return tf.where(tf.equal(context.replica_id_in_sync_group, 0), gradient, others)
