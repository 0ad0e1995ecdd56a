"""Which padded shapes a corpus is trained in: a few fixed ones, chosen so that least is padded."""

from collections import Counter
from typing import NamedTuple

import numpy as np

MAX_EDGES = 48  # candidate lengths per axis; the search grows with the fourth power of it


class Shape(NamedTuple):
    """One padded batch shape: `rows` pairs, sources padded to `source` ids, targets to `target` ids."""

    source: int
    target: int
    rows: int


def batch_rows(longest, pairs, tokens_per_batch, rows_multiple):
    """Rows of a batch whose longer side has `longest` ids: what the budget holds, evened over the batches.

    The most rows are `tokens_per_batch // longest`, rounded down to a multiple of `rows_multiple`, or to a power of
    two where not even one multiple fits. The `pairs` need a certain number of such batches; they are then shared out
    over that same number as evenly as multiples allow, so that the last batch is not mostly padding.

    Takes integers or arrays that broadcast; the budget must hold one row. Returns integers of that shape.
    """
    most = np.asarray(tokens_per_batch // longest)
    multiples = most // rows_multiple * rows_multiple
    batches = np.ceil(pairs / np.maximum(multiples, 1))
    even = np.ceil(pairs / np.maximum(batches * rows_multiple, 1)) * rows_multiple
    power = 2 ** np.floor(np.log2(most))
    return np.where(multiples > 0, np.maximum(even, rows_multiple), power).astype(np.int64)


def first_fits(source, target, shapes):
    """The number of the first of `shapes` that each pair fits in, from lengths [N] with their END: int [N]."""
    sources, targets, _ = np.array(shapes).T
    return ((np.asarray(source)[:, None] <= sources) & (np.asarray(target)[:, None] <= targets)).argmax(axis=1)


def choose_shapes(lengths, tokens_per_batch, num_shapes, rows_multiple):
    """Choose at most `num_shapes` shapes that pad a corpus least.

    The shapes form a chain: each is at least as long as the one before on both sides, and a pair belongs to the
    first that it fits in. Of all chains over the candidate lengths, dynamic programming finds the one whose batches
    have the fewest positions, source and target together, the unfilled rows of last batches included.

    Args:
        lengths: dict (source length, target length) -> number of pairs; not empty.
        tokens_per_batch: at least the longest length.

    Returns:
        A tuple of `Shape`, shortest first, and a tuple with the number of pairs that belong to each.
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
    """The lengths that occur, or `MAX_EDGES` of them at even steps of their tokens; the longest is always there."""
    distinct, where = np.unique(lengths, return_inverse=True)
    if len(distinct) <= MAX_EDGES:
        return distinct
    tokens = np.cumsum(np.bincount(where, pairs) * distinct)
    steps = np.arange(1, MAX_EDGES) * (tokens[-1] / MAX_EDGES)
    return np.unique(np.append(distinct[np.searchsorted(tokens, steps)], distinct[-1]))


def _cheapest_chain(fitting, cost, num_shapes):
    """[(i, j)] of the cheapest chain of at most `num_shapes` steps that ends in the last cell of `fitting`."""
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
    """Which shapes a corpus is trained in, and how many pairs and tokens of each of its files each shape holds.

    Arrays of [shapes, corpora]: `pairs`, those that belong there; `taken`, how many of them an epoch takes.
    """

    def __init__(self, counts, weights, tokens_per_batch, num_shapes, rows_multiple):
        total = Counter()
        for one, weight in zip(counts, weights, strict=True):
            total.update({lengths: _taken(weight, pairs) for lengths, pairs in one.lengths.items()})
        shapes, _ = choose_shapes(total, tokens_per_batch, num_shapes, rows_multiple)
        self.weights = weights
        self.ends = np.cumsum([one.lengths.total() for one in counts])
        self.pairs, self.source_tokens, self.target_tokens = np.zeros((3, len(shapes), len(counts)), np.int64)
        for corpus, one in enumerate(counts):
            if one.lengths:
                source, target, pairs = np.array([(*key, count) for key, count in one.lengths.items()]).T
                places = first_fits(source, target, shapes), corpus
                np.add.at(self.pairs, places, pairs)
                np.add.at(self.source_tokens, places, source * pairs)
                np.add.at(self.target_tokens, places, target * pairs)
        self.taken = np.array([[_taken(*each) for each in zip(weights, row, strict=True)] for row in self.pairs])
        pools = self.taken.sum(axis=1)
        rows = [
            int(batch_rows(max(shape[:2]), pool, tokens_per_batch, rows_multiple))
            for shape, pool in zip(shapes, pools, strict=True)
        ]
        self.shapes = tuple(Shape(*shape[:2], each) for shape, each in zip(shapes, rows, strict=True))
        self.batches = -(-pools // rows)

    def sort(self, store):
        """Number the stored pairs by their shape, then their corpus."""

        def group_of(start, source, target):
            corpora = np.searchsorted(self.ends, np.arange(start, start + len(source)), side="right")
            return first_fits(source + 1, target + 1, self.shapes) * len(self.ends) + corpora

        store.sort(group_of, self.pairs.ravel())

    def in_an_epoch(self, tokens):
        """The tokens of an epoch on average, from those of all pairs [shapes, corpora]."""
        return round(float((tokens * self.taken / np.maximum(self.pairs, 1)).sum()))


def _taken(weight, pairs):
    """How many of some pairs an epoch takes."""
    return max(1, round(weight * int(pairs))) if pairs else 0
