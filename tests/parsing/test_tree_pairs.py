"""Trees as two aligned texts, and the vocabulary of their tokens."""

import pytest

from keras_transformer import Tokenizer, TokenizerPair, parallel_corpus
from keras_transformer.parsing import (
    TreePairsReport,
    read_trees,
    to_tokens,
    to_tree,
    tokenizer_options,
    tree_pairs,
    write_tree_pairs,
)

TREES = """( (S (NP-SBJ (NNS mice)) (VP (VBP eat) (NP (NN Ca-LRB-2+-RRB-)))))
(NP (DT the) (-LRB- -LRB-) (NN SHH) (-RRB- ]))
(FRAG (NN \u00e9t\u00e9\u00a0now))
"""
PAIRS = [
    ("mice eat Ca(2+)", "(S (NP XX )NP (VP XX (NP XX )NP )VP )S"),
    ("the ( SHH ]", "(NP XX XX XX XX )NP"),
    ("\u00e9t\u00e9\u00a0now", "(FRAG XX )FRAG"),
]


@pytest.fixture
def trees(tmp_path):
    path = tmp_path / "trees.mrg"
    path.write_text(TREES, encoding="utf-8")
    return path


def test_trees_become_two_aligned_files(trees, tmp_path):
    assert tree_pairs(trees) == PAIRS
    for (sentence, tokens), tree in zip(PAIRS, read_trees(trees), strict=True):
        assert to_tokens(to_tree(tokens, sentence.split(" ")).tree) == to_tokens(tree)
    report = write_tree_pairs(trees, tmp_path / "words", tmp_path / "trees")
    assert report == TreePairsReport(trees=3, words=8, left_out=0, longest_sentence=4, longest_tree=11)
    assert str(report) == (
        "3 trees with 8 words; left out: 0; the longest sentence has 4 words, the longest tree 11 tokens"
    )
    for name, side in (("words", 0), ("trees", 1)):
        expected = "".join(f"{pair[side]}\n" for pair in PAIRS)
        assert (tmp_path / name).read_bytes().decode() == expected


def test_long_trees_are_left_out_and_counted(trees, tmp_path):
    report = write_tree_pairs(trees, tmp_path / "words", tmp_path / "trees", leaves="tags", max_words=3)
    assert (report.trees, report.left_out, report.longest_sentence) == (2, 1, 3)
    assert (tmp_path / "trees").read_text().splitlines()[0] == "(S (NP NNS )NP (VP VBP (NP NN )NP )VP )S"


def test_nothing_is_lost_when_writing_fails(trees, tmp_path):
    words, tokens = tmp_path / "words", tmp_path / "trees"
    words.write_text("before")
    with pytest.raises(FileExistsError, match="words exists already"):
        write_tree_pairs(trees, words, tokens)
    broken = tmp_path / "broken.mrg"
    broken.write_text("(S (NN a))\n(S (NN b)")
    with pytest.raises(ValueError, match=r"broken\.mrg, line 2: of the tree that begins here, 1 bracket is still open"):
        write_tree_pairs(broken, words, tokens, overwrite=True)
    tokens.mkdir()
    with pytest.raises(IsADirectoryError, match=r"tokens='.*trees' is a folder"):
        write_tree_pairs(trees, words, tokens, overwrite=True)
    with pytest.raises(ValueError, match=r"max_words=2 leaves out all 1 trees of .*one\.mrg\. Raise it\.$"):
        (tmp_path / "one.mrg").write_text("(S (NN a) (NN b) (NN c))")
        write_tree_pairs(tmp_path / "one.mrg", words, tmp_path / "new", overwrite=True, max_words=2)
    with pytest.raises(ValueError, match=r"must be three files, got path='.*words', tokens='.*words'\.$"):
        write_tree_pairs(trees, words, tmp_path / "." / "words", overwrite=True)
    with pytest.raises(ValueError, match=r"tokens='.*t\.gz' would hold plain text\. Choose a name without \.gz\.$"):
        write_tree_pairs(trees, words, tmp_path / "t.gz", overwrite=True)
    assert words.read_text() == "before" and not (tmp_path / "new").exists()


def test_each_token_is_one_piece_and_comes_back(trees, tmp_path):
    write_tree_pairs(trees, tmp_path / "words", tmp_path / "trees")
    tokenizer = Tokenizer.train(tmp_path / "trees", **tokenizer_options(tmp_path / "trees"))
    tokens = {token for _, tree in PAIRS for token in tree.split()}
    assert tokenizer.vocabulary_size == 4 + len(tokens)
    for _, tree in PAIRS:
        ids = tokenizer.encode(tree)
        assert len(ids) == len(tree.split()) and tokenizer.decode(ids) == tree
    assert 1 in tokenizer.encode("(S (QP XX )QP )S")  # no label of these trees


def test_pairs_become_batches(trees, tmp_path):
    write_tree_pairs(trees, tmp_path / "words", tmp_path / "trees")
    words = Tokenizer.train(tmp_path / "words", vocabulary_size=300)
    pieces = Tokenizer.train(tmp_path / "trees", **tokenizer_options(tmp_path / "trees"))
    corpus = parallel_corpus(
        tmp_path / "words", tmp_path / "trees", TokenizerPair(words, pieces), tokens_per_batch=64, max_length=32
    )
    inputs, labels = next(iter(corpus))
    assert corpus.report.kept == 3 and inputs["target"].shape == labels.shape


@pytest.mark.parametrize(
    ("tokens", "kind", "message"),
    [
        (["mice eat"], ValueError, r"tokens has no opening bracket\. Give the token sequences of trees"),
        ([], ValueError, r"tokens has no opening bracket"),
        (7, TypeError, r"tokens must be a path, or a list of paths or of sentences, got 7 \(int\)"),
    ],
)
def test_what_is_no_tree_has_no_options(tokens, kind, message):
    with pytest.raises(kind, match=message):
        tokenizer_options(tokens)
