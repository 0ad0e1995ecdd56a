"""What a search returns."""

from typing import Any, NamedTuple


class Hypotheses(NamedTuple):
    """W hypotheses for each of B sentences, best first."""

    ids: Any  # (B, W, L) int32: tokens without START, closed by END where finished, then padding
    scores: Any  # (B, W) float32: log P / length penalty; UNREACHED where there is no hypothesis
    log_probabilities: Any  # (B, W) float32: log P of the tokens, END included
    finished: Any  # (B, W) bool: False where the length limit cut the hypothesis off


# The score of a hypothesis that does not exist; finite, so that no arithmetic makes a NaN of it.
UNREACHED = -1e9
