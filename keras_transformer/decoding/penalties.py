"""How hypotheses of unlike length and coverage are compared."""

from keras import ops

LENGTH_PENALTIES = ("gnmt", "power")


def check_length_penalty(alpha, kind):
    """Refuse an α below 0, with which a longer hypothesis could only lose, and an unknown kind."""
    if alpha < 0:
        raise ValueError(f"alpha, the length penalty's weight, must not be negative, got {alpha}.")
    if kind not in LENGTH_PENALTIES:
        raise ValueError(f"length must be one of {LENGTH_PENALTIES}, got {kind!r}.")


def length_penalty(length, alpha, kind="gnmt"):
    """What log P(Y|X) is divided by.

    Args:
        length: |Y|, tokens with END, any shape.
        alpha: α; 0 is no penalty, the paper's is 0.6.
        kind: "gnmt" is ((5 + |Y|) / 6)^α (Wu et al. 2016, equation 14), which the paper uses;
            "power" is |Y|^α, as in fairseq, where α = 1 makes the score a mean.

    Returns:
        float32, of `length`'s shape.
    """
    check_length_penalty(alpha, kind)
    length = ops.cast(length, "float32")
    return ops.power((5.0 + length) / 6.0 if kind == "gnmt" else length, alpha)


def coverage_penalty(coverage, beta):
    """β·Σ_s log(min(Σ_t attention(t, s), 1)), added to the score (Wu et al. 2016, equation 14).

    Args:
        coverage: (..., S) float32, the attention each source token got so far, at least 1 at padding.
        beta: β ≥ 0.

    Returns:
        (...,) float32, at most 0.
    """
    return beta * ops.sum(ops.log(ops.clip(coverage, 1e-9, 1.0)), axis=-1)
