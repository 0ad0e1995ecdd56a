"""Several segmentations of a corpus: each epoch has every pair once, in the segmentation that is its turn."""

import random
from collections import Counter

import numpy as np
import pytest
from characters import Characters, same

from keras_transformer.data import parallel_corpus
from keras_transformer.data.buckets import Plan
from keras_transformer.data.pair_counting import Counts
from keras_transformer.ids import END, PAD, START
from keras_transformer.text import Tokenizer, TokenizerPair

WORDS = ["low", "lower", "lowest", "new", "newer", "newest", "wide", "wider", "widest"]
SOURCE = [" ".join(random.Random(number).choices(WORDS, k=1 + number % 7)) for number in range(61)]
TARGET = [" ".join(random.Random(-number).choices(WORDS, k=1 + number % 5)) for number in range(61)]
OPTIONS = {"tokens_per_batch": 160, "num_shapes": 3, "rows_multiple": 2, "seed": 3}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([*SOURCE, *TARGET], 300, hard_vocab_limit=False)


def corpus(tokenizer, segmentations=3, source=SOURCE, target=TARGET, **options):
    alpha = {"segmentation_alpha": 0.4} if segmentations > 1 else {}
    return parallel_corpus(source, target, tokenizer, segmentations=segmentations, **{**OPTIONS, **alpha, **options})


def pairs_of(batches):
    """The pairs of some batches as tuples of ids, counted. Each row is as `parallel_corpus` promises."""
    pairs = Counter()
    for inputs, labels in batches:
        for source, target, label in zip(
            inputs["source"].numpy(), inputs["target"].numpy(), labels.numpy(), strict=True
        ):
            if label[0] != PAD:
                rows = [tuple(row[row != PAD].tolist()) for row in (source, target, label)]
                assert rows[0][-1] == rows[2][-1] == END and rows[1] == (START, *rows[2][:-1])
                pairs[rows[0][:-1], rows[2][:-1]] += 1
    return pairs


def drawn(tokenizer, segmentation, segmentations=3, alpha=0.4):
    """The pairs of a segmentation, by the tokenizer's sampler."""
    sampler = tokenizer.sampler(alpha, OPTIONS["seed"])
    sides = tokenizer.encode(SOURCE), tokenizer.encode(TARGET)
    keys = [2 * (number * segmentations + segmentation) for number in range(len(SOURCE))]
    return Counter(
        (tuple(sampler(source, key)), tuple(sampler(target, key + 1)))
        for key, source, target in zip(keys, *sides, strict=True)
    )


def test_an_epoch_has_every_pair_once_in_the_segmentation_of_its_turn(tokenizer):
    data = corpus(tokenizer)
    epochs = [list(data) for _ in range(5)]
    assert {len(batches) for batches in epochs} == {data.report.batches}
    for number, batches in enumerate(epochs):
        assert pairs_of(batches) == drawn(tokenizer, number % 3), number
    assert len({frozenset(drawn(tokenizer, number)) for number in range(3)}) == 3
    assert not same(epochs[0], epochs[3]), "the same segmentation comes again in another order"
    texts = Counter(zip(SOURCE, TARGET, strict=True))
    assert Counter(tuple(tokenizer.decode(list(side)) for side in pair) for pair in pairs_of(epochs[1])) == texts


def test_all_epochs_have_the_same_shapes(tokenizer):
    data = corpus(tokenizer)
    shapes = [Counter(labels.shape[1] for _, labels in data) for _ in range(3)]
    assert shapes[0] == shapes[1] == shapes[2] and len(shapes[0]) == 3


def test_a_pass_begins_at_any_batch_of_any_epoch(tokenizer):
    data = corpus(tokenizer)
    epochs = [list(data) for _ in range(4)]
    assert same(list(corpus(tokenizer, start=(2, 3))), epochs[2][3:] + epochs[3][:3])


def test_the_report_has_the_mean_of_the_tokens(tokenizer):
    report = corpus(tokenizer).report
    lengths = np.array([[len(side) + 1 for side in pair] for k in range(3) for pair in drawn(tokenizer, k).elements()])
    assert [report.source_tokens, report.target_tokens] == (lengths.sum(axis=0) / 3).round().tolist()
    assert "\n3 segmentations of each pair, in turn\n" in str(report)
    assert "segmentations" not in str(corpus(tokenizer, 1).report)
    assert report.source_tokens > 1.2 * corpus(tokenizer, 1).report.source_tokens


