"""A text without a visible character is blank, in Python and in graphs."""

import sys
import unicodedata

import pytest
import tensorflow as tf

from keras_transformer.inputs.blank import BLANK, WHITE_SPACE, is_blank

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def matching(pattern):
    """The characters that match a pattern of TensorFlow as a whole."""
    found = tf.strings.regex_full_match([character.encode() for character in CHARACTERS], pattern).numpy()
    return {character for character, matches in zip(CHARACTERS, found, strict=True) if matches}


def test_blank_is_the_same_in_python_and_in_graphs():
    assert matching(BLANK) == set(filter(is_blank, CHARACTERS))
    texts = ["", " \t\n", " a ", "\u200b\ufeff\u00ad", "\u200ba", "\0", "❤\ufe0f"]
    expected = [True, True, False, True, False, True, False]
    assert [is_blank(text) for text in texts] == expected
    assert tf.strings.regex_full_match(texts, BLANK).numpy().tolist() == expected


def test_white_space_is_what_python_says():
    assert matching(WHITE_SPACE) == set(filter(str.isspace, CHARACTERS))


def test_blank_characters_are_those_that_cannot_be_seen():
    blank = set(filter(is_blank, CHARACTERS))
    kinds = {character: unicodedata.category(character) for character in CHARACTERS}
    assert blank >= {character for character, kind in kinds.items() if kind in ("Cc", "Zs", "Zl", "Zp")}
    with_shape = {character for character in blank if kinds[character][0] in "LNPS"}
    assert with_shape == set("\u115f\u1160\u3164\uffa0\u2800")  # Hangul's fillers, and Braille's blank
    visible_formats = {character for character, kind in kinds.items() if kind == "Cf"} - blank
    scripts = {unicodedata.name(character).split()[0] for character in visible_formats}
    assert scripts == {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"}  # number signs, and joiners of hieroglyphs


@pytest.mark.parametrize("text", ["\u0301", "\u00a0x", "。", "\ufffd", "\U0001f40e", "<"])
def test_what_can_be_seen_is_not_blank(text):
    assert not is_blank(text)
