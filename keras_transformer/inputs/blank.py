"""Which texts are blank: those without a visible character. The same rule for Python and for TensorFlow."""

import re

# Unicode's white space and control characters, as ranges of code points.
_WHITE_SPACE = [(0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)]
_WHITE_SPACE += [(0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]
_CONTROLS = [(0x00, 0x1F), (0x7F, 0x9F)]
# Unicode's property Default_Ignorable_Code_Point: zero-width spaces, joiners, byte order marks, soft hyphens, marks of
# the writing direction, fillers, variation selectors, tags. Then annotation marks and the blank of Braille.
_IGNORABLE = [(0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)]
_IGNORABLE += [(0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F)]
_IGNORABLE += [(0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)]
_IGNORABLE += [(0xE0000, 0xE0FFF), (0xFFF9, 0xFFFB), (0x2800, 0x2800)]
INVISIBLE = tuple(_WHITE_SPACE + _CONTROLS + _IGNORABLE)


def _tensorflow_class(ranges):
    """TensorFlow's regular expression for any number of characters of these ranges."""
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]*"


WHITE_SPACE = _tensorflow_class(_WHITE_SPACE)  # what str.isspace() knows
BLANK = _tensorflow_class(INVISIBLE)  # a text that matches it as a whole is blank

_VISIBLE = re.compile("[^" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in INVISIBLE) + "]")


def is_blank(text):
    """Whether a text is empty, or has no visible character: only white space, controls, zero-width characters.

    A blank line has no place in a corpus. A blank sentence is never searched: its translation is empty, with score 0.
    """
    return _VISIBLE.search(text) is None
