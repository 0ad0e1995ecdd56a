"""What a training runs on: processors, GPUs, machines, and their memory."""

import contextlib
import json
import os
from types import SimpleNamespace

from keras_transformer_cli.screen import say


def workers():
    """The strategy of all machines that TF_CONFIG names, or None if it names none or only this one.

    It must come before anything else uses TensorFlow.

    Raises:
        ValueError: TF_CONFIG names several, and the backend is another than TensorFlow.
    """
    import keras

    named, backend = named_workers(), keras.backend.backend()
    if len(named) < 2:
        return None
    if backend != "tensorflow":
        raise ValueError(
            f"TF_CONFIG names {len(named)} machines, and a training on {backend} uses one. Unset TF_CONFIG, or set "
            "KERAS_BACKEND=tensorflow."
        )
    from keras_transformer.training import workers_strategy

    strategy = workers_strategy()
    say(f"Training on {len(named)} machines.")
    return strategy


def meet(strategy):
    """Wait for all machines. If one ended before the others, they would report it as a failure."""
    from keras_transformer.training.workers import broadcast

    broadcast(strategy, None, None)


def named_workers():
    """The addresses in TF_CONFIG. Some platforms set it for a single process, without any."""
    try:
        return json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", [])
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG={os.environ['TF_CONFIG']!r} cannot be read: {error}. Mend it or unset it."
        ) from error


def all_gpus():
    """A strategy over all GPUs of this machine, if there are several and TensorFlow is the backend."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return SimpleNamespace(scope=contextlib.nullcontext)
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) < 2:
        return tf.distribute.get_strategy()
    say(f"Training on {len(gpus)} GPUs.")
    return tf.distribute.MirroredStrategy()


def make_deterministic():
    """Let TensorFlow take only kernels that give the same bits in each run."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def device_memory():
    """The bytes of the device that Keras trains on, or None: TensorFlow does not say how large a GPU is."""
    import keras

    from keras_transformer_cli.settings import has_accelerator

    if not has_accelerator():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if keras.backend.backend() == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return None
