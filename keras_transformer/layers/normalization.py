"""Layer normalization (Ba et al. 2016), with its gradient in closed form."""

import keras
from keras import ops

from keras_transformer.backend.gradients import custom_gradient
from keras_transformer.backend.xla import materialized, on_jax


def standardize(x, epsilon):
    """n = (x - mean) / √(variance + ε) over the last axis, the mean, and 1 / √(variance + ε); all in float32."""
    centered = ops.cast(x, "float32")
    mean = ops.mean(centered, axis=-1, keepdims=True)
    centered = centered - mean
    scale = ops.rsqrt(ops.mean(ops.square(centered), axis=-1, keepdims=True) + epsilon)
    return centered * scale, mean, scale


def layer_norm(x, gamma, beta, epsilon):
    """γ·(x - mean) / √(variance + ε) + β over the last axis, in float32.

    Let n be the standardized x, and d = γ·upstream. The gradient is (d - mean d - n·mean(d·n)) / √(variance + ε).
    This formula passes over x less than half as often as automatic differentiation does.

    Args:
        x: (..., D), any floating dtype.
        gamma, beta: (D,), any floating dtype.
        epsilon: ε.

    Returns:
        (..., D), in the dtype of `x`.
    """

    @custom_gradient
    def value(x, gamma, beta):
        normal, mean, scale = standardize(x, epsilon)

        def gradient(*args, upstream=None):
            given = args[0] if upstream is None else upstream
            upstream = ops.cast(given, "float32")
            along = upstream * normal
            rows = tuple(range(len(x.shape) - 1))
            offset = ops.mean(upstream * gamma, axis=-1, keepdims=True)
            slope = ops.mean(along * gamma, axis=-1, keepdims=True)
            to_x = (upstream * gamma - offset - normal * slope) * scale
            if on_jax():  # else XLA stores `along` in float32 for these sums and for those above
                again, upstream, *statistics = materialized((x, given, mean, scale))
                upstream = ops.cast(upstream, "float32")
                along = upstream * (ops.cast(again, "float32") - statistics[0]) * statistics[1]
            return ops.cast(to_x, x.dtype), ops.sum(along, axis=rows), ops.sum(upstream, axis=rows)

        return ops.cast(normal * gamma + beta, x.dtype), gradient

    # `tf.custom_gradient` treats variables differently, so it gets tensors.
    return value(x, *(ops.cast(ops.copy(weight), "float32") for weight in (gamma, beta)))


@keras.saving.register_keras_serializable(package="keras_transformer")
class LayerNormalization(keras.layers.LayerNormalization):
    """Keras' layer over the last axis. In training it computes `layer_norm`, elsewhere the same value."""

    def call(self, x, training=False):
        if training:
            return ops.cast(layer_norm(x, self.gamma, self.beta, self.epsilon), self.compute_dtype)
        gamma, beta = (ops.cast(weight, "float32") for weight in (self.gamma, self.beta))
        return ops.cast(standardize(x, self.epsilon)[0] * gamma + beta, self.compute_dtype)
