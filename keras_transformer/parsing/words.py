"""Words as trees write them and as texts write them: brackets have names in trees, as in the Penn Treebank."""

import re

from keras_transformer.inputs.kinds import read_sentences
from keras_transformer.parsing.nodes import check_tree, is_one_word

NAMES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
# A tree must name these two, which would be brackets of the tree. The others may stand as they are.
_MUST_HAVE_NAMES = str.maketrans({sign: NAMES[sign] for sign in "()"})
_SIGNS = {name: sign for sign, name in NAMES.items()} | {"\\/": "/", "\\*": "*"}
_NAME = re.compile("|".join(map(re.escape, _SIGNS)))


def words_of(tree) -> list[str]:
    r"""The words of a tree as a text has them: `-LRB-` becomes "(", and so do the other names of brackets.

    The Penn Treebank writes brackets in words by names: `-LRB-` and `-RRB-` for "(" and ")", `-LSB-`, `-RSB-`, `-LCB-`
    and `-RCB-` for square and curly ones. It also writes `\/` for "/" and `\*` for "*". `tree.leaves()` are the words
    as they stand in the tree.

    Example:
        ```python
        import nltk
        from keras_transformer.parsing import words_of

        tree = nltk.Tree.fromstring("(NP (NN BMP) (-LRB- -LRB-) (CD 2) (-RRB- -RRB-))")
        assert words_of(tree) == ["BMP", "(", "2", ")"]
        ```

    Args:
        tree: an `nltk.Tree`.

    Raises:
        TypeError: something else.
    """
    check_tree("tree", tree)
    return [plain(word) for word in tree.leaves()]


def plain(word):
    """A word of a tree as a text has it."""
    return _NAME.sub(lambda match: _SIGNS[match[0]], word)


def escaped(word):
    """A word of a text as a tree has it: "(" becomes `-LRB-`, and ")" becomes `-RRB-`."""
    return word.translate(_MUST_HAVE_NAMES)


def read_words(name, words):
    """The list of words that an argument is, checked.

    Raises:
        TypeError: no list of strings.
        ValueError: there are no words, or a word is empty or has white space.
    """
    words = read_sentences(name, words)
    if not words:
        raise ValueError(f"{name} is empty. A tree needs at least one word.")
    for number, word in enumerate(words):
        if not is_one_word(word):
            raise ValueError(f"{name}[{number}]={word!r} must be one word, without white space.")
    return words
