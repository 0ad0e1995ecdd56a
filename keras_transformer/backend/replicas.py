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


def check_scope(model):
    """Refuse a model that is compiled or fitted in another scope than the one it, or its optimizer, was made in.

    Raises:
        ValueError: the scopes differ, or the strategy's devices are not there. TensorFlow would wait for them for ever.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    here = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    # Not `iterations`: with `gradient_accumulation_steps` it is a tensor.
    made = {"model": model.variables[:1], "optimizer": model.optimizer.variables[:1] if model.optimizer else []}
    for what, variables in made.items():
        for variable in variables:
            there = compat.strategy_of(variable)
            if there is not here:
                raise ValueError(
                    f"the {what} was made {_scope(there)}, and is compiled {_scope(here)}. Make the model and the "
                    "optimizer, and call compile, in one `with strategy.scope():`."
                )
    if here is not None:
        _check_devices(here)


def check_scope_of_fit(model):
    """Refuse a call of `fit` in the scope of another strategy than the model's.

    Raises:
        ValueError: see above.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    here, there = tf.distribute.get_strategy(), compat.strategy_of(model.variables[0])
    if tf.distribute.has_strategy() and there is not here:
        raise ValueError(
            f"the model was made {_scope(there)}, and fit is called {_scope(here)}. Make and compile the model in "
            "`with strategy.scope():`, and call fit outside of it."
        )


def _scope(strategy):
    return "outside of a strategy's scope" if strategy is None else f"in the scope of a {type(strategy).__name__}"


def _check_devices(strategy):
    """Refuse a strategy over devices that this machine does not have.

    Raises:
        ValueError: the message names the devices.
    """
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return
    names = [device.name.rpartition("device:")[2] for device in tf.config.list_logical_devices()]
    wanted = [device.rpartition("device:")[2] for device in strategy.extended.worker_devices]
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(
            f"MirroredStrategy is to train on {', '.join(wanted)}, but there is no {', '.join(missing)}: this process "
            f"has {', '.join(names)}. Name these, or leave the names out to take every GPU."
        )


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