def test_a_drawn_segmentation_that_is_too_long_is_replaced_by_the_usual_one(tokenizer):
    sides = [tokenizer.encode(texts) for texts in (SOURCE, TARGET)]
    longest = max(len(ids) + 1 for side in sides for ids in side)
    data = corpus(tokenizer, max_length=longest)
    assert data.report.kept == 61
    usual = Counter((tuple(source), tuple(target)) for source, target in zip(*sides, strict=True))
    for number in range(3):
        pairs, free = pairs_of(data), drawn(tokenizer, number)
        long = Counter({pair: count for pair, count in free.items() if max(map(len, pair)) + 1 > longest})
        assert long and (free - long) - pairs == Counter()
        assert sum((pairs & usual).values()) >= long.total()
        assert max(len(side) for pair in pairs for side in pair) < longest


def test_two_corpora_with_weights_take_turns_too(tokenizer):
    """The first three quarters have a weight of 2, so an epoch takes two of its segmentations."""
    data = corpus(tokenizer, source=[SOURCE[:45], SOURCE[45:]], target=[TARGET[:45], TARGET[45:]], weights=[2, 1])
    epochs = [pairs_of(data) for _ in range(3)]
    together = sum(epochs, Counter())
    expected = sum((drawn(tokenizer, number) for number in range(3)), Counter())
    assert set(together) == set(expected)
    assert together.total() == 3 * (2 * 45 + 16)
    assert all(together[pair] >= count for pair, count in expected.items())


def test_two_vocabularies_have_a_sampler_each(tokenizer):
    pair = TokenizerPair(tokenizer, Tokenizer.train(TARGET, 290, "unigram", hard_vocab_limit=False))
    data = corpus(pair, segmentation_alpha=None)
    assert data.fingerprint["segmentation_alpha"] == {"source": 0.1, "target": 0.2}
    texts = Counter((pair.source.decode(list(s)), pair.target.decode(list(t))) for s, t in pairs_of(data).elements())
    assert texts == Counter(zip(SOURCE, TARGET, strict=True))


def test_places_of_a_plan_by_hand():
    """Two segmentations of five pairs in shapes of 2 and 4: one needs 1 long place, the other 3. Both get 3."""
    lengths = Counter({(2, 2): 4, (4, 4): 1}), Counter({(2, 2): 2, (4, 4): 3})
    plan = Plan([Counts(lengths, 0, 0, (), 0)], [1.0], tokens_per_batch=8, num_shapes=2, rows_multiple=1)
    assert [shape[:2] for shape in plan.shapes] == [(2, 2), (4, 4)]
    assert plan.pairs.tolist() == plan.taken.tolist() == [[2], [3]]
    assert plan.moved.tolist() == [[[2]], [[0]]]
    assert plan.source_tokens.tolist() == [[6], [8]]

    class Store:
        def sort(self, group_of, sizes):
            assert sizes.tolist() == [2, 3, 2, 3]
            long, short = np.array([3]), np.array([1])  # without END; the two segmentations of a pair in turn
            first = np.concatenate([short, short, short, long, short, long])
            second = np.concatenate([long, long, short, short])
            self.groups = [*group_of(0, first, first).tolist(), *group_of(6, second, second).tolist()]

    store = Store()
    plan.sort(store)
    assert store.groups == [1, 2, 1, 3, 0, 3, 1, 3, 0, 2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"segmentations": 0}, ValueError, "segmentations must be a whole number of at least 1, got 0"),
        ({"segmentations": 2.5}, ValueError, "segmentations must be a whole number of at least 1, got 2.5"),
        (
            {"segmentation_alpha": 0.1},
            ValueError,
            "segmentation_alpha=0.1 is of drawn segmentations, and segmentations=1",
        ),
        (
            {"segmentations": 2, "segmentation_alpha": 2},
            ValueError,
            "segmentations=2: segmentation_alpha=2 must be above 0 and at most 1 for",
        ),
        ({"segmentations": 2, "segmentation_alpha": "x"}, TypeError, "segmentation_alpha='x' must be a number"),
    ],
)
def test_options_that_are_not_allowed_are_refused(tokenizer, options, error, message):
    with pytest.raises(error, match=message):
        parallel_corpus(SOURCE, TARGET, tokenizer, **options)


def test_a_tokenizer_without_a_sampler_is_refused():
    with pytest.raises(TypeError, match="segmentations=2 needs a Tokenizer or a TokenizerPair, got <"):
        parallel_corpus(SOURCE, TARGET, Characters(), segmentations=2)


def test_the_usual_segmentation_has_the_fingerprint_that_it_always_had(tokenizer):
    assert set(corpus(tokenizer, 3).fingerprint) - set(corpus(tokenizer, 1).fingerprint) == {
        "segmentations",
        "segmentation_alpha",
    }
    assert corpus(tokenizer, 3).fingerprint != corpus(tokenizer, 3, segmentation_alpha=0.2).fingerprint
