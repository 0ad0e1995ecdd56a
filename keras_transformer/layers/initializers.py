"""Initial values of the kernels: Glorot's, and smaller ones where a sub-layer adds to the residual."""

import keras


def glorot(gain=1.0):
    """Glorot's uniform distribution times `gain`: U(±gain·√(6 / (fan_in + fan_out)))."""
    return keras.initializers.VarianceScaling(scale=gain**2, mode="fan_avg", distribution="uniform")


def residual_gain(num_layers, norm):
    """The gain of W^V, W^O, W_1 and W_2 in a stack of N layers: (8N)^-¼ for post-norm, 1 for pre-norm.

    The paper does not say how its weights were initialized. In a post-norm stack, LayerNorm(x + Sublayer(x)) forgets x
    faster when the sub-layer's output is larger. Small initial outputs let the gradient reach the lowest layers. The
    exponent is that of DeepNet (Wang et al. 2022, section 3), which also scales the residual; we do not. The effect is
    measured in benchmarks/RESULTS.md.
    """
    return (8 * num_layers) ** -0.25 if norm == "post" else 1.0
