"""Private parts of Keras and TensorFlow: one small function for each, so that a new version breaks in one place.

`tests/backend/test_compat*.py` has a test for each function. Its name says which private part has changed.
"""

import contextlib
import functools
import inspect

import keras


def take_numpys_copy(kind):
    """Let `np.array(variable)` pass NumPy 2's argument `copy`. Keras 3.15 lacks it, and NumPy warns at each call.

    Keras itself calls NumPy so when it saves, so that `PYTHONWARNINGS=error` would end a training.

    Args:
        kind: Keras' class of variables, or a class with the same method.
    """
    for parent in kind.__mro__:
        method = vars(parent).get("__array__")
        if method is not None and "copy" not in inspect.signature(method).parameters:

            @functools.wraps(method)
            def with_copy(self, dtype=None, copy=None, method=method):
                array = method(self, dtype)
                return array.copy() if copy else array

            with_copy.__signature__ = inspect.signature(with_copy, follow_wrapped=False)
            parent.__array__ = with_copy


take_numpys_copy(keras.Variable)


def keras_mask(x):
    """The mask that Keras attached to `x`, or None."""
    return getattr(x, "_keras_mask", None)


@contextlib.contextmanager
def weights_as(values):
    """A block in which variables have other values.

    Keras casts the values that `StatelessScope` takes to the dtype of their variables. These keep their own dtype.

    Args:
        values: {id(variable): tensor}. An empty dictionary changes nothing.
    """
    if not values:  # a scope of the caller keeps its values
        yield
        return
    scope = keras.StatelessScope()
    scope.state_mapping = dict(values)
    with scope:
        yield


def list_first(model, layers):
    """Before `keras.Model.__init__`: list the variables of these layers first, in this order.

    A functional model would list them in the order of its graph. A file holds an optimizer's state in this order.
    """
    model._initialize_tracker()
    for layer in layers:
        model._tracker.track(layer)


def all_layers(model):
    """Every layer of a model, at any depth."""
    return model._flatten_layers()


def in_one_line(error):
    """`error`, to which Keras does not add six lines about arguments when a layer's call raises it."""
    error._keras_call_info_injected = True
    return error


def mark_as_called(model):
    """Let Keras write ONNX files of a model that was not called yet, for example of one that was just loaded."""
    model._called = True


def own_layers(layer):
    """The layers of which a layer or a model is made, without those inside of them."""
    return layer._layers


def own_variables(layer):
    """The variables of a layer that can be trained or frozen, without those of the layers inside of it."""
    return layer._trainable_variables


@contextlib.contextmanager
def one_call_of(model):
    """A block in which calls of a model's layers are parts of one call of the model.

    Keras forgets the losses of `add_loss` and of activity regularizers when the outermost call begins.
    """
    model._get_call_context()
    try:
        yield
    finally:
        model._maybe_reset_call_context()


def mark_as_quantized(layer):
    """Make Keras refuse to quantize `layer` again."""
    layer._is_quantized = True


def forget_metric(model, metric):
    """Forget a metric that was an attribute of a model. Keras would list it for ever."""
    locked = model._tracker.locked
    model._tracker.unlock()
    model._tracker.untrack(metric)
    if locked:
        model._tracker.lock(model._tracker._lock_violation_msg)


def set_loss_tracker(model, metric):
    """After `compile`: log `loss` from this metric. Keras' own has the dtype `keras.config.floatx()`."""
    object.__setattr__(model, "_loss_tracker", metric)  # `keras.Model` would list it twice


def delete_variable(layer, name):
    """Delete a layer's attribute `name`, a variable. Keras would collect the garbage of the whole process, too."""
    layer._untrack_variable(getattr(layer, name))
    super(keras.layers.Layer, layer).__delattr__(name)


def kernel_variable(dense):
    """The variable of a `keras.layers.Dense`, in integers if it is quantized; `dense.kernel` adds LoRA to it."""
    return dense._kernel


def adam_moments(adam, variable):
    """Adam's two moments of a variable, as Keras variables."""
    index = adam._get_variable_index(variable)
    return adam._momentums[index], adam._velocities[index]


def set_update_step(optimizer, update):
    """Let `optimizer` update each variable by `update(gradient, variable, learning_rate)`."""
    optimizer.update_step = update


def set_gradient_sum(optimizer, sums):
    """Let `optimizer` add up the dense gradients of all replicas by `sums(tensors)`.

    Args:
        optimizer: one of TensorFlow's backend of Keras.
        sums: a function from a list of tensors to their sums over replicas.
    """
    of_keras = type(optimizer)._all_reduce_sum_gradients

    def summed(gradients_and_variables):
        pairs = list(gradients_and_variables)
        given = [gradient for gradient, _ in pairs if gradient is not None]
        if any(hasattr(gradient, "indices") for gradient in given):  # of some rows of an embedding
            return of_keras(optimizer, pairs)
        results = iter(sums(given))
        return [(None if gradient is None else next(results), variable) for gradient, variable in pairs]

    optimizer._all_reduce_sum_gradients = summed


def start_at_epoch(model, epoch):
    """Let the `fit` that is about to begin start at `epoch`; None is its own choice."""
    model._initial_epoch = epoch


def additional_loss(model, loss):
    """One of `model.losses` as `compute_loss` adds it: on several replicas, the share of this one."""
    return model._aggregate_additional_loss(loss)


