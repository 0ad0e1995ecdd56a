"""The figures of EVALB, for all sentences and for the short ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BracketScores:
    """EVALB's figures for a set of sentences. Shares are from 0 to 100.

    The counts come first, and the figures are properties. Figures about words and brackets leave out the sentences
    with an error and the skipped ones.

    Attributes:
        sentences: int, all sentences of the set.
        errors: int, those whose two trees are not over the same words.
        skipped: int, those whose hypothesis has no word that counts.
        matched, reference_brackets, hypothesis_brackets: int, labeled brackets.
        complete: int, sentences with all brackets right.
        crossings: int, brackets of hypotheses that cross one of the reference.
        uncrossed, little_crossed: int, sentences with no such bracket, and with two at most.
        tagged_words, right_tags: int, words whose hypothesis has a part-of-speech tag, and those with the right one.
    """

    sentences: int = 0
    errors: int = 0
    skipped: int = 0
    matched: int = 0
    reference_brackets: int = 0
    hypothesis_brackets: int = 0
    complete: int = 0
    crossings: int = 0
    uncrossed: int = 0
    little_crossed: int = 0
    tagged_words: int = 0
    right_tags: int = 0

    @property
    def valid(self) -> int:
        """Sentences that are scored."""
        return self.sentences - self.errors - self.skipped

    @property
    def recall(self) -> float:
        """Share of the reference's brackets that the hypotheses have."""
        return _percent(self.matched, self.reference_brackets)

    @property
    def precision(self) -> float:
        """Share of the hypotheses' brackets that the references have."""
        return _percent(self.matched, self.hypothesis_brackets)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return _percent(2 * self.matched, self.reference_brackets + self.hypothesis_brackets)

    @property
    def complete_match(self) -> float:
        """Share of sentences with all brackets right."""
        return _percent(self.complete, self.valid)

    @property
    def average_crossing(self) -> float:
        """Crossing brackets of a sentence, a number and no share."""
        return self.crossings / self.valid if self.valid else 0.0

    @property
    def no_crossing(self) -> float:
        """Share of sentences without a crossing bracket."""
        return _percent(self.uncrossed, self.valid)

    @property
    def two_or_less_crossing(self) -> float:
        """Share of sentences with at most two crossing brackets."""
        return _percent(self.little_crossed, self.valid)

    @property
    def tagging_accuracy(self) -> float | None:
        """Share of words with the right tag. None if no hypothesis has tags."""
        return _percent(self.right_tags, self.tagged_words) if self.tagged_words else None

    def __str__(self) -> str:
        return "\n".join(f"{name:<24}{value:>8}" for name, value in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """The figures under EVALB's names, as pairs of strings."""
        accuracy = self.tagging_accuracy
        return [
            ("Sentences", str(self.sentences)),
            ("Error sentences", str(self.errors)),
            ("Skipped sentences", str(self.skipped)),
            ("Valid sentences", str(self.valid)),
            ("Bracketing recall", f"{self.recall:.2f}"),
            ("Bracketing precision", f"{self.precision:.2f}"),
            ("Bracketing F1", f"{self.f1:.2f}"),
            ("Complete match", f"{self.complete_match:.2f}"),
            ("Average crossing", f"{self.average_crossing:.2f}"),
            ("No crossing", f"{self.no_crossing:.2f}"),
            ("2 or less crossing", f"{self.two_or_less_crossing:.2f}"),
            ("Tagging accuracy", "no tags" if accuracy is None else f"{accuracy:.2f}"),
        ]


@dataclass(frozen=True)
class TreeScores:
    """The result of `evaluate_trees`. `print` shows it as a table.

    Attributes:
        every: `BracketScores` of all sentences.
        short: `BracketScores` of those with at most `limit` words.
        limit: int, words.
        error_places: the places of the sentences with an error, from 0.
    """

    every: BracketScores
    short: BracketScores
    limit: int
    error_places: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"{'':<24}{'all':>12}{f'<= {self.limit} words':>16}"]
        for (name, value), (_, short) in zip(self.every.rows(), self.short.rows(), strict=True):
            lines.append(f"{name:<24}{value:>12}{short:>16}")
        return "\n".join(lines)


def _percent(part, whole):
    return 100 * part / whole if whole else 0.0
