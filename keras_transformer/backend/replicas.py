"""`tf.distribute` and `keras.distribution` for code that otherwise uses only `keras.ops`."""

import keras

from keras_transformer.backend import compat


def sum_over_replicas(x):
    """The sum of `x` over all replicas of a training step, without a gradient."""
    return sums_over_replicas([x])[0]


def sums_over_replicas(tensors):
    """The sum of each of a list of dense tensors over all replicas of a training step, without gradients.

    Inside a replica of a `tf.distribute` strategy this is an all-reduce. Elsewhere it is `tensors`: on the JAX backend
    arrays are global.
    """
    if keras.backend.backend() != "tensorflow" or not tensors:
        return tensors
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return compat.sum_over_replicas(context, tensors)


def num_replicas():
    """The number of replicas of the `tf.distribute` strategy in scope; 1 without a strategy."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_devices():
    """The number of devices over which `keras.distribution`, on JAX, distributes the rows of a batch."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def replicas_of(model):
    """The number of replicas that train a compiled model."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    return batch_devices()


def check_strategy(strategy):
    """Refuse a strategy of several machines that does not give each machine its own rows.

    Raises:
        ValueError: a strategy that `keras_transformer.training.workers_strategy` did not make.
    """
    import tensorflow as tf

    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several and strategy.num_replicas_in_sync > 1 and not hasattr(strategy, "shares_rows"):
        raise ValueError(
            f"{type(strategy).__name__} gives its machines different batches, not shares of the same batch. Make the "
            "strategy with keras_transformer.training.workers_strategy()."
        )
