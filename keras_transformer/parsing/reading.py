"""Files of bracketed trees: the Penn Treebank's, whose trees have several lines, or one tree a line."""

import re

from keras_transformer.files import read_lines
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.parsing.cleaning import clean_tree
from keras_transformer.parsing.nodes import DEEPEST, WHITE_SPACE, tree_class

_BRACKET = re.compile(r"[()]")
_TEXT = f"[^(){WHITE_SPACE}]+"


def read_trees(path: AnyPath):
    r"""Read the bracketed trees of a file, and clean them.

    Trees may have one line or several, and an extra pair of brackets around them. A line inside a tree begins with
    white space, as in the Penn Treebank: a "(" at the start of a line begins a tree. So an unclosed bracket is found
    where it is, and never joins two trees. `clean_tree` says what cleaning does.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer.parsing import read_trees

        Path("two.mrg").write_text("( (S (NP-SBJ (NNS mice))\n     (VP (VBP run))))\n(NP (NN fin))\n")
        trees = read_trees("two.mrg")
        assert [str(tree) for tree in trees] == ["(S (NP (NNS mice)) (VP (VBP run)))", "(NP (NN fin))"]
        ```

    Args:
        path: a file, plain or `.gz`, UTF-8.

    Returns:
        A list of `nltk.Tree`, in the order of the file.

    Raises:
        ImportError: nltk is not installed.
        ValueError: unbalanced brackets, text outside of brackets, a tree that `clean_tree` refuses, bytes that are not
            UTF-8, or no tree at all. The message names the file and the line.
        OSError: the file cannot be read.
    """
    Tree, path = tree_class(), check_source(path)
    trees = []
    for number, text in _texts(path):
        try:
            trees.append(clean_tree(Tree.fromstring(text, node_pattern=_TEXT, leaf_pattern=_TEXT)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not trees:
        raise ValueError(f"{path} holds no tree. A tree is in brackets, as in (NP (DT the) (NN cat)).")
    return trees


def _texts(path):
    """Yield for each tree of a file the number of its first line, and its text."""
    lines, depth, start = [], 0, 0
    for number, line in enumerate(read_lines(path), start=1):
        if depth and line.startswith("("):
            where = f"where line {number} begins another one. Close it, or indent the lines inside it"
            raise _unclosed(path, start, depth, where)
        place = 0
        for match in _BRACKET.finditer(line):
            if depth == 0:
                _check_outside(path, number, line[place : match.start()])
                if match[0] == ")":
                    raise ValueError(f"{path}, line {number}: a ) closes no bracket. Remove it, or open one before it.")
                lines, start, place = [], number, match.start()
            depth += 1 if match[0] == "(" else -1
            if depth > DEEPEST:
                raise ValueError(f"{path}, line {start}: more than {DEEPEST} brackets inside each other.")
            if depth == 0:
                yield start, "\n".join([*lines, line[place : match.end()]])
                place = match.end()
        if depth == 0:
            _check_outside(path, number, line[place:])
        else:
            lines.append(line[place:])
    if depth:
        raise _unclosed(path, start, depth, "at the end of the file")


def _check_outside(path, number, text):
    if text := text.strip():
        raise ValueError(f"{path}, line {number}: {text[:60]!r} is outside of brackets. Remove it.")


def _unclosed(path, start, depth, where):
    brackets = "1 bracket is" if depth == 1 else f"{depth} brackets are"
    return ValueError(f"{path}, line {start}: of the tree that begins here, {brackets} still open {where}.")
