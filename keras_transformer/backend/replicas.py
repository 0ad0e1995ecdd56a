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


def num_replicas():
    """How many replicas train in step, under the `tf.distribute` strategy in scope or without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_devices():
    """Over how many devices `keras.distribution`, on JAX, shares out the rows of a batch."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def replicas_of(model):
    """How many replicas train a compiled model in step."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    return batch_devices()


def check_strategy(strategy):
    """Refuse a strategy of several machines that does not give each its own rows.

    Raises:
        ValueError: another one than `keras_transformer.training.workers_strategy` makes.
    """
    import tensorflow as tf

    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several and strategy.num_replicas_in_sync > 1 and not hasattr(strategy, "shares_rows"):
        raise ValueError(
            f"{type(strategy).__name__} gives its machines different batches, not shares of the same. Make the "
            "strategy with keras_transformer.training.workers_strategy()."
        )
