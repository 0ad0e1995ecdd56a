"""A tokenizer whose ids can be read back as text, and corpora for it."""

import gzip

import numpy as np
import tensorflow as tf

from keras_transformer.ids import END, NUM_RESERVED, PAD


class Characters:
    """A tokenizer whose ids are code points + 4. "a" is 101."""

    def __init__(self, vocabulary_size=0x110000 + NUM_RESERVED, shift=NUM_RESERVED):
        self.vocabulary_size = vocabulary_size
        self.shift = shift

    def tokenize(self, strings, side):
        return tf.strings.unicode_decode(strings, "UTF-8") + self.shift


def write(path, lines, end="\n"):
    data = "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def files(tmp_path, pairs, names=("source.txt", "target.txt"), **options):
    return [write(tmp_path / name, side, **options) for name, side in zip(names, zip(*pairs, strict=True), strict=True)]


def random_pairs(count, longest=30, seed=0):
    """Pairs of different texts with similar lengths, like a sentence and its translation."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, count)
    target_lengths = np.clip(lengths + rng.integers(-4, 5, count), 1, longest)
    draw = lambda length: "".join(map(chr, rng.integers(0xC0, 0x2FF, length)))  # noqa: E731
    return [(draw(a), draw(b)) for a, b in zip(lengths, target_lengths, strict=True)]


def text(row):
    """The text of a row, after a check that the row is pieces + END + padding."""
    row = row.tolist()
    end = row.index(END)
    assert all(piece >= NUM_RESERVED for piece in row[:end])
    assert set(row[end + 1 :]) <= {PAD}
    return "".join(chr(piece - NUM_RESERVED) for piece in row[:end])


def pairs_of(batch):
    """The pairs of a batch, in order, without the rows of padding."""
    inputs, labels = batch
    rows = zip(inputs["source"].numpy(), labels.numpy(), strict=True)
    return [(text(source), text(label)) for source, label in rows if source.any() or label.any()]


def same(first, second):
    """Whether two lists of batches are equal."""
    return len(first) == len(second) and all(
        np.array_equal(a, b)
        for x, y in zip(first, second, strict=True)
        for a, b in zip(tf.nest.flatten(x), tf.nest.flatten(y), strict=True)
    )
