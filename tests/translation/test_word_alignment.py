"""Links between words: sums over pieces, by hand, and through a `Translator`."""

import numpy as np
import pytest
import tiny

from keras_transformer import Translator
from keras_transformer.translation.word_alignment import word_links, words_of_pieces


def test_a_word_takes_the_source_word_with_the_greatest_sum_over_pieces():
    # Source words: 0 0 1 (three pieces). Target words: 0 1 1.
    weights = np.array([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8], [0.6, 0.2, 0.1]])
    assert word_links(weights, [0, 0, 1], [0, 1, 1], 2) == [(0, 0), (0, 1)]  # 0.6 > 0.4; 1.0 > 0.9
    assert word_links(weights[:, :0], [], [0, 1, 1], 0) == []


def test_pieces_belong_to_the_words_of_the_text(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path / "tokenizer")
    for text in ("3 14 159", "2718"):
        ids = tokenizer.encode(text)
        words = words_of_pieces(ids, tokenizer)
        joined = [
            tokenizer.decode([i for i, w in zip(ids, words, strict=True) if w == n]) for n in range(words[-1] + 1)
        ]
        assert [word.strip() for word in joined] == text.split()


def test_a_translator_links_each_word_and_a_batch_equals_single_pairs(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path / "tokenizer")
    translator = Translator(tiny.make_model(), tokenizer)
    sources, targets = ["3 1 4", "1", "", "5 9 2 6"], ["1 5", "9 2 6 5 3", "", "5"]
    links = translator.align_words(sources, targets, batch_size=3)
    assert links == [translator.align_words([s], [t])[0] for s, t in zip(sources, targets, strict=True)]
    for source, target, found in zip(sources, targets, links, strict=True):
        assert [place for _, place in found] == list(range(len(target.split())))
        assert all(0 <= word < len(source.split()) for word, _ in found)
        if found:  # by another way: the labels of `alignment`
            _, _, weights = translator.alignment(source, target)
            assert found == [(int(row[: len(source.split())].argmax()), n) for n, row in enumerate(weights[:-1])]
    with pytest.raises(ValueError, match="must be of one length, got 1 and 2"):
        translator.align_words(["1"], ["1", "2"])
