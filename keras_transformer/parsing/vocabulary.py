"""What ids mean: in the target, brackets and places of words; in the source, where words begin."""

from typing import NamedTuple

import numpy as np

from keras_transformer.ids import NUM_RESERVED, UNK
from keras_transformer.parsing.pairs import SPACE


class TreeIds(NamedTuple):
    """What each id of the target means. Ids that are none of the three are special."""

    opens: np.ndarray  # (V,) bool: an opening bracket
    closes: np.ndarray  # (V,) bool: a closing bracket
    is_word: np.ndarray  # (V,) bool: the place of a word
    labels: np.ndarray  # (V,) int32: the number of a bracket's label, equal for opening and closing; -1 at others
    tokens: list  # (V,) the tokens as `to_tokens` writes them; "" at special ids


def read_tree_ids(tokenizer):
    """The `TreeIds` of a target's `Tokenizer`.

    Raises:
        ValueError: a piece is not a whole token of a tree; no place of a word; a bracket that cannot be closed.
    """
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    tokens = ["" if i < NUM_RESERVED else name.removeprefix(SPACE) for i, name in enumerate(names)]
    for name, token in zip(names[NUM_RESERVED:], tokens[NUM_RESERVED:], strict=True):
        if name == token or token in ("", "(", ")"):
            raise ValueError(
                f"the target's tokenizer has the piece {name!r}, which is no token of a tree. Train it with "
                "tokenizer_options, which makes each token one piece."
            )
    first = np.array([token[:1] for token in tokens])
    opens, closes, special = first == "(", first == ")", first == ""
    labels = sorted({token[1:] for token in tokens if token[:1] in ("(", ")")})
    for label in labels:
        missing = [token for token in (f"({label}", f"){label}") if token not in tokens]
        if missing:
            raise ValueError(f"the target's tokenizer lacks {missing[0]!r}. Train it on the trees that have the other.")
    is_word = ~(opens | closes | special)
    if not labels or not is_word.any():
        raise ValueError("the target's tokenizer has no bracket, or no place of a word. Train it on tokens of trees.")
    is_bracket = opens | closes
    numbers = [labels.index(token[1:]) if is_bracket[i] else -1 for i, token in enumerate(tokens)]
    return TreeIds(opens, closes, is_word, np.array(numbers, "int32"), tokens)


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
