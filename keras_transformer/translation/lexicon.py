"""Which pieces translate which: IBM Model 1."""

import itertools

import numpy as np

NOTHING = 0  # the empty word of Model 1, which every source has; PAD stands for it


def model_1(pairs, source_size, iterations=5):
    """Translation probabilities by IBM Model 1 (Brown et al. 1993, section 4.1), from equal ones on.

    Each piece of a target has one origin among the pieces of its source and `NOTHING`. Expectation maximization: the
    share of an origin is in proportion to its probability, and the new probabilities are in proportion to the sums of
    these shares.

    Args:
        pairs: a list of (source ids, target ids), lists of ints.
        source_size: int, the source ids are below it.
        iterations: int.

    Returns:
        Arrays of the same length: source ids, target ids, and p(target id | source id), for all ids that occur in a
        pair together. They are in the order of the source ids, then of the target ids.
    """
    sources = [np.array([NOTHING, *source], np.int64) for source, _ in pairs]
    targets = [np.array(target, np.int64) for _, target in pairs]
    origins = np.array([len(source) for source in sources])
    counts = np.array([len(target) for target in targets])
    links = [(target[:, None] * source_size + source).ravel() for source, target in zip(sources, targets, strict=True)]
    keys, link_keys = np.unique(np.concatenate(links), return_inverse=True)
    ends = np.cumsum(np.repeat(origins, counts))  # of the links of each target piece
    target_pieces = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    source_ids, target_ids = keys % source_size, keys // source_size
    probabilities = np.ones(len(keys))
    for _ in range(iterations):
        shares = probabilities[link_keys]
        shares /= np.bincount(target_pieces, shares)[target_pieces]
        expected = np.bincount(link_keys, shares)
        probabilities = expected / np.bincount(source_ids, expected)[source_ids]
    order = np.lexsort((target_ids, source_ids))
    return source_ids[order], target_ids[order], probabilities[order]


def likeliest(source_ids, target_ids, probabilities, source_size, most):
    """The `most` likeliest target ids of each source id: (source_size, most) int32, filled with `NOTHING`.

    Args:
        source_ids, target_ids, probabilities: of `model_1`.
    """
    table = np.full((source_size, most), NOTHING, np.int32)
    order = np.lexsort((target_ids, -probabilities, source_ids))
    for source, rows in itertools.groupby(order.tolist(), lambda row: source_ids[row]):
        best = list(itertools.islice(rows, most))
        table[source, : len(best)] = target_ids[best]
    return table
