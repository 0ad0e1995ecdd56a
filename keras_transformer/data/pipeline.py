"""Two aligned text files in, padded batches of a fixed token budget out."""

import logging
import math
import operator
from dataclasses import dataclass
from typing import NamedTuple

from keras_transformer.data.aligned_files import aligned_lines, file_pairs, store_pairs
from keras_transformer.data.batches import Position, stream
from keras_transformer.data.buckets import Plan
from keras_transformer.data.order import Order
from keras_transformer.data.store import PairStore

logger = logging.getLogger("keras_transformer")


class CorpusShare(NamedTuple):
    """What one of several corpora gives to an epoch; `kept` are its pairs, each counted once."""

    source: str
    pairs: int
    kept: int
    weight: float
    pairs_an_epoch: int


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds, what was left out of it, and how it is padded.

    `pairs`, `kept` and what was dropped count each pair of the files once. Tokens are those of an epoch, the end mark
    of each sentence included: with weights, as many as it has on average. Positions are all places of an epoch's
    batches, padding included. `shapes` holds a (source length, target length, rows) for each padded shape, `corpora`
    a `CorpusShare` for each pair of files.
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
    corpora: tuple = ()

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
        shares = "".join(
            f"{share.source}: {share.kept:,} of {share.pairs:,} pairs kept; "
            f"weight {share.weight:g}, {share.pairs_an_epoch:,} pairs an epoch\n"
            for share in self.corpora
            if len(self.corpora) > 1 or share.weight != 1
        )
        return (
            f"{self.kept:,} of {self.pairs:,} sentence pairs kept; left out: {self.dropped}\n"
            f"{shares}"
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
    weights=None,
    tokens_per_batch=8192,
    max_length=256,
    num_shapes=12,
    shuffle=True,
    seed=0,
    start=(0, 0),
    rows_multiple=8,
):
    """Stream aligned text files as batches for `Transformer.fit`.

    The files are read and tokenised once, when this is called: a pair with an empty side or an over-long one is left
    out, counted and logged; the ids of the others go to temporary files (2 bytes an id up to 65,536 pieces, and 32 a
    pair, in the folder that TMPDIR names), from which each epoch reads. From the counts a few padded shapes are chosen
    so that least is padded, and the number of batches of an epoch is known exactly: `dataset.cardinality()`. Memory
    does not grow with the corpus.

    With `shuffle`, an epoch is a random order of the whole corpus: its pairs meet in other batches each time, and its
    batches come mixed. The order is a function of `seed` and the epoch's number alone, so that another process can go
    on at any batch. Without `shuffle`, every epoch is the same: shape by shape, the pairs of a shape in the order of
    the files.

    A pass over the dataset is one epoch, and one that is read to its end moves on to the next. `start` says where the
    first begins; from a batch inside an epoch, a pass goes on into the epoch after, so that it always has as many
    batches. `dataset.position.move_to(epoch, batch)` sets it later, as `keras_transformer.training.Checkpoint` does.

    Args:
        source, target: a path, or lists of as many paths; plain or `.gz`, UTF-8, one sentence a line.
        tokenizer: has `vocabulary_size`, and `tokenize(strings, side)`: strings [N] and "source" or "target" -> ragged
            int32 ids [N, None] without end marks.
        weights: a number above 0 for each path: how often an epoch has each pair of that corpus. 3 is three times; with
            0.25 an epoch has a quarter of the corpus (rounded in each shape, and one pair at least), and four epochs
            all of it. None is once for all.
        tokens_per_batch: rows x the longer padded side of a batch are at most this many.
        max_length: longest side of a pair in ids, its end mark included.
        num_shapes: the most padded shapes to use.
        seed: int.
        start: (epoch, batch), both from 0.
        rows_multiple: the rows of a batch are a multiple of it, so that 2, 4 or 8 replicas share them evenly; where
            the budget does not hold that many, they are a power of two.

    Returns:
        A `tf.data.Dataset` of `({"source": (B, S), "target": (B, T)}, labels (B, T))`, all int32: source pieces + END,
        START + target pieces, target pieces + END, filled with PAD. Each batch has exactly one of the chosen shapes;
        the last of a shape is filled with rows of PAD alone. Its attribute `report` is a `CorpusReport`, `position`
        where the next pass begins, and `fingerprint` a dictionary of all that the data and their order depend on,
        but for the tokenizer.

    Raises:
        ValueError: a bad argument; files of different line counts or without lines; bytes that are not UTF-8; a
            carriage return inside a line; ids that are reserved or outside the vocabulary; no pair left; a kept
            sentence longer than `tokens_per_batch`.
        OSError: a file that cannot be read, or a full disk.
    """
    sizes = {"tokens_per_batch": tokens_per_batch, "max_length": max_length, "num_shapes": num_shapes}
    sizes = _checked_sizes(**sizes, rows_multiple=rows_multiple)
    tokens_per_batch, max_length, num_shapes, rows_multiple = sizes.values()
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed must be a whole number, got {seed!r}.")
    files = file_pairs(source, target)
    weights = _checked_weights(weights, files)
    store = PairStore(tokenizer.vocabulary_size)
    counts, lines = store_pairs(files, tokenizer, max_length, store)
    _check_longest(counts, tokens_per_batch, max_length)
    plan = Plan(counts, weights, tokens_per_batch, num_shapes, rows_multiple)
    plan.sort(store)
    report = _report(counts, plan, files, max_length)
    logger.info("%s", report)
    if report.kept < report.pairs:
        logger.warning("%d of %d sentence pairs left out: %s", report.pairs - report.kept, report.pairs, report.dropped)

    order = Order(plan.pairs, plan.taken, [shape.rows for shape in plan.shapes], int(seed) if shuffle else None)
    position = Position(order.batches)
    position.move_to(*start)
    dataset = stream(store, order, plan.shapes, position)
    dataset.report, dataset.position = report, position
    options = {**sizes, "shuffle": bool(shuffle), "seed": int(seed)}
    dataset.fingerprint = {"lines": lines, "pairs": report.kept, "weights": weights, **options}
    return dataset


