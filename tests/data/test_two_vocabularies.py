"""A corpus of two tokenizers: each side has the ids, the limits and the fit of its own."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tiny
from characters import same

from keras_transformer import Tokenizer, TokenizerPair, parallel_corpus
from keras_transformer.data.fit import Fit, misfits
from keras_transformer.data.store import PairStore
from keras_transformer.ids import END

PAIRS = tiny.lettered_pairs(40)
SIDES = [list(side) for side in zip(*PAIRS, strict=True)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny.make_pair(tmp_path_factory.mktemp("pair"))


def test_each_side_has_the_ids_of_its_tokenizer(pair):
    corpus = parallel_corpus(*SIDES, pair, num_shapes=1, shuffle=False)
    assert corpus.vocabulary_sizes == {"source": 25, "target": 21}
    assert not corpus.has_one_vocabulary
    found = {"source": [], "target": []}
    for inputs, labels in corpus:
        for side, ids in (("source", inputs["source"]), ("target", labels)):
            found[side] += [[i for i in row if i] for row in ids.numpy().tolist() if any(row)]
    for side, texts in zip(found, SIDES, strict=True):
        assert found[side] == [[*ids, END] for ids in getattr(pair, side).encode(texts)]


def test_a_pair_of_the_same_tokenizer_gives_the_corpus_of_that_tokenizer(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path)
    sides = [list(side) for side in zip(*tiny.digit_pairs(40), strict=True)]
    one, two = (parallel_corpus(*sides, each) for each in (tokenizer, TokenizerPair(tokenizer, tokenizer)))
    assert same(list(one), list(two))
    assert (one.report, one.fingerprint) == (two.report, two.fingerprint)
    assert one.has_one_vocabulary and two.has_one_vocabulary
    assert one.vocabulary_sizes == two.vocabulary_sizes


class Numbers:
    """Makes an id of each number, whatever it is."""

    def __init__(self, vocabulary_size):
        self.vocabulary_size = vocabulary_size

    def tokenize(self, strings, side):
        return tf.strings.to_number(tf.strings.split(strings), tf.int32)


def two(source, target):
    """A pair of other tokenizers than ours."""
    parts = {"source": source, "target": target}
    return SimpleNamespace(**parts, tokenize=lambda strings, side: parts[side].tokenize(strings, side))


def test_a_bad_id_is_one_of_its_side():
    numbers = two(Numbers(31), Numbers(70_001))
    numbers.source.fingerprint, numbers.target.fingerprint = "one", "other"
    corpus = parallel_corpus(["30", "5"], ["70000", "6"], numbers, num_shapes=1, shuffle=False)
    [(inputs, labels)] = list(corpus)
    assert (inputs["source"][:2, 0].numpy().tolist(), labels[:2, 0].numpy().tolist()) == ([30, 5], [70_000, 6])
    for source, target, message in (
        ("31", "70000", r"source\[0\]: the tokenizer gave an id that is neither 1 \(unknown\) nor in 4\.\.30\."),
        ("30", "70001", r"target\[0\]: the tokenizer gave an id that is neither 1 \(unknown\) nor in 4\.\.70000\."),
    ):
        with pytest.raises(ValueError, match=message):
            parallel_corpus([source], [target], numbers)
    assert PairStore(1 << 16).dtype == np.uint16


def test_exchanged_tokenizers_are_refused_by_unknown_pieces(pair, caplog):
    exchanged = TokenizerPair(pair.target, pair.source)
    for arguments in ((*SIDES, exchanged), (*SIDES[::-1], pair)):
        with pytest.raises(ValueError, match=r"^source and target suit the TokenizerPair in the other order: \d"):
            parallel_corpus(*arguments)
    few = [texts[:19] for texts in SIDES]
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        parallel_corpus(*few, pair)
        assert caplog.records == []
        parallel_corpus(*few, exchanged)
    starts = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert starts == ["the tokenizer does not fit the source", "the tokenizer does not fit the target"]


def test_exchanged_tokenizers_are_refused_by_their_number_of_pieces(tmp_path):
    """Two languages of one alphabet: nothing is unknown, but words are cut into more pieces."""
    words = ["stone", "river", "mountain", "yellow"], ["nietse", "erviri", "tainmoun", "lowyel"]
    sides = [[f"{words[n % 4]} {words[(n + n // 4) % 4]}" for n in range(24)] for words in words]
    pair = TokenizerPair(*(Tokenizer.train(texts, 290, hard_vocab_limit=False) for texts in sides))
    counts = [[sum(map(len, part.encode(texts))) for part in (pair.source, pair.target)] for texts in sides]
    assert counts[0][0] < 0.9 * counts[0][1] and counts[1][1] < 0.9 * counts[1][0]
    assert parallel_corpus(*sides, pair).report.source_fit.pieces == counts[0][0]
    with pytest.raises(ValueError) as error:
        parallel_corpus(*sides, TokenizerPair(pair.target, pair.source))
    assert str(error.value) == (
        f"source and target suit the TokenizerPair in the other order: {counts[0][0]} and {counts[1][1]} pieces, not "
        f"{counts[0][1]} and {counts[1][0]}. Exchange the two, or check which tokenizer is for which file."
    )
    parallel_corpus(sides[0], sides[0], TokenizerPair(pair.target, pair.source))  # one side would suit it less


def test_each_side_is_judged_by_the_pieces_of_its_tokenizer():
    subwords = SimpleNamespace(vocabulary_size=1000, fallback_ids=(1,))
    characters = SimpleNamespace(vocabulary_size=1000)  # each of its pieces may be a character
    cut = Fit(pieces=500, fallback=0, words=100, characters=600, word_pieces=500)
    fits = {"source": cut, "target": cut}
    assert list(misfits(fits, SimpleNamespace(source=subwords, target=characters))) == ["source"]
    assert list(misfits(fits, SimpleNamespace(source=characters, target=subwords))) == ["target"]
