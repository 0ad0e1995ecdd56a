"""The only door to nltk, which is loaded at first use; and what all modules of this room know of trees."""

import re

from keras_transformer.inputs.kinds import shown

DEEPEST = 200  # brackets inside each other; functions that call themselves stay far from Python's limit
TAG = "XX"  # the part-of-speech tag of a word without one
TOP = "TOP"  # the label of a root that is no phrase of the sentence
NO_ELEMENT = "-NONE-"  # the tag of an empty element
WHITE_SPACE = " \t\n\r\f\v"  # ends a word or a label; other white space of Unicode does not
_WHITE_SPACE = re.compile(f"[{WHITE_SPACE}]")


def tree_class():
    """`nltk.Tree`.

    Raises:
        ImportError: nltk is not installed.
    """
    try:
        from nltk.tree import Tree
    except ImportError as error:
        raise ImportError(
            "keras_transformer.parsing needs nltk: pip install 'keras-transformer-translation[parsing]'. "
            f"Python says: {error}"
        ) from error
    return Tree


def check_tree(name, tree, deepest=DEEPEST + 1):  # to_tree may have put a root above a tree that was as deep as allowed
    """Raise TypeError if a value is no `nltk.Tree`, and ValueError if its brackets are nested too deep."""
    Tree = tree_class()
    if not isinstance(tree, Tree):
        hint = " Take its .tree." if isinstance(getattr(tree, "tree", None), Tree) else ""
        raise TypeError(f"{name} must be an nltk.Tree, got {shown(tree)}.{hint}")
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in node if isinstance(child, Tree)]
        if depth > deepest:
            raise ValueError(f"{name} has more than {deepest} brackets inside each other.")


def is_one_word(text):
    """Whether a text has a character, and no white space."""
    return text != "" and _WHITE_SPACE.search(text) is None


def pieces(text):
    """The parts of a text between white space."""
    return [piece for piece in _WHITE_SPACE.split(text) if piece]


def is_word(node):
    """Whether a node is a part-of-speech tag over its word."""
    return len(node) == 1 and isinstance(node[0], str)


def tagged_words(tree):
    """The nodes of a tree that are a tag over a word, from left to right."""
    return list(tree.subtrees(is_word))
