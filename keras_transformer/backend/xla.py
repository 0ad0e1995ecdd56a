"""Hints to XLA, which compiles a model on Keras' JAX backend; elsewhere each function is what `keras.ops` offers.

XLA joins what is computed for each element, and computes what is cheap again for each of its readers. That is not
always faster: what is said of it here was measured on a GPU, in steps of the paper's base model.
"""

import keras
from keras import ops

MULTIPLE = 64  # rows and columns of matrices that products on a GPU read as they are; other matrices XLA copies first


def on_jax():
    """Whether Keras' backend is JAX, which XLA compiles as a whole."""
    return keras.backend.backend() == "jax"


def on_gpu():
    """Whether Keras' backend is JAX on something else than a processor."""
    if not on_jax():
        return False
    import jax

    return jax.default_backend() != "cpu"


def aligned(size):
    """`size`; on a GPU the next size that products read as it is."""
    return -(-size // MULTIPLE) * MULTIPLE if on_gpu() else size


def relu(x):
    """max(0, x). On JAX its gradient, in reverse mode alone, reads the result, so that XLA does not keep `x` too."""
    if not on_jax():
        return ops.relu(x)

    @ops.custom_gradient
    def value(x):
        y = written(ops.relu(x))
        return y, lambda upstream: ops.where(ops.greater(y, 0), upstream, 0)

    return value(x)


def kept(x, keep, scale):
    """`x` × `scale` where `keep`, else 0: dropout. On JAX what is infinite or NaN becomes NaN where it is dropped.

    XLA writes the gradient of a product to memory as it is; that of a selection it would multiply for each reader.
    """
    if on_jax():
        return x * ops.where(keep, scale, ops.zeros((), x.dtype))
    return ops.where(keep, x * scale, ops.zeros((), x.dtype))


def written(x):
    """The nest `x`, on JAX, which XLA then writes to memory instead of computing it again for each reader."""
    import jax

    return jax.lax.optimization_barrier(x)
