"""The order of an epoch's pairs, computed batch by batch from the seed and the epoch's number, without a table."""

import math

import numpy as np

ROUNDS = 8
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1


def scatter_bits(value):
    """Mix the bits of a uint64, or of each in an array, by the finalizer of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is intended
        value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
        return value ^ (value >> np.uint64(31))


def key_of(*numbers):
    """A uint64 computed from whole numbers. Other numbers, or another order of them, give another key."""
    key = np.uint64(len(numbers))
    for number in numbers:
        key = scatter_bits(np.uint64((int(key) + _GOLDEN + (number & _WORD)) & _WORD))
    return key


def permuted(positions, size, key):
    """Apply a pseudo-random permutation of range(size) to positions, in constant memory.

    The permutation is a Feistel network over two numbers (Black and Rogaway 2002). The product of their ranges is a
    little more than `size`. A result that is not below `size` goes through the network again until it is.

    Args:
        positions: integers [N] in range(size).
        size: int, how many positions there are.
        key: uint64. Each key gives another permutation.

    Returns:
        int64 [N]. Different positions give different results.
    """
    height = math.isqrt(size - 1) + 1
    width = -(-size // height)
    keys = [key_of(int(key), number) for number in range(ROUNDS)]
    result = np.array(positions, np.uint64)
    outside = np.arange(len(result))
    while len(outside):
        left, right = np.divmod(result[outside], np.uint64(width))
        for number, round_key in enumerate(keys):
            if number % 2:
                right = (right + scatter_bits(left ^ round_key) % np.uint64(width)) % np.uint64(width)
            else:
                left = (left + scatter_bits(right ^ round_key) % np.uint64(height)) % np.uint64(height)
        result[outside] = left * np.uint64(width) + right
        outside = outside[result[outside] >= size]
    return result.astype(np.int64)


class Order:
    """Which pairs are in which batch. Batches are numbered through all epochs.

    A shape takes pairs from several corpora. The pairs of one corpus and one shape come in rounds: a round is a
    permutation of all these pairs, and each round is another permutation. An epoch continues the round that the epoch
    before left unfinished. If an epoch takes exactly all pairs, each epoch is one round.

    The pairs that an epoch takes for a shape are then shuffled and cut into batches. At last the batches of all shapes
    are shuffled.

    Args:
        pairs: int [shapes, corpora], how many pairs there are. Their numbers run shape by shape, and inside a shape
            corpus by corpus.
        taken: int [shapes, corpora], how many of them an epoch takes.
        rows: int [shapes], rows of a batch.
        seed: int. None leaves the pairs in their order and the batches shape by shape.
        segmentations: int. The numbers of the pairs begin again for each segmentation, one after another. The rounds
            take the segmentations in turn.
    """

    def __init__(self, pairs, taken, rows, seed, segmentations=1):
        self.pairs, self.taken, self.rows, self.seed = np.asarray(pairs), np.asarray(taken), rows, seed
        self.segmentations = segmentations
        self.first = np.cumsum(self.pairs.ravel()).reshape(self.pairs.shape) - self.pairs
        self.kept = int(self.pairs.sum())
        self.ends = np.cumsum(self.taken, axis=1)  # [shapes, corpora]: where the part of a corpus in an epoch ends
        self.batches_of_shape = -(-self.ends[:, -1] // np.asarray(rows))
        self.batches = int(self.batches_of_shape.sum())

    def batch(self, step):
        """Batch number `step`, which is epoch x batches + batch: its shape, an int, and its pairs, int64 [N]."""
        epoch, number = divmod(step, self.batches)
        number = int(self._shuffled(np.array([number]), self.batches, epoch)[0])
        ends = np.cumsum(self.batches_of_shape)
        shape = int(np.searchsorted(ends, number, side="right"))
        start = (number - int(ends[shape] - self.batches_of_shape[shape])) * self.rows[shape]
        size = int(self.ends[shape, -1])
        places = self._shuffled(np.arange(start, min(start + self.rows[shape], size)), size, epoch, shape)
        corpora = np.searchsorted(self.ends[shape], places, side="right")
        return shape, self._pairs(epoch, shape, corpora, places)

    def _pairs(self, epoch, shape, corpora, places):
        """The numbers of the pairs at some places of an epoch of a shape. `corpora` is the corpus of each place."""
        taken, pairs = self.taken[shape, corpora], self.pairs[shape, corpora]
        rounds, members = np.divmod(epoch * taken + places - (self.ends[shape, corpora] - taken), pairs)
        numbers = np.empty(len(places), np.int64)
        for corpus, number in np.unique(np.stack([corpora, rounds]), axis=1).T.tolist():
            chosen = (corpora == corpus) & (rounds == number)
            size = int(self.pairs[shape, corpus])
            first = self.first[shape, corpus] + number % self.segmentations * self.kept
            numbers[chosen] = first + self._shuffled(members[chosen], size, number, shape, corpus)
        return numbers

    def _shuffled(self, positions, size, *key_numbers):
        """The positions after the permutation that belongs to the seed and these numbers; unchanged without a seed."""
        return positions if self.seed is None else permuted(positions, size, key_of(self.seed, *key_numbers))
