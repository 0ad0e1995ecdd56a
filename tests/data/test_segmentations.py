"""Random segmentations of a corpus: each pair once in each way within K epochs, the same after a break."""

from collections import Counter

import numpy as np
import pytest
import tiny
from characters import Characters, files

from keras_transformer import Tokenizer, TokenizerPair, parallel_corpus
from keras_transformer.ids import END, PAD, START

WAYS = 3
PAIRS = tiny.digit_pairs(53, seed=5, longest=7)


@pytest.fixture(scope="module")
def corpus_files(tmp_path_factory):
    return tiny.write_pairs(tmp_path_factory.mktemp("corpus"), PAIRS)


@pytest.fixture(scope="module")
def tokenizer(corpus_files):
    return Tokenizer.train(corpus_files, 275)


def rows_of(dataset):
    """The pairs of ids of a pass: [(source ids, target ids)], without END and PAD."""
    pairs = []
    for inputs, labels in dataset:
        for source, target in zip(inputs["source"].numpy(), labels.numpy(), strict=True):
            if source.any():
                pairs.append(tuple(tuple(side[(side != PAD) & (side != END)].tolist()) for side in (source, target)))
    return pairs


def texts_of(tokenizer, pairs):
    return Counter(tuple(tokenizer.decode(list(side)) for side in pair) for pair in pairs)


def test_k_epochs_hold_each_pair_in_each_of_k_ways(corpus_files, tokenizer):
    dataset = parallel_corpus(*corpus_files, tokenizer, segmentations=WAYS, sampling=0.5, seed=3, num_shapes=1)
    epochs = [rows_of(dataset) for _ in range(WAYS)]
    assert [len(epoch) for epoch in epochs] == [WAYS * round(53 / WAYS)] * WAYS
    one_way = parallel_corpus(*corpus_files, tokenizer, segmentations=1, num_shapes=1)
    expected = Counter({pair: WAYS * times for pair, times in texts_of(tokenizer, rows_of(one_way)).items()})
    seen = texts_of(tokenizer, [pair for epoch in epochs for pair in epoch])
    assert set(seen) == set(expected) and abs(seen.total() - expected.total()) <= WAYS**2
    ways = {}
    for pair in (pair for epoch in epochs for pair in epoch):
        ways.setdefault(tuple(tokenizer.decode(list(side)) for side in pair), set()).add(pair)
    assert sum(len(each) > 1 for each in ways.values()) > 40, "few pairs are cut in more than one way"


def test_the_segmentations_depend_on_the_seed_only_and_a_pass_can_begin_anywhere(corpus_files, tokenizer):
    options = {"segmentations": WAYS, "sampling": 0.3, "tokens_per_batch": 90}
    first, again = (parallel_corpus(*corpus_files, tokenizer, seed=3, **options) for _ in range(2))
    other = parallel_corpus(*corpus_files, tokenizer, seed=4, **options)
    epochs = [[rows_of([batch]) for batch in first] for _ in range(2)]
    whole = [[pair for batch in epoch for pair in batch] for epoch in epochs]
    assert [rows_of(again) for _ in range(2)] == whole and rows_of(other) != whole[0]
    resumed = parallel_corpus(*corpus_files, tokenizer, seed=3, start=(0, 2), **options)
    assert [rows_of([batch]) for batch in resumed] == [*epochs[0][2:], *epochs[1][:2]]
    again.position.move_to(1, 0)
    assert rows_of(again) == whole[1]
    assert first.fingerprint != parallel_corpus(*corpus_files, tokenizer, seed=3, tokens_per_batch=90).fingerprint


def test_the_report_counts_each_pair_once(corpus_files, tokenizer):
    lists = [list(side) for side in zip(*[*PAIRS, ("", "1"), ("3 " * 40, "2")], strict=True)]
    report = parallel_corpus(*lists, tokenizer, segmentations=WAYS, max_length=41).report
    assert (report.pairs, report.kept, report.dropped_empty, report.dropped_long) == (55, 53, 1, 1)
    plain = parallel_corpus(*corpus_files, tokenizer).report
    assert 1.0 < report.source_tokens / plain.source_tokens < 2.5
    assert report.corpora[0].weight == 1 and report.corpora[0].pairs_an_epoch == pytest.approx(53, abs=WAYS)


def test_weights_and_two_vocabularies_keep_their_meaning(corpus_files, tokenizer):
    source, target = corpus_files
    pair = TokenizerPair(*(Tokenizer.train(side, 272) for side in corpus_files))
    dataset = parallel_corpus(
        [source, source], [target, target], pair, segmentations=2, weights=[2, 0.5], num_shapes=1, sampling=0.4
    )
    assert [share.pairs_an_epoch for share in dataset.report.corpora] == [106, 26]
    inputs, labels = next(iter(dataset))
    assert pair.source.decode(inputs["source"][0].numpy()) in {text for text, _ in PAIRS}
    assert pair.decode(labels[0].numpy()) in {text for _, text in PAIRS}
    assert int(inputs["target"][0, 0]) == START and not np.any(labels[-1].numpy() == START)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentations": 0}, "segmentations must be a whole number of at least 1, got 0"),
        ({"sampling": 0.1}, r"^sampling=0\.1 has no meaning with segmentations=1\. Give segmentations=8, or so\.$"),
        ({"segmentations": 2, "sampling": 1.5}, r"strength must be from 0 to 1 in kind 'bpe', got 1\.5"),
        ({"segmentations": 2, "sampling": "0.1"}, "strength must be a number, got '0.1'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(corpus_files, tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        parallel_corpus(*corpus_files, tokenizer, **options)


def test_tokenizers_without_random_segmentations_are_refused(tmp_path, corpus_files):
    with pytest.raises(ValueError, match="needs a tokenizer with the method sample, and Characters has none"):
        parallel_corpus(*files(tmp_path, [("ab", "c")]), Characters(), segmentations=2)
    wordpiece = Tokenizer.train(corpus_files, 25, "wordpiece")
    with pytest.raises(ValueError, match="a tokenizer of kind 'wordpiece' has no random segmentations"):
        parallel_corpus(*corpus_files, wordpiece, segmentations=2)
