"""Length normalisation of hypotheses' scores."""

from keras import ops


def length_penalty(length, alpha):
    """((5 + |Y|) / 6)^α, by which log P(Y|X) is divided (Wu et al. 2016, equation 14).

    Args:
        length: |Y|, tokens with END, any shape.
        alpha: α; 0 is no penalty, the paper's is 0.6.

    Returns:
        float32, of `length`'s shape.
    """
    return ops.power((5.0 + ops.cast(length, "float32")) / 6.0, alpha)
