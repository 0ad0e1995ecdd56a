"""Trees as two aligned texts, sentences and token sequences, for `Tokenizer` and `parallel_corpus`."""

import os
from dataclasses import dataclass
from typing import Any

from keras_transformer.files import written_beside
from keras_transformer.ids import NUM_RESERVED
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath, checked_path
from keras_transformer.parsing.linear import checked_leaves, to_tokens
from keras_transformer.parsing.reading import read_trees
from keras_transformer.parsing.words import escaped, words_of
from keras_transformer.readers.corpora import Corpora, read_corpora

SPACE = "▁"  # SentencePiece's sign for the space before a token


@dataclass(frozen=True)
class TreePairsReport:
    """What `write_tree_pairs` wrote and left out.

    Attributes:
        trees: int, pairs that were written.
        words: int, their words.
        left_out: int, trees with more than `max_words` words.
        longest_sentence: int, the most words of a written sentence.
        longest_tree: int, the most tokens of a written tree. A `max_length` of `parallel_corpus` below this number
            leaves out pairs.
    """

    trees: int
    words: int
    left_out: int
    longest_sentence: int
    longest_tree: int

    def __str__(self) -> str:
        return (
            f"{self.trees:,} trees with {self.words:,} words; left out: {self.left_out:,}; the longest sentence has "
            f"{self.longest_sentence:,} words, the longest tree {self.longest_tree:,} tokens"
        )


def tree_pairs(path: AnyPath, leaves: str = "places") -> list[tuple[str, str]]:
    r"""Read a file of trees as pairs of texts: the sentence, and the tokens of its tree.

    The words of a sentence have spaces between them, and so have the tokens: `sentence.split(" ")` are the words.
    Brackets in words are brackets, see `words_of`; with `leaves="words"`, they have names in both texts.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer.parsing import tree_pairs

        Path("one.mrg").write_text("(S (NP (NNS mice)) (VP (VBP run)))\n")
        assert tree_pairs("one.mrg") == [("mice run", "(S (NP XX )NP (VP XX )VP )S")]
        ```

    Args:
        path: see `read_trees`.
        leaves: see `to_tokens`.

    Raises:
        ImportError, ValueError, OSError: see `read_trees`.
    """
    write = escaped if checked_leaves(leaves) == "words" else str
    return [(" ".join(map(write, words_of(tree))), " ".join(to_tokens(tree, leaves))) for tree in read_trees(path)]


def write_tree_pairs(
    path: AnyPath,
    sentences: AnyPath,
    tokens: AnyPath,
    leaves: str = "places",
    max_words: int | None = None,
    overwrite: bool = False,
) -> TreePairsReport:
    r"""Write a file of trees as two aligned files, which `Tokenizer.train` and `parallel_corpus` read.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer.parsing import write_tree_pairs

        Path("one.mrg").write_text("(S (NP (NNS mice)) (VP (VBP run)))\n")
        report = write_tree_pairs("one.mrg", "one.words", "one.trees")
        print(report)
        assert Path("one.words").read_text() == "mice run\n"
        ```

    Args:
        path: the file of trees, see `read_trees`.
        sentences: the file for the sentences, one a line.
        tokens: the file for the tokens, one tree a line.
        leaves: see `to_tokens`.
        max_words: int, or None. Trees over more words are left out, and counted in the report.
        overwrite: whether to replace files that exist.

    Returns:
        `TreePairsReport`.

    Raises:
        FileExistsError: a file exists, and `overwrite` is False.
        ImportError, ValueError, OSError: see `read_trees`. Also ValueError if two of the files are the same, a file to
            write ends in `.gz`, or `max_words` is below 1 or leaves out all trees; and OSError if a file cannot be
            written. Nothing is then written.
    """
    max_words = None if max_words is None else whole("max_words", max_words)
    files = {"path": path, "sentences": sentences, "tokens": tokens}
    if len({os.path.realpath(checked_path(file, name)) for name, file in files.items()}) < len(files):
        given = ", ".join(f"{name}={os.fspath(file)!r}" for name, file in files.items())
        raise ValueError(f"path, sentences and tokens must be three files, got {given}.")
    for name in ("sentences", "tokens"):
        if os.fspath(files[name]).endswith(".gz"):
            raise ValueError(f"{name}={os.fspath(files[name])!r} would hold plain text. Choose a name without .gz.")
    with (
        written_beside(sentences, overwrite, kind="file", argument="sentences") as new_sentences,
        written_beside(tokens, overwrite, kind="file", argument="tokens") as new_tokens,
    ):
        pairs = tree_pairs(path, leaves)
        kept = [pair for pair in pairs if max_words is None or _length(pair[0]) <= max_words]
        if not kept:
            raise ValueError(f"max_words={max_words} leaves out all {len(pairs)} trees of {path}. Raise it.")
        for new, texts in zip((new_sentences, new_tokens), zip(*kept, strict=True), strict=True):
            new.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="\n")
    lengths = [_length(sentence) for sentence, _ in kept]
    return TreePairsReport(
        trees=len(kept),
        words=sum(lengths),
        left_out=len(pairs) - len(kept),
        longest_sentence=max(lengths),
        longest_tree=max(_length(tree) for _, tree in kept),
    )


def _length(text):
    return text.count(" ") + 1


def tokenizer_options(tokens: Corpora, leaves: str = "places") -> dict[str, Any]:
    """The options with which `Tokenizer.train` makes each token of trees exactly one piece.

    Trees with `leaves="words"` have one tokenizer for sentences and trees. It is trained on the sentences, and each
    bracket is one piece.

    Example:
        ```python
        from keras_transformer import Tokenizer
        from keras_transformer.parsing import tokenizer_options

        trees = ["(S (NP XX )NP (VP XX )VP )S"]
        tokenizer = Tokenizer.train(trees, **tokenizer_options(trees))
        assert len(tokenizer.encode(trees[0])) == 8
        ```

    Args:
        tokens: a path, or a list of strings, with the tokens of one tree each, as `write_tree_pairs` wrote them. A
            token that is not among them becomes UNK.
        leaves: what the trees were written with, see `to_tokens`.

    Returns:
        A dictionary of keywords. With "words", it lacks `vocabulary_size`.

    Raises:
        ValueError: the texts have no opening bracket.
        TypeError, OSError: as in `Tokenizer.train`.
    """
    corpora = read_corpora("tokens", tokens)
    found = sorted({token for corpus in corpora for line in corpus.read() for token in line.split(" ") if token})
    if checked_leaves(leaves) == "words":
        found = [token for token in found if token[0] in "()"]
    if not any(token.startswith("(") for token in found):
        raise ValueError("tokens has no opening bracket. Give the token sequences of trees, as write_tree_pairs does.")
    symbols = {"model": "bpe", "user_defined_symbols": [SPACE + token for token in found]}
    if leaves == "words":
        return symbols
    return symbols | {
        "vocabulary_size": NUM_RESERVED + len(found),
        "byte_fallback": False,
        "hard_vocab_limit": False,
    }
