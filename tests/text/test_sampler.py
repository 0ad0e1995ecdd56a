"""Drawn segmentations: their probabilities by another route, their limits, and that the text stays the same."""

import itertools
import math
import random
from collections import Counter

import pytest

from keras_transformer.text import Tokenizer, TokenizerPair
from keras_transformer.text.learning import MODELS
from keras_transformer.text.sampler import DRAWS, SegmentationSampler

LINES = [
    " ".join(random.Random(number).choices(["low", "lower", "lowest", "new", "newer", "wider", "ßub"], k=5))
    for number in range(60)
]
TEXTS = [*LINES[:20], "", " ", "  low  ", "snow", "🐎 low🐎er", "lower\tnewest"]
SCORES = {"▁": -4.0, "a": -1.5, "b": -2.0, "ab": -1.0, "ba": -2.5, "aba": -3.0, "▁a": -0.5, "▁ab": -6.0}


@pytest.fixture(scope="module")
def tokenizers():
    sentencepiece = {kind: Tokenizer.train(LINES, 300, kind, hard_vocab_limit=False) for kind in ("bpe", "unigram")}
    return {**sentencepiece, "wordpiece": Tokenizer.train(LINES, 50, "wordpiece")}


def by_hand(kind, alpha=0.3, scores=SCORES):
    """A sampler of a vocabulary that is written by hand. Its ids begin at 0."""
    return SegmentationSampler(kind, list(scores), dict(enumerate(scores.values())), alpha, seed=5)


def unigram_probabilities(text, alpha):
    """All segmentations of a text, each with its share of the sum of P^alpha."""
    cuts = (itertools.combinations(range(1, len(text)), count) for count in range(len(text)))
    rows = [[text[a:b] for a, b in itertools.pairwise([0, *cut, len(text)])] for cut in itertools.chain(*cuts)]
    products = {
        tuple(row): math.exp(alpha * sum(SCORES[piece] for piece in row)) for row in rows if set(row) <= set(SCORES)
    }
    return {row: product / sum(products.values()) for row, product in products.items()}


def bpe_probabilities(pieces, alpha):
    """All ends of BPE-dropout from some pieces on: a merge is the best that is not dropped."""
    places = [place for place in range(len(pieces) - 1) if pieces[place] + pieces[place + 1] in SCORES]
    places.sort(key=lambda place: (-SCORES[pieces[place] + pieces[place + 1]], place))
    ends = Counter({pieces: alpha ** len(places)})
    for better, place in enumerate(places):
        merged = (*pieces[:place], pieces[place] + pieces[place + 1], *pieces[place + 2 :])
        for end, probability in bpe_probabilities(merged, alpha).items():
            ends[end] += alpha**better * (1 - alpha) * probability
    return ends


def wordpiece_probabilities(text, alpha, begin=0):
    """All ends of MaxMatch-dropout from a place on: a match is the longest that is not dropped."""
    if begin == len(text):
        return {(): 1.0}
    fitting = [end for end in range(len(text), begin, -1) if ("##" * (begin > 0)) + text[begin:end] in WORDPIECES]
    ends = Counter()
    for longer, end in enumerate(fitting):
        taken = alpha**longer * (1.0 if end == fitting[-1] else 1 - alpha)
        for rest, probability in wordpiece_probabilities(text, alpha, end).items():
            ends[("##" * (begin > 0) + text[begin:end], *rest)] += taken * probability
    return ends


WORDPIECES = ["▁", "##a", "##b", "##ab", "##ba", "##aba", "▁a", "▁ab"]
EXPECTED = {
    "unigram": lambda: unigram_probabilities("▁abab", 0.3),
    "bpe": lambda: bpe_probabilities(tuple("▁abab"), 0.3),
    "wordpiece": lambda: wordpiece_probabilities("▁abab", 0.3),
}


@pytest.mark.parametrize("kind", MODELS)
def test_segmentations_have_their_probabilities(kind):
    """Over 20,000 draws, chi-square is below its 1 - 1e-6 quantile."""
    expected, draws = EXPECTED[kind](), 20_000
    assert sum(expected.values()) == pytest.approx(1) and len(expected) > 5
    pieces = WORDPIECES if kind == "wordpiece" else list(SCORES)
    sampler = by_hand(kind, scores=SCORES if kind != "wordpiece" else dict.fromkeys(WORDPIECES, 0))
    luck = random.Random(1)
    seen = Counter(tuple(pieces[i] for i in sampler._draw("▁abab", luck)) for _ in range(draws))
    assert set(seen) <= set(expected)
    common = {row: share for row, share in expected.items() if share * draws > 5}
    chi_square = sum((seen[row] - share * draws) ** 2 / (share * draws) for row, share in common.items())
    spread = 2 / (9 * len(common))
    assert chi_square < len(common) * (1 - spread + 4.753 * math.sqrt(spread)) ** 3  # by Wilson and Hilferty (1931)


@pytest.mark.parametrize(("kind", "alpha"), [("bpe", 1e-12), ("unigram", 1e4), ("wordpiece", 1e-12)])
def test_without_luck_it_is_the_usual_segmentation(tokenizers, kind, alpha):
    sampler = tokenizers[kind].sampler(alpha, seed=2)
    for text, ids in zip(TEXTS, tokenizers[kind].encode(TEXTS), strict=True):
        assert sampler(ids, 7) == ids, text


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_when_everything_is_dropped_characters_are_left(tokenizers, kind):
    tokenizer = tokenizers[kind]
    pieces = tokenizer.pieces(tokenizer.sampler(1.0)(tokenizer.encode("lower new"), 0))
    assert [piece.removeprefix("##") for piece in pieces if len(piece.removeprefix("##")) == 1] in (
        ["▁", *"lower", "▁", *"new"],
    )


