"""Two aligned text files: read them side by side, tokenize them once, and count the pairs."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

import tensorflow as tf
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from keras_transformer.console import safe_console
from keras_transformer.files import BLANK, read_lines
from keras_transformer.ids import NUM_RESERVED, UNK

CHUNK = 1000  # lines tokenized at a time
CARRIAGE_RETURN = "a carriage return inside the line. Replace it with a space, or with a line end in both files."
BAD_ID = "the tokenizer gave an id that is neither {unknown} (unknown) nor in {first}..{last}."


@dataclass(frozen=True)
class Counts:
    """The pairs of one corpus, counted.

    `lengths` maps (source length, target length) to a number of kept pairs. END counts in both lengths.
    """

    lengths: Counter
    dropped_empty: int
    dropped_long: int


def file_pairs(source, target):
    """Pair two paths, or two lists of paths: [(source path, target path)].

    Raises:
        ValueError: the numbers of source files and target files differ, or there are no files.
    """
    source, target = ([files] if isinstance(files, str | Path) else list(files) for files in (source, target))
    if len(source) != len(target) or not source:
        raise ValueError(
            "source and target must name the same number of files, at least one each; "
            f"got {len(source)} and {len(target)}."
        )
    return [(Path(a), Path(b)) for a, b in zip(source, target, strict=True)]


def aligned_lines(source, target):
    """Yield the (source, target) lines of two files.

    Raises:
        ValueError: one file has more lines than the other, or both have none. It is raised at the end.
    """
    sides = read_lines(source), read_lines(target)
    number = 0
    for number, pair in enumerate(zip_longest(*sides), start=1):
        if None in pair:
            longer = number + sum(1 for _ in chain(*sides))
            counts = [number - 1 if line is None else longer for line in pair]
            raise ValueError(
                f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}: they must be aligned line by line."
            )
        yield pair
    if not number:
        raise ValueError(f"{source} and {target} have no lines.")


def store_pairs(files, tokenizer, max_length, store):
    """Read all files once, in bounded memory: count the pairs, and put the kept pairs into a `PairStore`.

    Returns:
        A list with the `Counts` of each pair of files, and the SHA-256 of all lines in hexadecimal digits.

    Raises:
        ValueError: the two files of a pair are not aligned, a line is not UTF-8 or has a carriage return inside, or
            the tokenizer gives an id that is reserved or outside the vocabulary. The message names the file and the
            line.
        OSError: a file cannot be read, or the disk is full.
    """
    tokenize = _tokenize_graph(tokenizer, max_length)
    bad_id = BAD_ID.format(unknown=UNK, first=NUM_RESERVED, last=tokenizer.vocabulary_size - 1)
    counts, digest = [], hashlib.sha256()
    with _progress() as progress:
        task = progress.add_task("counting", total=None)
        for paths in files:
            lines, lines_before = aligned_lines(*paths), 0
            lengths, dropped_empty, dropped_long = Counter(), 0, 0
            while chunk := list(islice(lines, CHUNK)):
                sides = tuple(zip(*chunk, strict=True))
                has_return = [["\r" in line for line in side] for side in sides]
                _refuse_marked_lines(paths, sides, lines_before, has_return, CARRIAGE_RETURN)
                ids, source, target, empty, long, bad = (part.numpy() for part in tokenize(*map(tf.constant, sides)))
                _refuse_marked_lines(paths, sides, lines_before, bad.tolist(), bad_id)
                store.add(ids, source, target)
                dropped_empty += int(empty.sum())
                dropped_long += int(long.sum())
                lengths.update(zip((source + 1).tolist(), (target + 1).tolist(), strict=True))
                digest.update("".join(f"{line}\n" for side in sides for line in side).encode())
                lines_before += len(chunk)
                progress.update(task, advance=len(chunk))
            counts.append(Counts(lengths, dropped_empty, dropped_long))
    return counts, digest.hexdigest()


def _tokenize_graph(tokenizer, max_length):
    """A graph function from the source lines [N] and the target lines [N] to six tensors.

    It returns:
        ids: the ids of the kept pairs in one row, without END. In each pair the source comes before the target.
        source, target [kept]: how many of these ids each side of a kept pair has.
        empty [N]: which pairs have an empty side. A side is empty if it is only white space or gives no piece.
        long [N]: which other pairs have a side of more than `max_length` ids, END included.
        bad [2, N]: which source lines and which target lines have a bad id.
    """

    def tokenize(source, target):
        sides = {"source": source, "target": target}
        pieces = [tf.cast(tokenizer.tokenize(lines, side=side), tf.int32) for side, lines in sides.items()]
        lengths = [side.row_lengths() for side in pieces]
        blank = tf.strings.regex_full_match(source, BLANK) | tf.strings.regex_full_match(target, BLANK)
        empty = blank | (tf.minimum(*lengths) == 0)
        long = ~empty & (tf.maximum(*lengths) + 1 > max_length)
        keep = ~(empty | long)
        kept_ids = tf.ragged.boolean_mask(tf.concat(pieces, axis=1), keep).flat_values
        kept_lengths = [tf.boolean_mask(side, keep) for side in lengths]
        bad = [_has_bad_id(side, tokenizer.vocabulary_size) for side in pieces]
        return kept_ids, *kept_lengths, empty, long, tf.stack(bad)

    lines = tf.TensorSpec([None], tf.string)
    return tf.function(tokenize).get_concrete_function(lines, lines)


def _has_bad_id(pieces, vocabulary_size):
    """Which rows [N] have an id that is no piece's and not UNK."""
    good = (pieces == UNK) | ((pieces >= NUM_RESERVED) & (pieces < vocabulary_size))
    return tf.reduce_any(~good, axis=1)


def _refuse_marked_lines(paths, sides, lines_before, marks, reason):
    """Raise a ValueError for the first line that has a mark, with its file and its number.

    Args:
        paths: the two files.
        sides: the lines of a chunk, of the source file and of the target file.
        lines_before: how many lines of the files came before the chunk.
        marks: a list of bool for each side.
        reason: what is wrong with a marked line.
    """
    for path, lines, side_marks in zip(paths, sides, marks, strict=True):
        if True in side_marks:
            first = side_marks.index(True)
            raise ValueError(
                f"{path}, line {lines_before + first + 1}: {reason} The line begins {lines[first][:60]!r}."
            )


def _progress():
    """A counter of sentence pairs on standard error, which is shown only on a terminal."""
    console = safe_console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,} sentence pairs"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
