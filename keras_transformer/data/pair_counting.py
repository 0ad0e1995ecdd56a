"""Tokenize two aligned corpora once, store the ids of the kept pairs, and count all pairs."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice

import tensorflow as tf
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from keras_transformer.console import safe_console
from keras_transformer.data.aligned_texts import aligned_texts, check_texts, refuse_marked
from keras_transformer.data.exchanged import refuse_exchanged
from keras_transformer.data.fit import FitCounter
from keras_transformer.ids import NUM_RESERVED, UNK
from keras_transformer.inputs.blank import BLANK
from keras_transformer.inputs.tokenizers import SIDES, side_of, vocabulary_sizes

CHUNK = 1000  # pairs tokenized at a time
BAD_ID = "the tokenizer gave an id that is neither {unknown} (unknown) nor in {first}..{last}."


@dataclass(frozen=True)
class Counts:
    """The pairs of one corpus, counted.

    Attributes:
        lengths: for each segmentation a counter, from (source length, target length) to a number of kept pairs. END
            counts in both lengths.
        dropped_empty, dropped_long: how many pairs were left out.
        fits: the `Fit` of the source and of the target.
        copies: how many pairs have the same text on both sides.
    """

    lengths: tuple
    dropped_empty: int
    dropped_long: int
    fits: tuple
    copies: int

    @property
    def kept(self):
        """How many pairs were kept."""
        return self.lengths[0].total()


def store_pairs(corpora, tokenizer, max_length, segmentations, store):
    """Read all corpora once, in bounded memory: count the pairs, and put the kept pairs into a `PairStore`.

    The store gets all segmentations of a pair one after another.

    Args:
        corpora: [(source `Corpus`, target `Corpus`)].
        tokenizer, max_length: see `parallel_corpus`.
        segmentations: `Segmentations`.
        store: a `PairStore`.

    Returns:
        A list with the `Counts` of each pair of corpora, and the SHA-256 of all texts in hexadecimal digits.

    Raises:
        ValueError: the two corpora of a pair are not aligned, a text is not allowed (see `check_texts`) or not UTF-8,
            or the tokenizer gives an id that is reserved or outside the vocabulary, or the tokenizers of a pair are
            exchanged. The message names the file and the line, or the argument and the place.
        TypeError: an item of a list is no string.
        OSError: a file cannot be read, or the disk is full.
    """
    tokenize = _tokenize_graph(tokenizer, max_length)
    sizes = vocabulary_sizes(tokenizer).values()
    bad_ids = [BAD_ID.format(unknown=UNK, first=NUM_RESERVED, last=size - 1) for size in sizes]
    codes = getattr(tokenizer, "language_codes", ())
    counts, digest = [], hashlib.sha256()
    with _progress() as progress:
        task = progress.add_task("counting", total=None)
        for pair in corpora:
            texts, before = aligned_texts(*pair), 0
            lengths = tuple(Counter() for _ in range(segmentations.number))
            dropped_empty, dropped_long, copies, fits = 0, 0, 0, (FitCounter(), FitCounter())
            while chunk := list(islice(texts, CHUNK)):
                sides = tuple(zip(*chunk, strict=True))
                check_texts(pair, sides, before, codes)
                if not before:
                    refuse_exchanged(pair, sides, tokenizer)
                found = {name: part.numpy() for name, part in tokenize(*map(tf.constant, sides)).items()}
                refuse_marked(pair, sides, before, found["bad"].tolist(), bad_ids)
                drawn = segmentations.draw(found["ids"], found["source"], found["target"])
                store.add(*drawn)
                for number, counter in enumerate(lengths):
                    sizes_of_pairs = [(side[number :: len(lengths)] + 1).tolist() for side in drawn[1:]]
                    counter.update(zip(*sizes_of_pairs, strict=True))
                dropped_empty += int(found["empty"].sum())
                dropped_long += int(found["long"].sum())
                copies += sum(one == other and bool(one) for one, other in chunk)
                for fit, side, pieces, fallback in zip(fits, sides, found["pieces"], found["fallback"], strict=True):
                    fit.add(side, pieces, fallback)
                digest.update("".join(f"{text}\n" for side in sides for text in side).encode())
                before += len(chunk)
                progress.update(task, advance=len(chunk))
            counts.append(Counts(lengths, dropped_empty, dropped_long, tuple(fit.result() for fit in fits), copies))
    return counts, digest.hexdigest()


def _tokenize_graph(tokenizer, max_length):
    """A graph function from the source texts [N] and the target texts [N] to a dictionary of tensors.

    - ids: the ids of the kept pairs in one row, without END. In each pair the source comes before the target.
    - source, target [kept]: how many of these ids each side of a kept pair has.
    - empty [N]: which pairs have an empty side. A side is empty if it is blank or gives no piece.
    - long [N]: which other pairs have a side of more than `max_length` ids, END included.
    - bad [2, N]: which source texts and which target texts have a bad id.
    - pieces, fallback [2, N]: how many pieces each text has, and how many of them are bytes or UNK.
    """
    sizes = list(vocabulary_sizes(tokenizer).values())
    are_fallback = [_fallback_table(side_of(tokenizer, side)) for side in SIDES]

    def tokenize(source, target):
        sides = {"source": source, "target": target}
        pieces = [tf.cast(tokenizer.tokenize(texts, side=side), tf.int32) for side, texts in sides.items()]
        lengths = [side.row_lengths() for side in pieces]
        blank = tf.strings.regex_full_match(source, BLANK) | tf.strings.regex_full_match(target, BLANK)
        empty = blank | (tf.minimum(*lengths) == 0)
        long = ~empty & (tf.maximum(*lengths) + 1 > max_length)
        keep = ~(empty | long)
        kept_lengths = [tf.boolean_mask(side, keep) for side in lengths]
        marked = [  # a bad id is outside the table
            tf.gather(table, side.with_values(tf.clip_by_value(side.values, 0, size - 1)))
            for side, table, size in zip(pieces, are_fallback, sizes, strict=True)
        ]
        return {
            "ids": tf.ragged.boolean_mask(tf.concat(pieces, axis=1), keep).flat_values,
            "source": kept_lengths[0],
            "target": kept_lengths[1],
            "empty": empty,
            "long": long,
            "bad": tf.stack([_has_bad_id(*side) for side in zip(pieces, sizes, strict=True)]),
            "pieces": tf.stack(lengths),
            "fallback": tf.stack([tf.reduce_sum(side, axis=1) for side in marked]),
        }

    texts = tf.TensorSpec([None], tf.string)
    return tf.function(tokenize, autograph=False).get_concrete_function(texts, texts)


def _fallback_table(tokenizer):
    """A 1 for each id of a tokenizer that is a byte or UNK, and a 0 for each other: [V] int32."""
    fallback_ids = tf.constant(getattr(tokenizer, "fallback_ids", (UNK,)), tf.int32)
    return tf.scatter_nd(fallback_ids[:, None], tf.ones_like(fallback_ids), [tokenizer.vocabulary_size])


def _has_bad_id(pieces, vocabulary_size):
    """Which rows [N] have an id that is no piece's and not UNK."""
    good = (pieces == UNK) | ((pieces >= NUM_RESERVED) & (pieces < vocabulary_size))
    return tf.reduce_any(~good, axis=1)


def _progress():
    """A counter of sentence pairs on standard error, which is shown only on a terminal."""
    console = safe_console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,} sentence pairs"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