@pytest.mark.parametrize("kind", MODELS)
def test_the_text_stays_the_same_and_the_pieces_change(tokenizers, kind):
    tokenizer = tokenizers[kind]
    sampler = tokenizer.sampler(0.05 if kind == "unigram" else 0.3, seed=1)
    rows = [[sampler(ids, key) for key in range(8)] for ids in tokenizer.encode(TEXTS)]
    usual_texts = tokenizer.decode(tokenizer.encode(TEXTS))
    for key in range(8):
        assert tokenizer.decode([drawn[key] for drawn in rows]) == usual_texts
    assert min(len(set(map(tuple, drawn))) for drawn in rows[:20]) > 4
    fallback = set(tokenizer.fallback_ids)
    for usual, drawn in zip(tokenizer.encode(TEXTS), rows, strict=True):
        kept = [i for i in usual if i in fallback]
        assert all([i for i in ids if i in fallback] == kept for ids in drawn)


def test_symbols_of_the_user_stay_whole():
    tokenizer = Tokenizer.train(LINES, 300, user_defined_symbols=["<name>"], hard_vocab_limit=False)
    [symbol] = [i for i in range(tokenizer.vocabulary_size) if tokenizer.pieces([i]) == ["<name>"]]
    ids = tokenizer.encode("low<name>er")
    assert all(tokenizer.sampler(1.0)(ids, key).count(symbol) == ids.count(symbol) == 1 for key in range(5))


def test_draws_depend_on_seed_and_key_alone():
    """The numbers are pinned: a training that is resumed years later must see the same segmentations."""
    word = [6, 3, 3]  # ▁a ab ab
    drawn = {key: by_hand("bpe")(word, key) for key in (0, 1, 2, 3)}
    sampler = by_hand("bpe")
    assert {key: sampler(word, key) for key in (3, 2, 1, 0)} == drawn, "the order of the calls makes no difference"
    assert drawn == PINNED
    assert by_hand("bpe")(word * 3, 0) != [*drawn[0]] * 3
    others = [
        SegmentationSampler("bpe", list(SCORES), dict(enumerate(SCORES.values())), 0.3, seed) for seed in range(9)
    ]
    assert len({tuple(other(word * 3, 0)) for other in others}) > 4


PINNED = {0: [0, 1, 5, 2], 1: [6, 5, 2], 2: [6, 3, 3], 3: [6, 3, 3]}


def test_a_place_takes_one_of_many_draws_of_its_word():
    sampler = by_hand("unigram")
    rows = {tuple(sampler([0, 3, 3], key)) for key in range(4 * DRAWS)}
    assert len(rows) > 9
    sampler._segmented.cache_clear()
    assert {tuple(sampler([0, 3, 3], key)) for key in range(4 * DRAWS)} == rows


@pytest.mark.parametrize("kind", MODELS)
def test_a_vocabulary_without_single_characters_keeps_the_usual_segmentation(kind):
    pieces = ["▁ab", "##cd"] if kind == "wordpiece" else ["▁ab", "cd"]
    sampler = SegmentationSampler(kind, pieces, {0: -1.0, 1: -2.0}, 1.0, 0)
    assert sampler([0, 1, 0], 3) == [0, 1, 0]


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        ("bpe", {"alpha": 0}, ValueError, "alpha=0 must be above 0 and at most 1 for a tokenizer of kind 'bpe'."),
        (
            "wordpiece",
            {"alpha": 1.5},
            ValueError,
            "alpha=1.5 must be above 0 and at most 1 for a tokenizer of kind 'wordpiece'",
        ),
        ("unigram", {"alpha": -1}, ValueError, "alpha=-1 must be a number above 0 for a tokenizer of kind 'unigram'"),
        ("unigram", {"alpha": math.inf}, ValueError, "alpha=inf must be a number above 0"),
        ("unigram", {"alpha": math.nan}, ValueError, "alpha=nan must be a number above 0"),
        ("bpe", {"alpha": "0.1"}, TypeError, "alpha='0.1' must be a number"),
        ("bpe", {"seed": 0.5}, TypeError, "seed must be a whole number, got 0.5"),
    ],
)
def test_what_is_no_sampler_is_refused(tokenizers, kind, options, error, message):
    with pytest.raises(error, match=message):
        tokenizers[kind].sampler(**options)


def test_a_marian_tokenizer_has_no_sampler():
    with pytest.raises(ValueError, match=r"kind 'marian' draws no segmentations\. Kinds that do are 'bpe',"):
        SegmentationSampler("marian", [], {}, None, 0)


def test_defaults_are_those_of_the_kind(tokenizers):
    assert [tokenizers[kind].sampler().alpha for kind in MODELS] == [0.1, 0.2, 0.1]
    pair = TokenizerPair(tokenizers["bpe"], tokenizers["unigram"])
    assert (pair.source.sampler().alpha, pair.target.sampler().alpha) == (0.1, 0.2)
