"""What a `Translator` may be asked for, checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

from keras_transformer.decoding.penalties import LENGTH_NORMALIZATIONS
from keras_transformer.ids import END, PAD, START, UNK

INT32 = 2**31 - 1
HALF = 2**30  # so many tokens more than a source of fewer than that are still an int32
# Option: its least and its greatest value.
INTEGERS = {
    "beam_size": (1, INT32),
    "max_extra_length": (0, HALF),
    "max_length": (1, INT32),
    "min_length": (0, INT32),
    "min_extra_length": (-HALF, HALF),
    "no_repeat_ngram": (0, INT32),
}
OPTIONAL = ("max_length", "min_extra_length")
# With these, the penalty of a million tokens, 10^36, is finite in float32, and the coverage of 20,000 source tokens
# costs less than what marks a hypothesis as UNREACHED.
NUMBERS = {"length_penalty": (0, 6), "coverage_penalty": (0, 1000)}


@dataclass(frozen=True)
class SearchOptions:
    """How a `Translator` searches.

    Lengths count the END of a sentence. Where a sentence's limit is below its minimum, the limit counts.

    Args:
        beam_size: W, hypotheses kept for each sentence; 1 is greedy search. The paper's is 4.
        length_penalty: α of the length penalty, from 0 to 6. The paper's is 0.6.
        max_extra_length: a translation has at most this many tokens more than its source. The paper's is 50.
        length_normalization: "gnmt", log P / ((5+|Y|)/6)^α as in the paper; "power", log P / |Y|^α as in fairseq.
        coverage_penalty: β of the coverage penalty (Wu et al. 2016, equation 14), from 0 to 1000.
        max_length: the most tokens of a translation, whatever its source.
        min_length: the fewest tokens of a translation, whatever its source.
        min_extra_length: a translation has at least this many tokens more than its source, or fewer if negative.
        no_repeat_ngram: no sequence of this many tokens comes twice; 0 is no rule.
        suppress: pieces, by name or id, that never appear; "unk" is the unknown piece of any tokenizer, also where
            another piece is spelled so, which its id names.
        replace_unknown: put the source word an unknown piece attends to most in its place.

    NumPy's numbers are taken too, and kept as Python's.

    Raises:
        TypeError: an option of another type; None for one other than `max_length` and `min_extra_length`; `suppress` a
            string, or with something in it that is neither a piece nor an id.
        ValueError: an option out of range, or two that contradict each other.
    """

    beam_size: int = 4
    length_penalty: float = 0.6
    max_extra_length: int = 50
    length_normalization: str = "gnmt"
    coverage_penalty: float = 0.0
    max_length: int | None = None
    min_length: int = 0
    min_extra_length: int | None = None
    no_repeat_ngram: int = 0
    suppress: tuple = ()
    replace_unknown: bool = False

    def __post_init__(self):
        for name, limits in INTEGERS.items():
            if getattr(self, name) is not None or name not in OPTIONAL:
                self._keep_number(name, Integral, int, limits)
        for name, limits in NUMBERS.items():
            self._keep_number(name, Real, float, limits)
        if not isinstance(self.replace_unknown, bool):
            raise TypeError(f"replace_unknown must be True or False, got {self.replace_unknown!r}.")
        if self.length_normalization not in LENGTH_NORMALIZATIONS:
            raise ValueError(
                f"length_normalization must be one of {LENGTH_NORMALIZATIONS}, got {self.length_normalization!r}."
            )
        if self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(f"min_length={self.min_length} is more than max_length={self.max_length}.")
        if self.min_extra_length is not None and self.min_extra_length > self.max_extra_length:
            raise ValueError(
                f"min_extra_length={self.min_extra_length} is more than max_extra_length={self.max_extra_length}."
            )
        if isinstance(self.suppress, str):
            raise TypeError(f"suppress must be a list of pieces or ids, got one string: write [{self.suppress!r}].")
        if not isinstance(self.suppress, Iterable):
            raise TypeError(f"suppress must be a list of pieces or ids, got {self.suppress!r}.")
        object.__setattr__(self, "suppress", tuple(_piece_or_id(entry) for entry in self.suppress))

    def _keep_number(self, name, kind, python, limits):
        """Put an option's value, a number of this `kind`, in its place as Python's type `python`, if it may be."""
        value, (least, most) = getattr(self, name), limits
        if not isinstance(value, kind) or isinstance(value, bool):
            noun = "an int" if python is int else "a number"
            raise TypeError(f"{name} must be {noun}, got {value!r}.")
        if not least <= value <= most:  # NaN is not
            raise ValueError(f"{name} must be from {least} to {most}, got {value}.")
        object.__setattr__(self, name, python(value))

    def limit(self, length, minimum=min):
        """The most tokens of a translation for a source of `length` tokens, END counted in both."""
        limit = length + self.max_extra_length
        return limit if self.max_length is None else minimum(limit, self.max_length)

    def least(self, length, maximum=max):
        """The fewest tokens of a translation for a source of `length` tokens; None for no rule."""
        if self.min_extra_length is None:
            return self.min_length + 0 * length if self.min_length else None
        return maximum(length + self.min_extra_length, self.min_length)


def _piece_or_id(entry):
    if isinstance(entry, bool) or not isinstance(entry, str | Integral):
        raise TypeError(f"suppress must hold pieces, by name or id, got {entry!r}.")
    return entry if isinstance(entry, str) else int(entry)


def suppressed_ids(suppress, tokenizer):
    """The ids of `SearchOptions.suppress`, in order.

    Raises:
        ValueError: no such piece or id, or END, without which no translation closes.
    """
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size)))}
    ids["unk"] = UNK
    found = set()
    for entry in suppress:
        token = ids.get(entry) if isinstance(entry, str) else entry
        if token not in range(tokenizer.vocabulary_size):
            raise ValueError(
                f"suppress has {entry!r}: no piece of the tokenizer, whose ids run from 0 to "
                f"{tokenizer.vocabulary_size - 1}."
            )
        if token == END:
            raise ValueError(f"suppress has {entry!r}, the end of a sentence: no translation would close.")
        found.add(int(token))
    return tuple(sorted(found - {PAD, START}))
