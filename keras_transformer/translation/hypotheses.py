"""What a `Translator` gives back beside strings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence."""

    text: str
    score: float  # log P / length penalty, what the search ranks by
    log_probability: float  # natural logarithm of P(translation | sentence), END included
    finished: bool  # False where the length limit cut it off
    tokens: tuple = ()  # the pieces, END included where it is finished; none for an empty sentence
    token_log_probabilities: tuple | None = None  # one a token, where details were asked for


@dataclass(frozen=True)
class Score:
    """What the models make of a given translation."""

    score: float  # what the search ranks by
    log_probability: float  # natural logarithm of P(translation | sentence), END included
    tokens: tuple  # the pieces, END included; none for an empty sentence without translation
    token_log_probabilities: tuple  # one a token
