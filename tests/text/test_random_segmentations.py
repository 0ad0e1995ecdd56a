"""Random segmentations: the same text, the strengths at which they are known, and the law of BPE-dropout."""

import numpy as np
import pytest

from keras_transformer import Tokenizer

TEXTS = ["low lower lowest", "new newer newest", "wide wider widest", "a  b\tc 1😀"] * 3


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def tokenizer(request):
    return Tokenizer.train(TEXTS, 300, request.param, hard_vocab_limit=False)


def test_each_segmentation_gives_the_text_back_and_the_seed_decides(tokenizer):
    rows = {seed: tokenizer.sample(TEXTS, seed, 0.4) for seed in range(5)}
    for row in rows.values():
        assert tokenizer.decode(row) == TEXTS
    assert tokenizer.sample(TEXTS, 3, 0.4) == rows[3]
    assert len({str(row) for row in rows.values()}) == 5
    assert tokenizer.sample(TEXTS[0], 3, 0.4) == rows[3][0], "the first text of a list is the same alone"


def test_strengths_without_randomness():
    bpe = Tokenizer.train(TEXTS, 300, "bpe", hard_vocab_limit=False)
    assert bpe.sample(TEXTS, 1, 0) == bpe.encode(TEXTS)
    pieces = [bpe.pieces(row) for row in bpe.sample(TEXTS[:1], 1, 1)]
    assert pieces == [list("▁low▁lower▁lowest")], "without merges, only characters are left"


def test_a_merge_is_left_out_as_often_as_it_should_be():
    bpe = Tokenizer.train(["ab"] * 9, 265)
    assert bpe.pieces(bpe.encode("ab")) == ["▁ab"]
    draws, left_out = 4000, 0
    for row in bpe.sample(["ab"] * draws, 7, 0.3):
        left_out += len(row) > 1
    merges = 2  # "▁" and "a b", or "a b" and "▁": one piece is left only if both merges happen
    expected = 1 - (1 - 0.3) ** merges
    deviation = np.sqrt(expected * (1 - expected) / draws)
    assert abs(left_out / draws - expected) < 4 * deviation


def test_the_normal_form_is_that_of_encode():
    nfc = Tokenizer.train(["café crème"] * 5, 290, "bpe", "nfc", hard_vocab_limit=False)
    assert nfc.sample("cafe\u0301", 2, 0) == nfc.encode("café")


def test_what_cannot_be_sampled_is_refused(tokenizer):
    least = {"bpe": "0", "unigram": "0.001"}[tokenizer.model]
    rule = rf"^strength must be from {least} to 1 in kind '{tokenizer.model}', got -0\.1"
    with pytest.raises(ValueError, match=rule):
        tokenizer.sample("a", 1, -0.1)
    with pytest.raises(ValueError, match=r"^seed must be below 2\^32, got 4294967296"):
        tokenizer.sample("a", 2**32)
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        tokenizer.sample("a", -1)
