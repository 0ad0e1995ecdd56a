"""Drawings as text and as SVG."""

import xml.etree.ElementTree as xml

import nltk
import pytest

from keras_transformer.parsing import draw_tree

TREE = nltk.Tree.fromstring("(S (NP (NNS mice)) (VP (VBP eat) (NP (NN R&D<))) (. .))")


def test_a_drawing_as_text_shows_each_label_and_word():
    drawing = draw_tree(TREE)
    lines = drawing.splitlines()
    assert lines[0].strip() == "S" and "┌" in drawing
    assert lines[-1].split() == ["mice", "eat", "R&D<", "."]
    assert all(line == line.rstrip() for line in lines)
    assert draw_tree(TREE, "ascii").isascii() and TREE.leaves()[0] == "mice"


def test_a_drawing_that_is_too_wide_becomes_brackets():
    drawing = draw_tree(TREE)
    width = max(map(len, drawing.splitlines()))
    assert draw_tree(TREE, width=width) == drawing
    narrow = draw_tree(TREE, width=width - 1)
    assert nltk.Tree.fromstring(narrow) == TREE and len(narrow.splitlines()) > 1


def test_an_svg_is_a_picture_with_the_words():
    root = xml.fromstring(draw_tree(TREE, "svg"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"S", "NP", "mice", "R&D<"} <= {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((TREE, "png"), ValueError, r"kind must be one of 'text', 'ascii', 'svg', got 'png'\."),
        ((TREE, "text", 0), ValueError, r"width must be a whole number of at least 1, got 0\."),
        (("(NP (NN x))",), TypeError, r"tree must be an nltk\.Tree, got"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        draw_tree(*arguments)


def test_an_svg_of_control_characters_is_xml():
    drawing = draw_tree(nltk.Tree("S", [nltk.Tree("N", ["a\x01", "\x00"])]), "svg")
    assert "a\\x01" in "".join(xml.fromstring(drawing).itertext())
