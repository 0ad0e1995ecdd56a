"""The one door to tf.distribute for code that is otherwise `keras.ops` alone."""

import keras


def sum_over_replicas(x):
    """The sum of `x` over all replicas of a training step.

    Inside a replica of a `tf.distribute` strategy this is an all-reduce. Elsewhere, and on the JAX
    backend, where arrays are global, it is `x`.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)