def compiled_metrics(model, labels, outputs):
    """The metrics that `compile` was given, as objects. Keras makes them when it first sees labels and outputs."""
    metrics = model._compile_metrics
    if metrics is None:
        return []
    if not metrics.built:
        metrics.build(labels, outputs)
    return metrics.metrics


def inner_optimizer(optimizer):
    """The optimizer that loss scaling wraps, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def learning_rate_of(optimizer):
    """What an optimizer, wrapped or not, has for a rate: a variable, or a schedule. None without an optimizer."""
    return getattr(inner_optimizer(optimizer), "_learning_rate", None)


def finds_direction(callback, model):
    """Whether a callback of Keras that watches a value can tell if higher values are better. It asks after an epoch."""
    probe = type(callback).__new__(type(callback))
    probe.monitor, probe.mode, probe.min_delta, probe.monitor_op = callback.monitor, callback.mode, 0, None
    probe.set_model(model)
    try:
        probe._set_monitor_op()
    except ValueError:
        return False
    return True


def weighted_metrics(model):
    """The metrics of `compile(weighted_metrics=...)`, which get sample weights."""
    metrics = model._compile_metrics
    return [] if metrics is None else keras.tree.flatten(metrics._user_weighted_metrics or [])


class CloneHook:
    """The private method by which `clone_model` walks through a functional model. A model takes this class first."""

    def _run_through_graph(self, *args, **kwargs):
        if getattr(kwargs.get("operation_fn"), "__module__", "").endswith(".cloning"):
            self.refuse_cloning()
        return super()._run_through_graph(*args, **kwargs)


class TrainerHooks:
    """The methods of `keras.Model` that training replaces. A model takes this class before `keras.Model`."""

    def _get_metrics_result_or_logs(self, logs):
        """What `fit` logs after a step on TensorFlow."""
        return self.logs_of(logs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """How `fit` builds metrics and optimizer before the first step. Keras would draw a batch of the dataset."""
        super()._maybe_symbolic_build(data_batch=self.batch_to_build_from(data_batch))

    def compute_loss(self, *args, **kwargs):
        """The loss of a step from logits. On JAX, Keras takes a missing loss for zero."""
        self.check_loss()
        return super().compute_loss(*args, **kwargs)

    def _aggregate_additional_loss(self, loss):
        """How a step adds one of `model.losses` to the loss."""
        self.check_additional_loss()
        return super()._aggregate_additional_loss(loss)

    def add_loss(self, loss):
        """As for every layer. Keras has not written it for functional models."""
        keras.layers.Layer.add_loss(self, loss)


def strategy_of(variable):
    """The `tf.distribute` strategy in whose scope a Keras variable was made; None outside of any."""
    return getattr(variable.value, "_distribute_strategy", None)


def sentencepiece_ops():
    """TensorFlow Text's ops of SentencePiece; its public class has no way to give them a resource."""
    from tensorflow_text.python.ops.sentencepiece_tokenizer import gen_sentencepiece_tokenizer

    return gen_sentencepiece_tokenizer


def must_compile_by_xla(attributes):
    """Whether a node or function of a TensorFlow graph, given its attributes, must be compiled by XLA."""
    return attributes["_XlaMustCompile"].b


def write_rows_in_place(x, rows, values):
    """TensorFlow's `x` (R, N) with `values` (n, N) at `rows` (n,), in the memory of `x`."""
    import tensorflow as tf

    return tf.raw_ops.InplaceUpdate(x=x, i=rows, v=values)


def add_at_in_place(x, places, values):
    """TensorFlow's `x` (R, V) with `values` (n,) added at `places` (n, 2), in the memory of `x` where it is free.

    XLA does not have this op.
    """
    import tensorflow as tf

    return tf.raw_ops.ScatterNdNonAliasingAdd(input=x, indices=places, updates=values)


def unset_rows(count, width, dtype):
    """A TensorFlow buffer (count, width) of zeros. `tf.zeros` would become one constant of the graph for all calls."""
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=tf.stack([count, width]), dtype=tf.as_dtype(dtype), init=True)


def record_gradient(outputs, inputs, gradient):
    """Tell TensorFlow's tapes that `gradient(*upstream)` is the gradient of `outputs` for `inputs`."""
    from tensorflow.python.eager import record

    record.record_operation("custom_gradient", outputs, inputs, gradient)


def sum_over_replicas(context, tensors):
    """The sums of dense tensors over all replicas of a `tf.distribute.ReplicaContext`, without a gradient.

    `context.all_reduce` makes a custom gradient, which TensorFlow keeps for ever, with its graph and its weights.
    """
    import tensorflow as tf

    extended = context.strategy.extended
    if not extended._use_merge_call():
        options = tf.distribute.experimental.CommunicationOptions()
        return extended._replica_ctx_all_reduce(tf.distribute.ReduceOp.SUM, tensors, options)

    def reduced(strategy, *per_replica):
        pairs = [(value, getattr(value, "device", value)) for value in per_replica]
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)

    return context.merge_call(reduced, args=tensors)


def is_tensorflow_used():
    """Whether TensorFlow has started its devices and threads in this process, or in the one that it was forked from."""
    import sys

    context = sys.modules.get("tensorflow.python.eager.context")
    started = context and context.context_safe()
    return bool(started) and started._context_handle is not None
