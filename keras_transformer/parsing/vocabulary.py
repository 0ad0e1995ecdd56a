"""What ids mean: brackets of trees, places of words, and the spaces between words."""

from typing import NamedTuple

import numpy as np

from keras_transformer.ids import NUM_RESERVED, UNK
from keras_transformer.parsing.pairs import SPACE


class TreeIds(NamedTuple):
    """What each id of the target means. Ids that are none of the three are special, or go on with a word."""

    opens: np.ndarray  # (V,) bool: an opening bracket
    closes: np.ndarray  # (V,) bool: a closing bracket
    is_word: np.ndarray  # (V,) bool: the place of a word, or the first piece of a word
    labels: np.ndarray  # (V,) int32: the number of a bracket's label, equal for opening and closing; -1 at others
    tokens: list  # (V,) the tokens as `to_tokens` writes them: brackets and places of words; "" at others

    @property
    def label_count(self):
        return int(self.opens.sum())


def read_tree_ids(tokenizer, copies=False):
    """The `TreeIds` of a target's `Tokenizer`.

    Args:
        tokenizer: a `Tokenizer`.
        copies: whether its pieces are brackets and pieces of words, and not whole tokens of trees.

    Raises:
        ValueError: a piece is not a whole token of a tree; no place of a word; a bracket that cannot be closed.
    """
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    tokens = ["" if i < NUM_RESERVED else name.removeprefix(SPACE) for i, name in enumerate(names)]
    begins = np.array([name.startswith(SPACE) for name in names])
    is_bracket = np.array([len(token) > 1 and token[0] in "()" for token in tokens]) & begins
    if not copies:
        _check_whole_tokens(names, tokens)
    first = np.array([token[:1] for token in tokens])
    opens, closes = is_bracket & (first == "("), is_bracket & (first == ")")
    labels = sorted({token[1:] for token, bracket in zip(tokens, is_bracket, strict=True) if bracket})
    for label in labels:
        missing = [token for token in (f"({label}", f"){label}") if token not in tokens]
        if missing:
            raise ValueError(f"the target's tokenizer lacks {missing[0]!r}. Train it on the trees that have the other.")
    is_word = begins & ~is_bracket
    is_word[:NUM_RESERVED] = False
    if not labels or not is_word.any():
        raise ValueError("the target's tokenizer has no bracket, or no place of a word. See tokenizer_options.")
    numbers = [labels.index(token[1:]) if is_bracket[i] else -1 for i, token in enumerate(tokens)]
    if copies:
        tokens = [token if bracket else "" for token, bracket in zip(tokens, is_bracket, strict=True)]
    return TreeIds(opens, closes, is_word, np.array(numbers, "int32"), tokens)


def _check_whole_tokens(names, tokens):
    """Raise ValueError if a piece is no token of a tree."""
    for name, token in zip(names[NUM_RESERVED:], tokens[NUM_RESERVED:], strict=True):
        if name == token or token in ("", "(", ")"):
            raise ValueError(
                f"the target's tokenizer has the piece {name!r}, which is no token of a tree. Train it with "
                "tokenizer_options, which makes each token one piece."
            )


class WordIds(NamedTuple):
    """What each id of the source means for the spaces of a text. Special ids are neither; UNK is text."""

    is_space: np.ndarray  # (V,) bool: a space alone
    begins: np.ndarray  # (V,) bool: a space and text after it
    goes_on: np.ndarray  # (V,) bool: text without a space before it


def read_word_ids(tokenizer):
    """The `WordIds` of a source's `Tokenizer`.

    Raises:
        ValueError: pieces do not tell where words begin.
    """
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    is_space = np.array([name == SPACE for name in names])
    starts = np.array([name.startswith(SPACE) for name in names])
    across = [name for name in names if SPACE in name[1:]]
    if across or not starts.any():
        example = f"the piece {across[0]!r}" if across else "no piece that begins with a space"
        raise ValueError(
            f"the source's tokenizer has {example}, so its pieces do not tell the words. Train one of the kind bpe or "
            "unigram that splits at spaces."
        )
    is_text = np.arange(len(names)) >= NUM_RESERVED
    is_text[UNK] = True
    return WordIds(is_space, starts & ~is_space, is_text & ~starts)
