"""Corpora from lists, generators and tables; what does not fit a corpus; and how well a tokenizer fits it."""

import json
import logging
import os
import threading
import unicodedata

import pandas
import pytest
from characters import Characters, files, same

from keras_transformer import Tokenizer
from keras_transformer.data import parallel_corpus, read_pairs
from keras_transformer.data.fit import Fit, FitCounter, misfits

PAIRS = [(f"a{number}", f"b{number}{number}") for number in range(30)]
SIDES = [list(side) for side in zip(*PAIRS, strict=True)]
ORDER = "The order is parallel_corpus(source, target, tokenizer)."


@pytest.mark.parametrize("kind", [list, tuple, iter, pandas.Series], ids=lambda kind: kind.__name__)
def test_sentences_in_memory_are_the_corpus_of_their_files(tmp_path, kind):
    in_files = parallel_corpus(*files(tmp_path, PAIRS), Characters(), tokens_per_batch=60)
    in_memory = parallel_corpus(*map(kind, SIDES), Characters(), tokens_per_batch=60)
    assert in_memory.fingerprint == in_files.fingerprint, "a run of one can be resumed with the other"
    assert same(list(in_memory), list(in_files))
    assert in_memory.report.corpora[0].source == "source"
    mixed = parallel_corpus(files(tmp_path, PAIRS)[0], kind(SIDES[1]), Characters(), tokens_per_batch=60)
    assert mixed.fingerprint == in_files.fingerprint
    assert read_pairs(*map(kind, SIDES)) == PAIRS


def test_corpora_in_memory_can_be_mixed_with_files_and_weights(tmp_path):
    paths = files(tmp_path, PAIRS[:10])
    dataset = parallel_corpus([paths[0], SIDES[0][10:]], [paths[1], iter(SIDES[1][10:])], Characters(), weights=[2, 1])
    shares = [(share.source, share.kept, share.pairs_an_epoch) for share in dataset.report.corpora]
    assert shares == [(paths[0], 10, 20), ("source[1]", 20, 20)]


def test_a_pipe_is_a_corpus_and_two_sides_need_two_pipes(tmp_path):
    _, target = files(tmp_path, PAIRS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=["".join(f"{line}\n" for line in SIDES[0])])
    writer.start()
    assert parallel_corpus(pipe, target, Characters()).report.kept == 30
    writer.join()
    with pytest.raises(ValueError, match=r"pipe is a pipe, and is named twice"):
        parallel_corpus(pipe, pipe, Characters())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([*SIDES[0], "c d"], SIDES[1]), ValueError, "source has 31 sentences and target has 30: they must be al"),
        ((iter(SIDES[0]), SIDES[1][:7]), ValueError, "source has 30 sentences and target has 7: they must be al"),
        (([], []), ValueError, "source and target must name the same number of files, at least one each; got 0 and 0"),
        ((iter([]), iter([])), ValueError, "source and target have no sentences"),
        ((["a b", None], ["x y", "z"]), TypeError, r"source\[1\] must be a string, got None \(NoneType\)"),
        ((["a b", "c"], ["x y", float("nan")]), TypeError, r"target\[1\] must be a string, got nan \(float\)"),
        ((["a b"], ["x\ny"]), ValueError, r"target\[0\]: a line end inside the sentence. Replace it with"),
        ((["a b"], ["x\ry"]), ValueError, r"target\[0\]: a carriage return inside the sentence. Replace it with"),
        ((["a b", "c\udc80"], ["x", "y"]), ValueError, r"source\[1\]: it has half a surrogate pair, which is"),
        ((pandas.DataFrame({"en": ["a"]}), ["b"]), TypeError, r"source must be .* a table .* columns en"),
    ],
)  # fmt: skip
def test_sentences_that_no_corpus_may_have_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        parallel_corpus(*arguments, Characters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (Characters(), SIDES[0], "valid.de"),
            "tokenizer must be a Tokenizer, got 'valid.de' (str). Read a file with Tokenizer.load(path). " + ORDER,
        ),
        ((Characters(), *SIDES), "tokenizer must be a Tokenizer, got ['b00', 'b11', 'b22', 'b33', 'b44', "),
        ((*SIDES, None), f"tokenizer must be a Tokenizer, got None (NoneType). {ORDER}"),
        ((5, SIDES[1], Characters()), "source must be a path, or a list of paths or of sentences, got 5 (int)."),
    ],
)
def test_arguments_in_another_order_are_named(arguments, message):
    with pytest.raises(TypeError) as error:
        parallel_corpus(*arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": 2}, r"weights must be a list of numbers, one for each path, got 2 \(int\)"),
        ({"start": 3}, r"start must be \(epoch, batch\), both from 0, got 3 \(int\)"),
    ],
)
def test_options_of_another_kind_are_named(options, message):
    with pytest.raises(TypeError, match=message):
        parallel_corpus(*SIDES, Characters(), **options)