def _checked_sizes(**sizes):
    """The same as Python's own numbers."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return {name: operator.index(value) for name, value in sizes.items()}


def _checked_weights(weights, files):
    """A weight for each pair of files, as floats."""
    weights = [1.0] * len(files) if weights is None else list(weights)
    if len(weights) != len(files):
        raise ValueError(f"weights must have one number for each path: got {len(weights)} for {len(files)}.")
    for weight in weights:
        if isinstance(weight, bool) or not hasattr(weight, "__float__") or not 0 < float(weight) < math.inf:
            raise ValueError(
                f"weights must be numbers above 0, got {weight!r}. Leave out a corpus that is not to count."
            )
    return [float(weight) for weight in weights]


def _check_longest(counts, tokens_per_batch, max_length):
    longest = max((max(lengths) for one in counts for lengths in one.lengths), default=0)
    if not longest:
        raise ValueError(
            f"No sentence pair is left: {sum(one.dropped_empty for one in counts):,} have an empty side, "
            f"{sum(one.dropped_long for one in counts):,} have a side of more than max_length={max_length} ids. "
            "Check the files, or raise max_length."
        )
    if tokens_per_batch < longest:
        raise ValueError(
            f"tokens_per_batch={tokens_per_batch} cannot hold the longest sentence, {longest} ids with its end mark. "
            f"Raise tokens_per_batch, or lower max_length={max_length}."
        )


def _report(counts, plan, files, max_length):
    kept = [one.lengths.total() for one in counts]
    pairs = [one.lengths.total() + one.dropped_empty + one.dropped_long for one in counts]
    rows = [int(number) * shape.rows for number, shape in zip(plan.batches, plan.shapes, strict=True)]
    shares = zip([str(paths[0]) for paths in files], pairs, kept, plan.weights, plan.taken.sum(axis=0), strict=True)
    return CorpusReport(
        pairs=sum(pairs),
        kept=sum(kept),
        dropped_empty=sum(one.dropped_empty for one in counts),
        dropped_long=sum(one.dropped_long for one in counts),
        max_length=max_length,
        source_tokens=plan.in_an_epoch(plan.source_tokens),
        target_tokens=plan.in_an_epoch(plan.target_tokens),
        source_positions=sum(number * shape.source for number, shape in zip(rows, plan.shapes, strict=True)),
        target_positions=sum(number * shape.target for number, shape in zip(rows, plan.shapes, strict=True)),
        shapes=plan.shapes,
        batches=int(plan.batches.sum()),
        corpora=tuple(CorpusShare(*each, int(taken)) for *each, taken in shares),
    )
