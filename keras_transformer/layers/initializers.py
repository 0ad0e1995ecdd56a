"""First values of the kernels: Glorot's, smaller where a sub-layer adds to the residual."""

import keras


def glorot(gain=1.0):
    """Glorot's uniform distribution times `gain`: U(±gain·√(6 / (fan_in + fan_out)))."""
    return keras.initializers.VarianceScaling(scale=gain**2, mode="fan_avg", distribution="uniform")


def residual_gain(num_layers, norm):
    """The gain of the kernels W^V, W^O, W_1 and W_2 in a stack of N layers: (8N)^-¼ for post-norm, else 1.

    The paper does not say how its weights were drawn. In a post-norm stack LayerNorm(x + Sublayer(x))
    forgets x the faster, the larger the sub-layers' first outputs are; smaller ones keep the gradient
    alive down the stack. The exponent is that of DeepNet (Wang et al. 2022, section 3), whose factor on
    the residual is left out; what it brings stands in benchmarks/RESULTS.md.
    """
    return (8 * num_layers) ** -0.25 if norm == "post" else 1.0
