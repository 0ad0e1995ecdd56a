"""Gradients in closed form."""

import functools

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.backend.kernels import tensorflow_backend

NAME = "KerasTransformerGradient"  # of the one gradient function that TensorFlow knows
KEPT_IN = "keras_transformer_gradients"  # the attribute of a graph that holds its gradients, by the name of the op


def custom_gradient(function):
    """`keras.ops.custom_gradient` for functions of tensors, which frees TensorFlow's graphs.

    In a graph `tf.custom_gradient` registers each gradient under a new name, for ever. The gradient refers to the
    graph, and so each trained model would stay in memory. Here one function is registered, and each graph holds the
    gradients of its own ops.

    Args:
        function: a function of tensors. It returns its result, a tensor or a tuple of tensors, and a function from the
            upstream gradients to the gradient of its argument or a tuple of those of its arguments.
    """
    tf = tensorflow_backend()
    return ops.custom_gradient(function) if tf is None else functools.partial(_on_tensorflow, tf, function)


def _on_tensorflow(tf, function, *arguments):
    arguments = list(map(tf.convert_to_tensor, arguments))  # `tf.custom_gradient` treats variables differently
    return tf.custom_gradient(function)(*arguments) if tf.executing_eagerly() else _in_graph(tf, function, arguments)


def _in_graph(tf, function, arguments):
    """The result of `function`, with its gradient, in the graph that TensorFlow is making."""
    _register(tf)
    result, gradient = function(*arguments)
    results = keras.tree.flatten(result)

    def of_inputs(*upstream):
        """The gradients of the inputs of `IdentityN`: none goes into the operations of `function`."""
        of_arguments = gradient(*upstream[: len(results)])
        return [*[None] * len(results), *(of_arguments if isinstance(of_arguments, tuple) else (of_arguments,))]

    inputs = [*results, *arguments]
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map({"IdentityN": NAME}):
        outputs = tf.raw_ops.IdentityN(input=inputs)
    if not hasattr(graph, KEPT_IN):
        setattr(graph, KEPT_IN, {})
    getattr(graph, KEPT_IN)[outputs[0].op.name] = of_inputs
    compat.record_gradient(outputs, inputs, of_inputs)
    return keras.tree.pack_sequence_as(result, outputs[: len(results)])


@functools.cache
def _register(tf):
    @tf.RegisterGradient(NAME)
    def gradient_of(op, *upstream):
        return getattr(op.graph, KEPT_IN)[op.name](*upstream)
