"""Trees as parsers learn them: without function tags, indices and empty elements."""

import re

from keras_transformer.inputs.kinds import shown
from keras_transformer.parsing.nodes import (
    DEEPEST,
    NO_ELEMENT,
    TOP,
    WHITE_SPACE,
    check_tree,
    is_one_word,
    is_word,
    tree_class,
)
from keras_transformer.parsing.words import escaped

ROOTS = ("", "ROOT", "S1", TOP, "VROOT")  # names that treebanks and parsers give to a root above the sentence
_ENDS = re.compile("[-=|]")
_FORBIDDEN = re.compile(f"[(){WHITE_SPACE}]")


def clean_tree(tree):
    """A tree without function tags, indices, empty elements, and a root above the sentence.

    These are the steps:

    1. A label ends before its first "-", "=" or "|": `NP-SBJ-1` and `NP=2` become `NP`, and `ADVP|PRT` becomes `ADVP`.
       A label that begins with such a sign stays whole: `-LRB-`.
    2. Empty elements (`-NONE-`) are removed, and so are brackets in which nothing else was.
    3. A tag over several words is put over each of them: `(NN New York)` becomes `(NN New) (NN York)`.
    4. A root without a label, or named ROOT, S1, TOP or VROOT, is removed if one phrase is all it holds. Otherwise its
       name becomes TOP. So the root of a clean tree is never the tag of a word.

    Brackets over one bracket stay, also those of the same label, such as an NP whose only child is an NP. EVALB counts
    both, so scores stay comparable. The tree that is given does not change. A clean tree stays as it is.

    Example:
        ```python
        import nltk
        from keras_transformer.parsing import clean_tree

        tree = nltk.Tree.fromstring("( (S (NP-SBJ-1 (NNS mice)) (VP (VBD ran) (NP-1 (-NONE- *)))))")
        print(clean_tree(tree))
        assert str(clean_tree(tree)) == "(S (NP (NNS mice)) (VP (VBD ran)))"
        ```

    Args:
        tree: an `nltk.Tree`.

    Returns:
        An `nltk.Tree`.

    Raises:
        TypeError: `tree` is something else.
        ValueError: it has no words, a bracket that is empty or without a label, words and brackets side by side, or a
            label or a word with white space; or more than 200 brackets are inside each other.
    """
    check_tree("tree", tree, DEEPEST)
    Tree = tree_class()
    nodes = _cleaned(Tree, tree)
    if not nodes:
        raise ValueError("the tree has no words, only empty elements. Remove it.")
    root = Tree(TOP, nodes)
    while root.label() in ROOTS and len(root) == 1 and not is_word(root[0]):
        root = root[0]
    if root.label() in ROOTS:
        root.set_label(TOP)
    for node in root.subtrees():
        if not node.label():
            raise ValueError(f"a bracket inside the tree has no label: it holds {' '.join(node.leaves())[:60]!r}.")
    return root


def _cleaned(Tree, node):
    """The nodes that a node becomes: none if it is empty, several if it is a tag over several words."""
    label = node.label()
    if not isinstance(label, str) or _FORBIDDEN.search(label):
        raise ValueError(f"a label must be a string without white space and brackets, got {shown(label)}.")
    if len(node) == 0:
        raise ValueError(f"the bracket ({label}) is empty. Put a word into it, or remove it.")
    words = [child for child in node if not isinstance(child, Tree)]
    if words and len(words) < len(node):
        raise ValueError(f"the word {words[0]!r} has no part-of-speech tag of its own, as cat has in (NN cat).")
    if words:
        return [] if label == NO_ELEMENT else [Tree(_short(label), [_checked(word)]) for word in words]
    children = []
    for child in node:
        children += _cleaned(Tree, child)
    return [Tree(_short(label), children)] if children else []


def _short(label):
    return _ENDS.split(label, maxsplit=1)[0] or label  # a label that begins with such a sign stays whole: -LRB-


def _checked(word):
    if not isinstance(word, str) or not is_one_word(word):
        raise ValueError(f"a word must be a string without white space, got {shown(word)}.")
    return escaped(word)
