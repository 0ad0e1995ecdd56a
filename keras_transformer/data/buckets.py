"""The few padded shapes that a corpus is trained in. They are chosen to need the least padding."""

from collections import Counter
from typing import NamedTuple

import numpy as np

MAX_EDGES = 48  # candidate lengths per axis; the search grows with the fourth power of it


class Shape(NamedTuple):
    """A padded batch shape: `rows` pairs, with sources of `source` ids and targets of `target` ids."""

    source: int
    target: int
    rows: int


def batch_rows(longest, pairs, tokens_per_batch, rows_multiple):
    """How many rows a batch has if its longer side has `longest` ids.

    A batch can have `tokens_per_batch // longest` rows, rounded down to a multiple of `rows_multiple`, or to a power
    of two if that is less than one multiple. This gives the number of batches that the `pairs` need. The rows are then
    lowered as far as this number of batches allows, because the last batch would be mostly padding otherwise.

    Takes integers, or arrays that broadcast, and returns integers of that shape. `tokens_per_batch` must be at least
    `longest`.
    """
    most = np.asarray(tokens_per_batch // longest)
    multiples = most // rows_multiple * rows_multiple
    batches = np.ceil(pairs / np.maximum(multiples, 1))
    even = np.ceil(pairs / np.maximum(batches * rows_multiple, 1)) * rows_multiple
    power = 2 ** np.floor(np.log2(most))
    return np.where(multiples > 0, np.maximum(even, rows_multiple), power).astype(np.int64)


def first_fits(source, target, shapes):
    """The number of the first shape that each pair fits in: int [N], from lengths [N] that include END."""
    sources, targets, _ = np.array(shapes).T
    return ((np.asarray(source)[:, None] <= sources) & (np.asarray(target)[:, None] <= targets)).argmax(axis=1)


def choose_shapes(lengths, tokens_per_batch, num_shapes, rows_multiple):
    """Choose at most `num_shapes` shapes that need the least padding for a corpus.

    The shapes form a chain: on both sides each shape is at least as long as the shape before. A pair belongs to the
    first shape that it fits in. Dynamic programming finds the best of all chains over the candidate lengths. It is the
    chain whose batches have the fewest positions, source and target together. The empty rows of last batches count.

    Args:
        lengths: a dictionary from (source length, target length) to a number of pairs, not empty.
        tokens_per_batch: at least the longest length.
        num_shapes, rows_multiple: see `parallel_corpus`.

    Returns:
        A tuple of `Shape`, the shortest first, and a tuple with the number of pairs that belong to each.
    """
    source, target, pairs = np.array([(*key, count) for key, count in sorted(lengths.items())]).T
    source_edges, target_edges = _candidates(source, pairs), _candidates(target, pairs)
    fitting = np.zeros((len(source_edges), len(target_edges)), np.int64)
    np.add.at(fitting, (np.searchsorted(source_edges, source), np.searchsorted(target_edges, target)), pairs)
    fitting = fitting.cumsum(0).cumsum(1)  # [i, j]: the pairs that fit in source_edges[i], target_edges[j]

    def cost(i, j, pairs):
        rows = batch_rows(max(source_edges[i], target_edges[j]), pairs, tokens_per_batch, rows_multiple)
        return np.ceil(pairs / rows) * rows * (source_edges[i] + target_edges[j])

    shapes, counts, before = [], [], 0
    for i, j in _cheapest_chain(fitting, cost, num_shapes):
        longest, count = max(source_edges[i], target_edges[j]), int(fitting[i, j] - before)
        rows = batch_rows(longest, count, tokens_per_batch, rows_multiple)
        shapes.append(Shape(int(source_edges[i]), int(target_edges[j]), int(rows)))
        counts.append(count)
        before = fitting[i, j]
    return tuple(shapes), tuple(counts)


def _candidates(lengths, pairs):
    """The lengths that occur, the longest included. If there are too many, at most `MAX_EDGES` of them.

    These are at even steps of the number of tokens.
    """
    distinct, where = np.unique(lengths, return_inverse=True)
    if len(distinct) <= MAX_EDGES:
        return distinct
    tokens = np.cumsum(np.bincount(where, pairs) * distinct)
    steps = np.arange(1, MAX_EDGES) * (tokens[-1] / MAX_EDGES)
    return np.unique(np.append(distinct[np.searchsorted(tokens, steps)], distinct[-1]))


def _cheapest_chain(fitting, cost, num_shapes):
    """The cheapest chain of at most `num_shapes` cells that ends in the last cell of `fitting`: [(i, j)]."""
    last = fitting.shape[0] - 1, fitting.shape[1] - 1
    best = np.full((num_shapes, *fitting.shape), np.inf)  # [steps - 1, i, j]: cheapest chain that ends in i, j
    previous = np.zeros(best.shape, np.int64)
    for i, j in np.ndindex(fitting.shape):
        best[0, i, j] = cost(i, j, fitting[i, j])
        step = cost(i, j, fitting[i, j] - fitting[: i + 1, : j + 1])
        for steps in range(1, num_shapes):
            totals = best[steps - 1, : i + 1, : j + 1] + step
            origin = totals.argmin()
            best[steps, i, j] = totals.flat[origin]
            previous[steps, i, j] = np.ravel_multi_index(np.unravel_index(origin, totals.shape), fitting.shape)
    steps = best[:, *last].argmin()
    chain = [last]
    for back in range(steps, 0, -1):
        chain.append(np.unravel_index(previous[back, *chain[-1]], fitting.shape))
    return chain[::-1]


class Plan:
    """The shapes for several corpora, and how many pairs and tokens of each corpus belong to each shape.

    The arrays `pairs`, `source_tokens` and `target_tokens` are [shapes, corpora]; with several segmentations the tokens
    are their average. So is `taken`: how many of the pairs an epoch takes. `batches` [shapes] is the number of an
    epoch's batches.

    A pair has other lengths in each of its segmentations. A shape nevertheless has the same number of pairs in all of
    them, because all epochs must have the same number of batches. The number is the least that leaves a place for every
    pair in all segmentations. Where a segmentation has too few long pairs, some shorter ones take the places.
    """

    def __init__(self, counts, weights, tokens_per_batch, num_shapes, rows_multiple):
        total = Counter()
        for corpus, weight in zip(counts, weights, strict=True):
            for counter in corpus.lengths:
                total.update({lengths: _taken(weight, pairs) for lengths, pairs in counter.items()})
        shapes, _ = choose_shapes(total, tokens_per_batch, num_shapes, rows_multiple)
        self.weights = weights
        self.segmentations = len(counts[0].lengths)
        self.ends = np.cumsum([corpus.kept for corpus in counts])
        fitting, source_tokens, target_tokens = np.zeros((3, self.segmentations, len(shapes), len(counts)), np.int64)
        for number, corpus in enumerate(counts):
            for segmentation, counter in enumerate(corpus.lengths):
                if counter:
                    source, target, pairs = np.array([(*key, count) for key, count in counter.items()]).T
                    places = segmentation, first_fits(source, target, shapes), number
                    np.add.at(fitting, places, pairs)
                    np.add.at(source_tokens, places, source * pairs)
                    np.add.at(target_tokens, places, target * pairs)
        self.source_tokens, self.target_tokens = source_tokens.mean(axis=0), target_tokens.mean(axis=0)
        as_long = fitting[:, ::-1].cumsum(axis=1)[:, ::-1]  # the pairs that need this shape or a longer one
        places = as_long.max(axis=0)  # of this shape and the longer ones, [shapes, corpora]
        self.pairs = places - np.append(places[1:], np.zeros((1, len(counts)), np.int64), axis=0)
        self.moved = (places - as_long)[:, 1:]  # pairs of the shape before that take places of this one
        self.taken = np.array(
            [[_taken(weight, pairs) for weight, pairs in zip(weights, row, strict=True)] for row in self.pairs]
        )
        totals = self.taken.sum(axis=1)  # of an epoch, [shapes]
        rows = [
            int(batch_rows(max(shape[:2]), pairs, tokens_per_batch, rows_multiple))
            for shape, pairs in zip(shapes, totals, strict=True)
        ]
        self.shapes = tuple(shape._replace(rows=number) for shape, number in zip(shapes, rows, strict=True))
        self.batches = -(-totals // rows)

    def sort(self, store):
        """Number the stored pairs by their segmentation, then by their shape, then by their corpus."""
        moved = self.moved.copy()

        def group_of(start, source, target):
            pairs, segmentations = np.divmod(np.arange(start, start + len(source)), self.segmentations)
            corpora = np.searchsorted(self.ends, pairs, side="right")
            shapes = first_fits(source + 1, target + 1, self.shapes)
            for segmentation, shape, corpus in np.argwhere(moved).tolist():
                here = (segmentations == segmentation) & (shapes == shape) & (corpora == corpus)
                chosen = np.flatnonzero(here)[: moved[segmentation, shape, corpus]]
                shapes[chosen] += 1
                moved[segmentation, shape, corpus] -= len(chosen)
            return (segmentations * len(self.shapes) + shapes) * len(self.ends) + corpora

        store.sort(group_of, np.tile(self.pairs.ravel(), self.segmentations))

    def in_an_epoch(self, tokens):
        """How many tokens an epoch has on average, from the tokens of all pairs [shapes, corpora]."""
        return round(float((tokens * self.taken / np.maximum(self.pairs, 1)).sum()))


def _taken(weight, pairs):
    """How many of `pairs` an epoch takes: at least one, if there are any."""
    return max(1, round(weight * int(pairs))) if pairs else 0
