"""The results of a `Translator`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence."""

    text: str
    score: float  # log P over the length penalty, plus the coverage penalty: the search ranks by it
    log_probability: float  # natural logarithm of P(translation | sentence), END included
    finished: bool  # False where the length limit cut it off
    tokens: tuple[str, ...] = ()  # its pieces, END included where it is finished; none for an empty sentence
    token_log_probabilities: tuple[float, ...] | None = None  # one for each token, if details were asked for


@dataclass(frozen=True)
class Score:
    """The score of a translation that was given."""

    score: float  # the search ranks by it
    log_probability: float  # natural logarithm of P(translation | sentence), END included
    tokens: tuple[str, ...]  # its pieces, END included; none for an empty translation of an empty sentence
    token_log_probabilities: tuple[float, ...]  # one for each token


# The translation of a blank sentence.
EMPTY = Hypothesis("", 0.0, 0.0, True)
