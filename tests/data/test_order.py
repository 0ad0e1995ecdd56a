"""The order of an epoch: a permutation without a table, and shares of corpora that add up."""

from collections import Counter

import numpy as np
import pytest

from keras_transformer.data.order import Order, key_of, permuted
from keras_transformer.data.store import PairStore


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12, 97, 1009, 65_537])
def test_each_position_goes_to_another_place(size):
    permutations = [permuted(np.arange(size), size, key_of(seed)).tolist() for seed in (1, 2)]
    for permutation in permutations:
        assert sorted(permutation) == list(range(size))
    positions = np.array([size - 1, 0, size // 2])
    assert permuted(positions, size, key_of(1)).tolist() == [permutations[0][position] for position in positions]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 12])
def test_twenty_keys_do_not_all_give_one_permutation(size):
    assert len({tuple(permuted(np.arange(size), size, key_of(seed))) for seed in range(20)}) > 1


@pytest.mark.parametrize("size", [97, 1009, 65_537])
def test_two_keys_give_two_permutations(size):
    first, second = (permuted(np.arange(size), size, key_of(seed)).tolist() for seed in (1, 2))
    assert first != second


@pytest.mark.parametrize("size", [3, 5, 7])
def test_no_place_is_preferred(size):
    """Over 4,000 keys, each position reaches each place about as often. Chi-square is below its 1 - 1e-6 quantile."""
    keys, seen = 4000, np.zeros((size, size))
    for seed in range(keys):
        seen[np.arange(size), permuted(np.arange(size), size, key_of(seed, 0))] += 1
    chi_square = ((seen - keys / size) ** 2 / (keys / size)).sum()
    assert chi_square < {3: 32.5, 5: 58.2, 7: 90.6}[size]  # with (size - 1)^2 = 4, 16, 36 degrees of freedom


def test_neighbors_end_far_apart():
    """In a random permutation of 1009, two neighbors end 336 places apart on average. Here within 5 %."""
    gaps = [np.abs(np.diff(permuted(np.arange(1009), 1009, key_of(seed)))).mean() for seed in range(20)]
    assert np.mean(gaps) == pytest.approx(1009 / 3, rel=0.05)


def epoch(order, number):
    """The batches of an epoch, (shape, pairs) each, after a check that no batch is too large for its shape."""
    batches = [order.batch(number * order.batches + batch) for batch in range(order.batches)]
    assert Counter(shape for shape, _ in batches) == Counter(dict(enumerate(order.batches_of_shape.tolist())))
    assert all(0 < len(pairs) <= order.rows[shape] for shape, pairs in batches)
    return batches


def pairs_in(batches):
    return Counter(pair for _, pairs in batches for pair in pairs.tolist())


def test_shares_of_two_corpora_by_hand():
    """Two shapes, two corpora: an epoch takes the first corpus three times, and another quarter of the second."""
    pairs = [[5, 8], [2, 3]]  # numbered 0-4, 5-12; 13-14, 15-17
    order = Order(pairs, taken=[[15, 2], [6, 1]], rows=[4, 2], seed=7)
    assert order.batches == 5 + 4
    epochs = [pairs_in(epoch(order, number)) for number in range(12)]
    for counts in epochs:
        assert {counts[pair] for pair in (*range(5), 13, 14)} == {3}
        assert sum(counts[pair] for pair in range(5, 13)) == 2 and sum(counts[pair] for pair in (15, 16, 17)) == 1
    for first in (0, 4, 8):  # four epochs take each pair of the second corpus' first shape once
        four = sum(epochs[first : first + 4], Counter())
        assert [four[pair] for pair in range(5, 13)] == [1] * 8
    for first in (0, 3, 6, 9):
        three = sum(epochs[first : first + 3], Counter())
        assert [three[pair] for pair in (15, 16, 17)] == [1, 1, 1]
    rounds = [[pair for counts in epochs[start : start + 4] for pair in counts if 5 <= pair < 13] for start in (0, 4)]
    assert rounds[0] != rounds[1], "each round is another permutation"


def test_a_batch_depends_only_on_the_seed_and_the_step():
    make = lambda seed: Order([[500], [300]], [[500], [300]], [7, 5], seed)  # noqa: E731
    order, again, other = make(3), make(3), make(4)
    for step in (3 * order.batches + 11, 0, order.batches - 1):
        assert order.batch(step)[0] == again.batch(step)[0]
        assert order.batch(step)[1].tolist() == again.batch(step)[1].tolist()
    same = sum(order.batch(step)[1].tolist() == other.batch(step)[1].tolist() for step in range(order.batches))
    assert same == 0
    shapes = [shape for shape, _ in epoch(order, 0)]
    assert shapes != sorted(shapes)
    batches = [{frozenset(pairs.tolist()) for _, pairs in epoch(order, number)} for number in (0, 1)]
    assert not batches[0] & batches[1]


def test_without_a_seed_every_pair_stays_in_its_place():
    order = Order([[5], [3]], [[5], [3]], [2, 2], None)
    expected = [(0, [0, 1]), (0, [2, 3]), (0, [4]), (1, [5, 6]), (1, [7])]
    for number in (0, 3):
        assert [(shape, pairs.tolist()) for shape, pairs in epoch(order, number)] == expected


@pytest.mark.parametrize(("vocabulary_size", "itemsize"), [(65_536, 2), (65_537, 4)])
def test_stored_pairs_come_back_by_group(vocabulary_size, itemsize, monkeypatch):
    monkeypatch.setattr("keras_transformer.data.store.CHUNK", 3)
    rng = np.random.default_rng(0)
    draw = lambda: rng.integers(4, vocabulary_size, rng.integers(1, 9)).tolist()  # noqa: E731
    pairs = [(draw(), draw()) for _ in range(11)]
    pairs[3][0][0] = vocabulary_size - 1
    store = PairStore(vocabulary_size)
    for part in (pairs[:4], pairs[4:4], pairs[4:]):
        flat = np.array([i for pair in part for side in pair for i in side], np.int32)
        store.add(flat, *(np.array([len(pair[side]) for pair in part], np.int32) for side in (0, 1)))
    longer = [int(len(source) > len(target)) for source, target in pairs]
    store.sort(lambda start, source, target: (source > target).astype(int), np.bincount(longer))
    ordered = [pair for group in (0, 1) for pair, mark in zip(pairs, longer, strict=True) if mark == group]
    assert [(source.tolist(), target.tolist()) for source, target in store.read(range(11))] == ordered
    assert store.dtype.itemsize == itemsize and store.offset == sum(len(a) + len(b) for a, b in pairs)
