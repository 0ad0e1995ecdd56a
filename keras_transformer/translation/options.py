"""The options of a `Translator`, checked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, TypedDict

from keras_transformer.decoding.constraints import Constraint
from keras_transformer.decoding.penalties import LENGTH_NORMALIZATIONS
from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.tokenizers import side_of

INT32 = 2**31 - 1
HALF = 2**30  # a source of fewer tokens than this may gain as many: the sum is an int32
# Each option with its least and its greatest value.
INTEGERS = {
    "beam_size": (1, INT32),
    "max_extra_length": (0, HALF),
    "max_length": (1, INT32),
    "min_length": (0, INT32),
    "min_extra_length": (-HALF, HALF),
    "no_repeat_ngram": (0, INT32),
}
OPTIONAL = ("max_length", "min_extra_length")
# With these limits, the length divisor of a million tokens, 10^36, is finite in float32, and the coverage term of
# 20,000 source tokens stays far above UNREACHED.
NUMBERS = {"length_penalty": (0, 6), "coverage_penalty": (0, 1000)}
# Rules that know nothing of a constraint. Together they may leave a hypothesis no token.
WITHOUT_CONSTRAINT = ("min_length", "min_extra_length", "no_repeat_ngram", "suppress")


@dataclass(frozen=True)
class SearchOptions:
    """How a `Translator` searches.

    Lengths count END. If the most tokens of a translation are fewer than its fewest, the most tokens count.

    Args:
        beam_size: W, the hypotheses kept for each sentence; 1 is greedy search. The paper has 4.
        length_penalty: α of the length penalty, from 0 to 6. The paper has 0.6.
        max_extra_length: a translation has at most this many tokens more than its source. The paper has 50.
        length_normalization: "gnmt" is log P / ((5+|Y|)/6)^α as in the paper; "power" is log P / |Y|^α as in fairseq.
        coverage_penalty: β of the coverage penalty (Wu et al. 2016, equation 14), from 0 to 1000.
        max_length: the most tokens of a translation, whatever its source.
        min_length: the fewest tokens of a translation, whatever its source.
        min_extra_length: a translation has at least this many tokens more than its source, or fewer if negative.
        no_repeat_ngram: no sequence of this many tokens appears twice; 0 is no rule.
        suppress: pieces, by name or id, that never appear. "unk" is the unknown piece of every tokenizer. If a
            tokenizer has another piece with this name, give its id.
        replace_unknown: replace each unknown piece by the source word that it attends to most. A translation
            keeps its unknown pieces, and a warning is logged, if the source's pieces cannot be assigned to words.
        constraint: a `keras_transformer.decoding.Constraint`, which knows what may come next, or None. It works on ids
            of the tokenizer. It cannot go together with `min_length`, `min_extra_length`, `no_repeat_ngram` and
            `suppress`.
        shortlist: a `keras_transformer.translation.Shortlist`, the pieces that a search chooses among, or None for all.
            It cannot go together with a `constraint`, and `suppress` may then have "unk" only.

    Numbers of NumPy become numbers of Python.

    Raises:
        TypeError: an option of another type. Only `max_length` and `min_extra_length` may be None. `suppress` may
            not be a string, and holds only strings and ints. A `constraint` without one of the three functions.
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
    constraint: Constraint | None = None
    shortlist: Any = None

    def __post_init__(self):
        for name, limits in INTEGERS.items():
            if getattr(self, name) is not None or name not in OPTIONAL:
                self._set_number(name, Integral, int, limits)
        for name, limits in NUMBERS.items():
            self._set_number(name, Real, float, limits)
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
        if self.constraint is not None:
            self._check_constraint()
        if self.shortlist is not None:
            self._check_shortlist()

    def _check_constraint(self):
        if not isinstance(self.constraint, Constraint) or isinstance(self.constraint, type):
            raise TypeError(
                f"constraint must have the functions start, allowed and advance, got {shown(self.constraint)}. See "
                "keras_transformer.decoding.Constraint."
            )
        defaults = {field.name: field.default for field in fields(self)}
        for name in WITHOUT_CONSTRAINT:
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} and a constraint cannot go together: they could leave no token. "
                    "Drop one."
                )

    def _check_shortlist(self):
        if not hasattr(self.shortlist, "of_batch") or isinstance(self.shortlist, type):
            raise TypeError(
                f"shortlist must be a Shortlist, got {shown(self.shortlist)}. Read a file with Shortlist.load(path)."
            )
        if self.constraint is not None:
            raise ValueError("shortlist and constraint cannot go together: a constraint needs all pieces. Drop one.")
        if others := [entry for entry in self.suppress if entry not in ("unk", UNK)]:
            raise ValueError(f"suppress has {others[0]!r}: together with a shortlist it may have 'unk' only.")

    def as_keywords(self):
        """{name: value}, as the constructor takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def as_plain_values(self):
        """{name: value} for a file: a constraint is the name of its class, a shortlist its digest."""
        plain = asdict(replace(self, constraint=None, shortlist=None))
        if self.constraint is not None:
            kind = type(self.constraint)
            plain["constraint"] = f"{kind.__module__}.{kind.__name__}"
        if self.shortlist is None:
            del plain["shortlist"]  # files of before there were shortlists do not name it
        else:
            plain["shortlist"] = self.shortlist.digest
        return plain

    def _set_number(self, name, abstract_type, python_type, limits):
        """Check the value of an option, and set it as a number of Python."""
        value, (least, most) = getattr(self, name), limits
        if not isinstance(value, abstract_type) or isinstance(value, bool):
            noun = "an int" if python_type is int else "a number"
            raise TypeError(f"{name} must be {noun}, got {value!r}.")
        if not least <= value <= most:  # false for NaN
            raise ValueError(f"{name} must be from {least} to {most}, got {value}.")
        object.__setattr__(self, name, python_type(value))

    def limit(self, length, smaller=min):
        """The most tokens of a translation of a source of `length` tokens, END counted in both."""
        limit = length + self.max_extra_length
        return limit if self.max_length is None else smaller(limit, self.max_length)

    def minimum(self, length, larger=max):
        """The fewest tokens of a translation of a source of `length` tokens; None for no rule."""
        if self.min_extra_length is None:
            return self.min_length + 0 * length if self.min_length else None
        return larger(length + self.min_extra_length, self.min_length)


class MoreOptions(TypedDict, total=False):
    """The options that the constructor of `Translator` takes as `**more`, for type checkers."""

    length_normalization: str
    coverage_penalty: float
    max_length: int | None
    min_length: int
    min_extra_length: int | None
    no_repeat_ngram: int
    suppress: Iterable[str | int]
    replace_unknown: bool
    constraint: Any
    shortlist: Any


class AllOptions(MoreOptions, total=False):
    """The options that `Translator.load` takes, for type checkers."""

    beam_size: int
    length_penalty: float
    max_extra_length: int


def _piece_or_id(entry):
    if isinstance(entry, bool) or not isinstance(entry, str | Integral):
        raise TypeError(f"suppress must hold pieces, by name or id, got {entry!r}.")
    return entry if isinstance(entry, str) else int(entry)


def suppressed_ids(suppress, tokenizer):
    """The ids of `SearchOptions.suppress`, in order. They are ids of the target.

    Raises:
        ValueError: no such piece or id; or END, because no translation could end.
    """
    tokenizer = side_of(tokenizer, "target")
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size)))}
    ids["unk"] = UNK
    suppressed = set()
    for entry in suppress:
        token = ids.get(entry) if isinstance(entry, str) else entry
        if token not in range(tokenizer.vocabulary_size):
            raise ValueError(
                f"suppress has {entry!r}, which is no piece of the tokenizer. Its ids are from 0 to "
                f"{tokenizer.vocabulary_size - 1}."
            )
        if token == END:
            raise ValueError(f"suppress has {entry!r}, the end of a sentence. Without it no translation can end.")
        suppressed.add(int(token))
    return tuple(sorted(suppressed - {PAD, START}))
