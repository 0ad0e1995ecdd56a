"""Drawings of trees, laid out by nltk."""

from keras_transformer.files import xml_text
from keras_transformer.inputs.numbers import whole
from keras_transformer.parsing.nodes import check_tree

KINDS = ("text", "ascii", "svg")


def draw_tree(tree, kind: str = "text", width: int | None = None) -> str:
    """Draw a tree, as text for a terminal or as SVG.

    Example:
        ```python
        from pathlib import Path

        import nltk
        from keras_transformer.parsing import draw_tree

        tree = nltk.Tree.fromstring("(S (NP (NNS mice)) (VP (VBP run)))")
        print(draw_tree(tree))
        Path("tree.svg").write_text(draw_tree(tree, "svg"), encoding="utf-8")
        ```

    Args:
        tree: an `nltk.Tree`.
        kind: "text" has the line signs of Unicode, "ascii" only "_" and "|", for terminals without them. "svg" is a
            picture.
        width: int, columns of the terminal. If a drawing as text is wider, the result has the tree's brackets instead,
            one phrase a line and indented. None draws at any width.

    Returns:
        str: the lines of the drawing, or the text of an SVG file.

    Raises:
        TypeError: `tree` is no tree.
        ValueError: an unknown kind, or a `width` below 1.
    """
    check_tree("tree", tree)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
    width = None if width is None else whole("width", width)
    from nltk.tree.prettyprinter import TreePrettyPrinter

    drawing = TreePrettyPrinter(tree)
    if kind == "svg":
        return xml_text(drawing.svg())
    lines = [line.rstrip() for line in drawing.text(unicodelines=kind == "text").splitlines()]
    if width is not None and max(map(len, lines)) > width:
        return tree.pformat(margin=width)
    return "\n".join(lines).rstrip("\n")
