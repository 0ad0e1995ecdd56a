"""In which order an epoch's pairs come: a function of seed and epoch, worked out batch by batch, without a table."""

import math

import numpy as np

ROUNDS = 8
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1


def mixed(value):
    """The finaliser of SplitMix64 (Steele et al. 2014): scatters the bits of a uint64, or of an array of them."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
        return value ^ (value >> np.uint64(31))


def key_of(*numbers):
    """A uint64 that stands for whole numbers in their order."""
    key = np.uint64(len(numbers))
    for number in numbers:
        key = mixed(np.uint64((int(key) + _GOLDEN + (number & _WORD)) & _WORD))
    return key


def permuted(positions, size, key):
    """Where a pseudo-random permutation of range(size) sends some positions, in constant memory.

    A Feistel network over two numbers whose ranges multiply to a little more than `size` (Black and Rogaway 2002);
    a result outside goes through again, until it is inside.

    Args:
        positions: integers [N] in range(size).
        key: uint64; another key, another permutation.

    Returns:
        int64 [N], all different where the positions are.
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
                right = (right + mixed(left ^ round_key) % np.uint64(width)) % np.uint64(width)
            else:
                left = (left + mixed(right ^ round_key) % np.uint64(height)) % np.uint64(height)
        result[outside] = left * np.uint64(width) + right
        outside = outside[result[outside] >= size]
    return result.astype(np.int64)


class Order:
    """Which pairs stand in which batch, for batches numbered through all epochs.

    Each shape draws from several corpora. In a corpus' share of a shape the pairs come in rounds, each round another
    permutation of them, and an epoch goes on where the one before stopped: with as many pairs an epoch as there are,
    an epoch is a round. An epoch's pairs of a shape are then mixed and cut into batches, and all its batches are mixed.

    Args:
        pairs: int [shapes, corpora], how many pairs there are. They are numbered through, shape by shape, in a shape
            corpus by corpus.
        taken: int [shapes, corpora], how many of them an epoch takes.
        rows: int [shapes], rows of a batch.
        seed: int, or None to leave the pairs in their order and the batches shape by shape.
    """

    def __init__(self, pairs, taken, rows, seed):
        self.pairs, self.taken, self.rows, self.seed = np.asarray(pairs), np.asarray(taken), rows, seed
        self.first = np.cumsum(self.pairs.ravel()).reshape(self.pairs.shape) - self.pairs
        self.ends = np.cumsum(self.taken, axis=1)  # [shapes, corpora]: where a corpus' part of an epoch ends
        self.batches_of_shape = -(-self.ends[:, -1] // np.asarray(rows))
        self.batches = int(self.batches_of_shape.sum())

    def batch(self, step):
        """The shape of batch number `step` = epoch x batches + batch, and the numbers of its pairs: int, int64 [N]."""
        epoch, number = divmod(step, self.batches)
        number = int(self._mixed(np.array([number]), self.batches, epoch)[0])
        ends = np.cumsum(self.batches_of_shape)
        shape = int(np.searchsorted(ends, number, side="right"))
        start = (number - int(ends[shape] - self.batches_of_shape[shape])) * self.rows[shape]
        size = int(self.ends[shape, -1])
        places = self._mixed(np.arange(start, min(start + self.rows[shape], size)), size, epoch, shape)
        corpora = np.searchsorted(self.ends[shape], places, side="right")
        return shape, self._pairs(epoch, shape, corpora, places)

    def _pairs(self, epoch, shape, corpora, places):
        """The pairs at some places of a shape's epoch, whose corpora are known."""
        taken, there = self.taken[shape, corpora], self.pairs[shape, corpora]
        rounds, members = np.divmod(epoch * taken + places - (self.ends[shape, corpora] - taken), there)
        found = np.empty(len(places), np.int64)
        for corpus, one_round in np.unique(np.stack([corpora, rounds]), axis=1).T.tolist():
            here = (corpora == corpus) & (rounds == one_round)
            size = int(self.pairs[shape, corpus])
            found[here] = self.first[shape, corpus] + self._mixed(members[here], size, one_round, shape, corpus)
        return found

    def _mixed(self, positions, size, *which):
        return positions if self.seed is None else permuted(positions, size, key_of(self.seed, *which))
