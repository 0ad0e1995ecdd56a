"""The length penalty and the coverage penalty, which make the scores of hypotheses comparable."""

from keras import ops

LENGTH_NORMALIZATIONS = ("gnmt", "power")


def check_length_penalty(length_penalty, length_normalization):
    """Raise ValueError for a negative length penalty or an unknown normalization.

    With a negative one, longer hypotheses would get a smaller divisor. The beam search could then stop too early.
    """
    if length_penalty < 0:
        raise ValueError(f"length_penalty must not be negative, got {length_penalty}.")
    if length_normalization not in LENGTH_NORMALIZATIONS:
        raise ValueError(f"length_normalization must be one of {LENGTH_NORMALIZATIONS}, got {length_normalization!r}.")


def length_divisor(length, length_penalty, length_normalization="gnmt"):
    """The number that log P(Y|X) is divided by to give the score.

    Args:
        length: |Y|, the tokens with END, of any shape.
        length_penalty: α; 0 is no penalty, the paper's is 0.6.
        length_normalization: "gnmt" is ((5 + |Y|) / 6)^α (Wu et al. 2016, equation 14), as in the paper.
            "power" is |Y|^α, as in fairseq; with α = 1 the score is the mean over the tokens.

    Returns:
        float32, of `length`'s shape.

    Raises:
        ValueError: a negative `length_penalty`, or an unknown `length_normalization`.

    Example:
        ```python
        import numpy as np
        from keras_transformer.decoding import length_divisor

        log_probabilities = np.array([-2.0, -2.5])
        print(log_probabilities / length_divisor(np.array([1, 7]), length_penalty=0.6))
        ```
    """
    check_length_penalty(length_penalty, length_normalization)
    length = ops.cast(length, "float32")
    return ops.power((5.0 + length) / 6.0 if length_normalization == "gnmt" else length, length_penalty)


def coverage_term(coverage, coverage_penalty):
    """β·Σ_s log(min(Σ_t attention(t, s), 1)), which is added to the score (Wu et al. 2016, equation 14).

    Args:
        coverage: (..., S) float32, the attention that each source token has received. It is at least 1 at padding.
        coverage_penalty: β ≥ 0.

    Returns:
        (...,) float32, at most 0.
    """
    return coverage_penalty * ops.sum(ops.log(ops.clip(coverage, 1e-9, 1.0)), axis=-1)