def test_an_unknown_target_language_is_named(tmp_path):
    lines = [f"{number} ox" for number in range(60)]
    tokenizer = Tokenizer.train(lines, 300, user_defined_symbols=[">>deu<<", ">>fra<<"])
    source = [f">>fra<< {line}" for line in lines]
    assert parallel_corpus(source, lines, tokenizer).report.kept == 60
    with pytest.raises(ValueError, match=r"source\[60\]: it begins with .* It has >>deu<<, >>fra<<\."):
        parallel_corpus([*source, ">>xyz<< ox"], [*lines, "ox"], tokenizer)


# English, its letters as Cyrillic ones, and a text without spaces.
WORDS = "the man who runs along this narrow street wears bright yellow shoes while several others watch".split()
ENGLISH = [" ".join(WORDS[(place + step) % len(WORDS)] for step in range(7)) for place in range(len(WORDS))] * 20
NAMES = [unicodedata.name(chr(code)).lower() for code in range(0x100, 0x180)]  # many more words
LETTERS = {97 + number: 0x430 + number for number in range(26)}
CYRILLIC = [line.translate(LETTERS) for line in ENGLISH]
CHINESE = [line.translate({97 + number: 0x4E00 + number for number in range(26)}).replace(" ", "") for line in ENGLISH]


@pytest.fixture(scope="module")
def english():
    return Tokenizer.train([*ENGLISH, *CHINESE], 600, hard_vocab_limit=False)


def test_a_tokenizer_of_other_data_gets_a_warning(english, caplog):
    russian = Tokenizer.train(
        [*(line.translate(LETTERS) for line in [*ENGLISH, *NAMES]), "".join(map(chr, LETTERS))], 600
    )
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        parallel_corpus(ENGLISH, CHINESE, english)
        assert caplog.records == []
        report = parallel_corpus(ENGLISH, CYRILLIC, russian).report
    [record] = caplog.records
    words = report.source_fit.words
    assert words == 7 * len(ENGLISH)
    assert report.source_fit.pieces_a_word > 4
    assert record.getMessage() == (
        f"the tokenizer does not fit the source: {report.source_fit}. One that was trained on such text has at most 3 "
        "pieces a word and 2% bytes or unknown. Train one on these files, or check which files and which tokenizer you "
        "gave."
    )
    assert str(report.source_fit) == (
        f"{report.source_fit.pieces / words:.2f} pieces a word, {report.source_fit.fallback_share:.2%} bytes or unknown"
    )
    assert f"source: {report.source_fit}; target: {report.target_fit}\n" in str(report)


def test_bytes_and_unknown_pieces_get_a_warning_in_every_script(english, caplog):
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        report = parallel_corpus(ENGLISH, [chr(ord(line[0]) + 500) + line for line in CHINESE], english).report
    assert [record.getMessage()[:41] for record in caplog.records] == ["the tokenizer does not fit the target: 39"]
    assert report.target_fit.pieces_a_word is None, "its words cannot be counted"
    assert report.target_fit.fallback == 3 * len(ENGLISH)


def test_words_are_counted_where_spaces_separate_them():
    counter = FitCounter()
    import numpy as np

    counter.add(["ab c", "我是", "x 我", "한국 사람", "  "], np.array([5, 2, 3, 4, 1]), np.array([1, 0, 2, 0, 0]))
    assert counter.result() == Fit(pieces=15, fallback=3, words=4, characters=7, word_pieces=10)
    assert counter.result().pieces_a_word == 2.5


def test_limits_of_a_fit():
    def fit(pieces_a_word, characters_a_piece, fallback=0):
        pieces = 100 * pieces_a_word
        return Fit(pieces, fallback, 100, int(characters_a_piece * pieces), pieces)

    class Subwords:
        vocabulary_size, fallback_ids = 1000, (1,)

    fits = {"short": fit(2, 1.0), "long": fit(5, 1.6), "cut": fit(5, 1.2), "bytes": fit(2, 3, 5), "few": fit(2, 3, 4)}
    assert list(misfits(fits, Subwords)) == ["cut", "bytes"]
    assert list(misfits(fits, Characters())) == ["bytes"], "its pieces may be characters"
    assert misfits({"none": Fit(0, 0, 0, 0, 0)}, Subwords) == {}


def test_the_fingerprint_stays_plain():
    assert json.loads(json.dumps(parallel_corpus(*SIDES, Characters()).fingerprint))["pairs"] == 30
