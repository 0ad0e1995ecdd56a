"""Hints for XLA, which compiles a model on Keras' JAX backend. Elsewhere each function is what `keras.ops` offers.

XLA fuses elementwise computations, and repeats cheap ones for each reader instead of storing their results. That is
not always faster. Each function here was measured on a GPU, in training steps of the paper's base model.
"""

import keras
from keras import ops

MULTIPLE = 64  # a GPU multiplies matrices whose sizes are multiples of this as they are; XLA copies others first


def on_jax():
    """Whether Keras' backend is JAX, where XLA compiles whole functions."""
    return keras.backend.backend() == "jax"


def on_gpu():
    """Whether Keras' backend is JAX and runs on an accelerator."""
    if not on_jax():
        return False
    import jax

    return jax.default_backend() != "cpu"


def is_symbol(size):
    """Whether a size is only a name under JAX: Keras asks for shapes, or JAX compiles a function of all sizes."""
    return on_jax() and not isinstance(size, int)


def aligned(size):
    """`size`, on a GPU rounded up to a multiple of `MULTIPLE`."""
    return -(-size // MULTIPLE) * MULTIPLE if on_gpu() else size


def relu(x):
    """max(0, x). On JAX its gradient (reverse mode only) reads the result, so that XLA need not store `x` too."""
    if not on_jax():
        return ops.relu(x)

    @ops.custom_gradient
    def value(x):
        y = materialized(ops.relu(x))
        return y, lambda upstream: ops.where(ops.greater(y, 0), upstream, 0)

    return value(x)


def scale_or_zero(x, keep, scale):
    """`x` × `scale` where `keep` is True, else 0. On JAX, infinity and NaN become NaN instead of 0.

    XLA stores the gradient of a product. It would compute that of a selection again for each reader.
    """
    if on_jax():
        return x * ops.where(keep, scale, ops.zeros((), x.dtype))
    return ops.where(keep, x * scale, ops.zeros((), x.dtype))


def materialized(x):
    """The nest `x` on JAX, which XLA then stores in memory instead of computing it again for each reader."""
    import jax

    return jax.lax.optimization_barrier(x)
