"""Two aligned text files: reading them side by side, tokenising once, and counting what is kept."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

import tensorflow as tf
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from keras_transformer.files import BLANK, read_lines
from keras_transformer.ids import NUM_RESERVED, UNK

CHUNK = 1000  # lines tokenised at a time
CARRIAGE_RETURN = "a carriage return inside the line. Replace it with a space, or with a line end on both sides."
BAD_ID = "the tokenizer gave an id that is neither {unknown} (unknown) nor in {first}..{last}."


@dataclass(frozen=True)
class Counts:
    """What one corpus holds: {(source length, target length): kept pairs}, end marks included, and the rest."""

    lengths: Counter
    dropped_empty: int
    dropped_long: int


def file_pairs(source, target):
    """[(source path, target path)] from two paths or two lists of paths.

    Raises:
        ValueError: not as many source files as target files, or none.
    """
    source, target = ([files] if isinstance(files, str | Path) else list(files) for files in (source, target))
    if len(source) != len(target) or not source:
        raise ValueError(
            f"source and target must name as many files, at least one each; got {len(source)} and {len(target)}."
        )
    return [(Path(a), Path(b)) for a, b in zip(source, target, strict=True)]


def aligned_lines(source, target):
    """Yield the (source, target) lines of two files.

    Raises:
        ValueError: at the end, when one file has more lines than the other, or neither has any.
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
    """Read all files once, in bounded memory: count, and put the kept pairs into a `PairStore`.

    Returns:
        A list with the `Counts` of each pair of files, and the SHA-256 of all their lines as hexadecimal digits.

    Raises:
        ValueError: what `aligned_lines` refuses, bytes that are not UTF-8, a carriage return inside a line, ids
            outside the vocabulary or reserved; the file and the line are named.
        OSError: a file that cannot be read, or a full disk.
    """
    tokenize = _tokenize_graph(tokenizer, max_length)
    bad_id = BAD_ID.format(unknown=UNK, first=NUM_RESERVED, last=tokenizer.vocabulary_size - 1)
    counts, text = [], hashlib.sha256()
    with _progress() as progress:
        task = progress.add_task("counting", total=None)
        for paths in files:
            lines, done = aligned_lines(*paths), 0
            lengths, dropped_empty, dropped_long = Counter(), 0, 0
            while chunk := list(islice(lines, CHUNK)):
                sides = tuple(zip(*chunk, strict=True))
                _refuse(paths, sides, done, [["\r" in line for line in side] for side in sides], CARRIAGE_RETURN)
                ids, source, target, empty, long, bad = (part.numpy() for part in tokenize(*map(tf.constant, sides)))
                _refuse(paths, sides, done, bad.tolist(), bad_id)
                store.add(ids, source, target)
                dropped_empty += int(empty.sum())
                dropped_long += int(long.sum())
                lengths.update(zip((source + 1).tolist(), (target + 1).tolist(), strict=True))
                text.update("".join(f"{line}\n" for side in sides for line in side).encode())
                done += len(chunk)
                progress.update(task, advance=len(chunk))
            counts.append(Counts(lengths, dropped_empty, dropped_long))
    return counts, text.hexdigest()


def _tokenize_graph(tokenizer, max_length):
    """A graph function from the lines of both sides [N] to what is kept and what is not.

    It returns the ids of the kept pairs, each pair's source before its target, and their lengths without END, source
    [kept] and target [kept]; which pairs [N] have an empty side (nothing but white space, or no piece), and which
    others a side of more than `max_length` ids with END; which lines have a bad id [2, N].
    """

    def tokenize(source, target):
        sides = {"source": source, "target": target}
        pieces = [tf.cast(tokenizer.tokenize(lines, side=side), tf.int32) for side, lines in sides.items()]
        lengths = [side.row_lengths() for side in pieces]
        blank = tf.strings.regex_full_match(source, BLANK) | tf.strings.regex_full_match(target, BLANK)
        empty = blank | (tf.minimum(*lengths) == 0)
        long = ~empty & (tf.maximum(*lengths) + 1 > max_length)
        kept = tf.ragged.boolean_mask(tf.concat(pieces, axis=1), ~(empty | long))
        lengths = [tf.boolean_mask(side, ~(empty | long)) for side in lengths]
        bad = [_has_bad_id(side, tokenizer.vocabulary_size) for side in pieces]
        return kept.flat_values, *lengths, empty, long, tf.stack(bad)

    lines = tf.TensorSpec([None], tf.string)
    return tf.function(tokenize).get_concrete_function(lines, lines)


def _has_bad_id(pieces, vocabulary_size):
    """Which rows [N] hold an id that no piece may have."""
    good = (pieces == UNK) | ((pieces >= NUM_RESERVED) & (pieces < vocabulary_size))
    return tf.reduce_any(~good, axis=1)


def _refuse(paths, sides, done, bad, reason):
    """Raise ValueError for the first line marked in `bad`, naming its file and number; `done` lines came before."""
    for path, side, marks in zip(paths, sides, bad, strict=True):
        if True in marks:
            first = marks.index(True)
            raise ValueError(f"{path}, line {done + first + 1}: {reason} The line begins {side[first][:60]!r}.")


def _progress():
    """A counter on standard error, on a terminal only."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,} sentence pairs"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
