"""Two aligned corpora, in files or in memory: pair them, read them side by side, and check their texts."""

import re
from itertools import chain, zip_longest

from keras_transformer.readers.corpora import read_corpora, refuse_shared_pipes

_CODE = re.compile(r">>.*?<<")  # a target language before the text, as Marian's multilingual models have it


def corpus_pairs(source, target):
    """Pair what two arguments name: [(source `Corpus`, target `Corpus`)].

    Raises:
        ValueError: the numbers of source corpora and target corpora differ, there are none, two lists differ in length,
            or two corpora are the same pipe or iterator.
        TypeError: an argument is neither paths nor sentences.
        FileNotFoundError: a path in a list is no file.
    """
    sides = [read_corpora(name, value) for name, value in (("source", source), ("target", target))]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise ValueError(
            "source and target must name the same number of files, at least one each; "
            f"got {len(sides[0])} and {len(sides[1])}."
        )
    refuse_shared_pipes([*sides[0], *sides[1]])
    pairs = list(zip(*sides, strict=True))
    for pair in pairs:
        if all(not corpus.is_file and hasattr(corpus.texts, "__len__") for corpus in pair):
            counts = [len(corpus.texts) for corpus in pair]
            if counts[0] != counts[1]:
                raise _unequal(pair, counts)
    return pairs


def aligned_texts(source, target):
    """Yield the (source, target) texts of two corpora.

    Raises:
        ValueError: one corpus has more texts than the other, or both have none. It is raised at the end.
    """
    sides = source.read(), target.read()
    number = 0
    for number, pair in enumerate(zip_longest(*sides), start=1):
        if None in pair:
            longer = number + sum(1 for _ in chain(*sides))
            raise _unequal((source, target), [number - 1 if text is None else longer for text in pair])
        yield pair
    if not number:
        raise ValueError(f"{source.name} and {target.name} have no {source.unit}.")


def _unequal(pair, counts):
    source, target = pair
    unit = "" if source.unit == target.unit else f" {target.unit}"
    return ValueError(
        f"{source.name} has {counts[0]:,} {source.unit} and {target.name} has {counts[1]:,}{unit}: "
        f"they must be aligned {'line by line' if source.is_file else 'one by one'}."
    )


def check_texts(pair, sides, before, codes):
    """Refuse the first text that no corpus may have.

    Args:
        pair: the two corpora.
        sides: the texts of a chunk, of the source and of the target.
        before: how many texts came before the chunk.
        codes: the target languages that a source can begin with, if the tokenizer has any.

    Raises:
        ValueError: a text has a line break inside or half a surrogate pair, or begins with an unknown target language.
            The message names the file and the line, or the argument and the place.
    """
    for corpus, texts in zip(pair, sides, strict=True):
        corpus.check_texts(texts, before, " in both files")
    if codes:
        found = [_CODE.match(text) for text in sides[0]]
        marks = [bool(code) and code[0] not in codes for code in found]
        known = ", ".join(codes)
        reason = f"it begins with a target language that the tokenizer does not have. It has {known}."
        refuse_marked(pair, sides, before, [marks, [False] * len(marks)], [reason] * 2)


def refuse_marked(pair, sides, before, marks, reasons):
    """Raise a ValueError for the first text that has a mark, with its place.

    Args:
        pair, sides, before: as in `check_texts`.
        marks: a list of bool for each side.
        reasons: what is wrong with a marked text, for each side.
    """
    for corpus, texts, side_marks, reason in zip(pair, sides, marks, reasons, strict=True):
        if True in side_marks:
            first = side_marks.index(True)
            corpus.refuse(before + first, texts[first], reason)
