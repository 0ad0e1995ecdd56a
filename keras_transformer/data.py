"""Two aligned text files in, padded batches of a fixed token budget out."""

import logging
import operator
from dataclasses import dataclass
from functools import reduce

import tensorflow as tf

from keras_transformer.buckets import choose_shapes
from keras_transformer.corpus import CHUNK, aligned_lines, count_pairs, file_pairs, tokenize_pairs
from keras_transformer.ids import END, PAD, START

BATCH_SHUFFLE = 64  # batches held back so that their shapes come in random order
PARALLEL_CALLS = 4

logger = logging.getLogger("keras_transformer")


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds, what was left out of it, and how it is padded.

    Tokens are those of the kept pairs, the end mark of each sentence included; positions are all places of an epoch's
    batches, padding included. `shapes` holds a (source length, target length, rows) for each padded shape.
    """

    pairs: int
    kept: int
    dropped_empty: int
    dropped_long: int
    max_length: int
    source_tokens: int
    target_tokens: int
    source_positions: int
    target_positions: int
    shapes: tuple
    batches: int

    @property
    def source_padding(self):
        """Padding positions for each source token."""
        return self.source_positions / self.source_tokens - 1

    @property
    def target_padding(self):
        """Padding positions for each target token."""
        return self.target_positions / self.target_tokens - 1

    @property
    def dropped(self):
        """How many pairs were left out and why, in words."""
        return (
            f"{self.dropped_empty:,} with an empty side, "
            f"{self.dropped_long:,} with a side of more than max_length={self.max_length} ids"
        )

    def __str__(self):
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return (
            f"{self.kept:,} of {self.pairs:,} sentence pairs kept; left out: {self.dropped}\n"
            f"{self.source_tokens:,} source and {self.target_tokens:,} target tokens, end marks included\n"
            f"{self.batches:,} batches an epoch, {self.target_tokens / self.batches:,.0f} target tokens in each\n"
            f"padding adds {self.source_padding:.1%} to the source and {self.target_padding:.1%} to the target tokens\n"
            f"{len(self.shapes)} shapes (source x target x rows): {shapes}"
        )


def read_pairs(source, target):
    """Read a small aligned corpus, such as a test set, as a list of (source, target) strings; nothing is left out.

    Args:
        source, target: a path, or lists of as many paths; plain or `.gz`.

    Raises:
        ValueError: files of different line counts, files without lines, or bytes that are not UTF-8.
        OSError: a file that cannot be read.
    """
    return [pair for files in file_pairs(source, target) for pair in aligned_lines(*files)]


def parallel_corpus(
    source,
    target,
    tokenizer,
    *,
    tokens_per_batch=8192,
    max_length=256,
    num_shapes=12,
    shuffle=True,
    seed=0,
    shuffle_buffer=200_000,
    rows_multiple=8,
):
    """Stream two aligned text files as batches for `Transformer.fit`.

    The files are read once when this is called, to count: a pair with an empty side or an over-long one is left out,
    counted and logged. From the counts a few padded shapes are chosen so that least is padded, and the number of
    batches of an epoch is known exactly: `dataset.cardinality()`. Each epoch then streams the files, in bounded
    memory.

    With `shuffle`, pairs pass through a buffer of `shuffle_buffer` and batches through a small one. Each epoch has an
    order of its own, and a new dataset with the same seed (under the same global seed of TensorFlow, if one is set)
    repeats the same epochs. Without `shuffle`, pairs keep the order of the files within each shape.

    Args:
        source, target: a path, or lists of as many paths; plain or `.gz`, UTF-8, one sentence a line.
        tokenizer: has `vocabulary_size`, and `tokenize(strings, side)`: strings [N] and "source" or "target" -> ragged
            int32 ids [N, None] without end marks.
        tokens_per_batch: rows x the longer padded side of a batch are at most this many.
        max_length: longest side of a pair in ids, its end mark included.
        num_shapes: the most padded shapes to use.
        rows_multiple: the rows of a batch are a multiple of it, so that 2, 4 or 8 replicas share them evenly; where
            the budget does not hold that many, they are a power of two.

    Returns:
        A `tf.data.Dataset` of `({"source": (B, S), "target": (B, T)}, labels (B, T))`, all int32: source pieces + END,
        START + target pieces, target pieces + END, filled with PAD. Each batch has exactly one of the chosen shapes;
        the last of a shape is filled with rows of PAD alone. Its attribute `report` is a `CorpusReport`.

    Raises:
        ValueError: a bad argument; files of different line counts or without lines; bytes that are not UTF-8; a
            carriage return inside a line; ids that are reserved or outside the vocabulary; no pair left; a kept
            sentence longer than `tokens_per_batch`.
        OSError: a file that cannot be read.
    """
    sizes = {"tokens_per_batch": tokens_per_batch, "max_length": max_length, "num_shapes": num_shapes}
    _check_sizes(**sizes, shuffle_buffer=shuffle_buffer, rows_multiple=rows_multiple)
    files = file_pairs(source, target)
    counts = count_pairs(files, tokenizer, max_length)
    _check_longest(counts, tokens_per_batch, max_length)
    shapes, shape_pairs = choose_shapes(counts.lengths, tokens_per_batch, num_shapes, rows_multiple)
    report = _report(counts, shapes, shape_pairs, max_length)
    logger.info("%s", report)
    if report.kept < report.pairs:
        logger.warning("%d of %d sentence pairs left out: %s", report.pairs - report.kept, report.pairs, report.dropped)

    dataset = _line_pairs(files)
    if shuffle:
        dataset = dataset.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=True)
    dataset = _batches(dataset, tokenizer, max_length, shapes)
    if shuffle:
        dataset = dataset.shuffle(BATCH_SHUFFLE, seed=seed, reshuffle_each_iteration=True)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(report.batches)).prefetch(tf.data.AUTOTUNE)
    dataset.report = report
    return dataset


def _check_sizes(**sizes):
    for name, value in sizes.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _check_longest(counts, tokens_per_batch, max_length):
    longest = max(map(max, counts.lengths), default=0)
    if not longest:
        raise ValueError(
            f"No sentence pair is left: {counts.dropped_empty:,} have an empty side, {counts.dropped_long:,} have a "
            f"side of more than max_length={max_length} ids. Check the files, or raise max_length."
        )
    if tokens_per_batch < longest:
        raise ValueError(
            f"tokens_per_batch={tokens_per_batch} cannot hold the longest sentence, {longest} ids with its end mark. "
            f"Raise tokens_per_batch, or lower max_length={max_length}."
        )


def _report(counts, shapes, shape_pairs, max_length):
    kept = counts.lengths.total()
    batches = [-(-pairs // shape.rows) for pairs, shape in zip(shape_pairs, shapes, strict=True)]
    rows = [number * shape.rows for number, shape in zip(batches, shapes, strict=True)]
    return CorpusReport(
        pairs=kept + counts.dropped_empty + counts.dropped_long,
        kept=kept,
        dropped_empty=counts.dropped_empty,
        dropped_long=counts.dropped_long,
        max_length=max_length,
        source_tokens=sum(source * pairs for (source, _), pairs in counts.lengths.items()),
        target_tokens=sum(target * pairs for (_, target), pairs in counts.lengths.items()),
        source_positions=sum(number * shape.source for number, shape in zip(rows, shapes, strict=True)),
        target_positions=sum(number * shape.target for number, shape in zip(rows, shapes, strict=True)),
        shapes=shapes,
        batches=sum(batches),
    )


def _line_pairs(files):
    """Dataset of (source line, target line)."""
    sides = []
    for paths in zip(*files, strict=True):
        parts = [tf.data.TextLineDataset(str(path), "GZIP" if path.suffix == ".gz" else None) for path in paths]
        sides.append(reduce(tf.data.Dataset.concatenate, parts))
    return tf.data.Dataset.zip(*sides)


def _batches(line_pairs, tokenizer, max_length, shapes):
    """Dataset of full batches from a dataset of line pairs, each pair in the first of `shapes` that it fits in."""
    source_sizes, target_sizes, row_counts = (tf.constant(sizes, tf.int64) for sizes in zip(*shapes, strict=True))

    def to_rows(source_lines, target_lines):
        pieces, lengths, empty, long = tokenize_pairs(tokenizer, max_length, source_lines, target_lines)
        keep = ~(empty | long)
        pieces, lengths = ([tf.ragged.boolean_mask(side, keep) for side in sides] for sides in (pieces, lengths))
        fits = (lengths[0][:, None] <= source_sizes) & (lengths[1][:, None] <= target_sizes)
        check = tf.debugging.Assert(
            tf.reduce_all(tf.reduce_any(fits, axis=1)), ["a sentence fits in no shape: the files changed while in use"]
        )
        with tf.control_dependencies([check]):
            shape = tf.argmax(fits, axis=1)  # the first that fits
        return shape, *map(_with_end, pieces, lengths, shapes[-1][:2])

    def to_batch(shape, source, labels):
        shape, filled = shape[0], tf.shape(shape)[0]
        source, labels = source[:, : source_sizes[shape]], labels[:, : target_sizes[shape]]
        free_rows = [[0, tf.cast(row_counts[shape], tf.int32) - filled], [0, 0]]
        source, labels = (tf.pad(side, free_rows, constant_values=PAD) for side in (source, labels))
        shifted = tf.pad(labels[:, :-1], [[0, 0], [1, 0]], constant_values=START)
        target = tf.where(labels == PAD, PAD, shifted)  # START + pieces ends where pieces + END does
        return {"source": source, "target": target}, labels

    chunks = line_pairs.batch(CHUNK).map(to_rows, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    groups = chunks.unbatch().group_by_window(
        key_func=lambda shape, source, labels: shape,
        reduce_func=lambda shape, rows: rows.batch(row_counts[shape]),
        window_size_func=lambda shape: row_counts[shape],
    )
    return groups.map(to_batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True)


def _with_end(pieces, lengths, width):
    """Ragged pieces [N, None] -> int32 [N, width]: pieces + END, filled with PAD; `lengths` count the END."""
    padded = pieces.to_tensor(PAD, shape=[None, width])
    return tf.where(tf.range(width, dtype=lengths.dtype) == lengths[:, None] - 1, END, padded)
