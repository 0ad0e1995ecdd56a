"""Layer normalization with its gradient written out."""

import keras
from keras import ops


def layer_norm(x, gamma, beta, epsilon):
    """γ·(x - mean) / √(variance + ε) + β over the last axis, in float32.

    With n the normalised x and d = γ·upstream, its gradient is (d - mean d - n·mean(d·n)) / √(variance + ε).
    Written out it takes less than half of the passes over x that automatic differentiation does.

    Args:
        x: (..., D), any floating dtype.
        gamma, beta: (D,) float32.
        epsilon: ε.

    Returns:
        (..., D), in the dtype of `x`.
    """

    @ops.custom_gradient
    def value(x, gamma, beta):
        centred = ops.cast(x, "float32")
        centred = centred - ops.mean(centred, axis=-1, keepdims=True)
        scale = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
        normalised = centred * scale

        def gradient(*args, upstream=None):
            upstream = ops.cast(args[0] if upstream is None else upstream, "float32")
            along = upstream * normalised
            rows = tuple(range(len(x.shape) - 1))
            offset = ops.mean(upstream * gamma, axis=-1, keepdims=True)
            slope = ops.mean(along * gamma, axis=-1, keepdims=True)
            towards_x = (upstream * gamma - offset - normalised * slope) * scale
            return ops.cast(towards_x, x.dtype), ops.sum(along, axis=rows), ops.sum(upstream, axis=rows)

        return ops.cast(normalised * gamma + beta, x.dtype), gradient

    return value(x, ops.copy(gamma), ops.copy(beta))  # tensors: tf.custom_gradient treats variables otherwise


class LayerNormalization(keras.layers.LayerNormalization):
    """Keras' layer over the last axis; in training it computes `layer_norm`."""

    def call(self, x, training=False):
        if not training:
            return super().call(x)
        return ops.cast(layer_norm(x, self.gamma, self.beta, self.epsilon), self.compute_dtype)
