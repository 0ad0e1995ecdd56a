"""Several sentences in one text: find them, and put their translations together again."""

import logging
import re

from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.kinds import SentenceError
from keras_transformer.translation.source_checks import code_of

logger = logging.getLogger("keras_transformer")

# A mark that ends a sentence, with the quotes and brackets that close after it.
_CLOSING = "[\"'”’»«›)\\]]*"
_ENDS = re.compile(rf"(?:[.!?…]+{_CLOSING}(?=\s)|[。！？｡]+[」』”’）]*)")
# What may follow the white space after it: opening quotes or brackets, and then no small letter.
_BEGINS = re.compile(r"\s+[\"'“„‘«»‹(\[¿¡–—-]*\s*([^\W_])")
_ENDS_IN_CHINESE = re.compile(r"[。！？｡][」』”’）]*$")
# Words of English, German and French after which a full stop does not end a sentence.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st jr sr rev hon gen col capt lt sgt vs etc e.g i.e cf fig no vol pp approx inc ltd co u.s u.k "
    "hr fr nr bzw ca d.h z.b u.a v.a s.o s.u usw vgl evtl ggf str abs art bd "
    "m mm mme mlle mgr me p.ex c.-à-d env av apr".split()
)
_WORD = re.compile(r"(\S+)\.$")


def split_sentences(text):
    """Cut a text into its sentences, without the white space between them: a list of at least one string.

    A sentence ends at ".", "!", "?" or "…" before white space, if the next word does not begin with a small letter, and
    at "。", "！" and "？". A full stop after a number, a single letter or a common abbreviation of English, German or
    French ends none. This is a rule of thumb: it rather leaves two sentences together than cuts one.
    """
    sentences, start = [], 0
    for end in _ENDS.finditer(text):
        if _is_an_end(text, start, end) and not is_blank(text[end.end() :]):
            sentences.append(text[start : end.end()].strip())
            start = end.end()
    return [*sentences, text[start:].strip() if sentences else text]


def _is_an_end(text, start, end):
    """Whether the match of a mark ends the sentence that begins at `start`."""
    if end.group()[0] in "。！？｡":
        return True
    following = _BEGINS.match(text, end.end())
    if following is None or following[1].islower():
        return False
    word = _WORD.search(text, start, end.start() + 1)
    if word is None or end.group()[0] != "." or end.group().startswith(".."):
        return True
    stem = word[1].strip("\"'“„(«[").lower()
    return not (stem in _ABBREVIATIONS or len(stem) == 1 or stem.isdigit() or re.fullmatch(r"(\w\.)+\w", stem))


def join_sentences(translations):
    """One text of the translations of a text's sentences. After a Chinese or Japanese full stop there is no space."""
    text = ""
    for translation in filter(None, translations):
        text += ("" if not text or _ENDS_IN_CHINESE.search(text) else " ") + translation
    return text


def translated_by_sentence(translate, texts):
    """Translate texts sentence by sentence: the translation of each text, in order.

    A target language before a text, `>>fra<<`, counts for all its sentences.

    Args:
        translate: a function from a list of sentences to their translations.
        texts: a list of strings.

    Raises:
        SentenceError: what `translate` raises, with the number of the text.
    """
    groups = []
    for text in texts:
        code = code_of(text)
        first, *others = split_sentences(text)
        groups.append([first, *(f"{code} {sentence}" if code else sentence for sentence in others)])
    try:
        translations = iter(translate([sentence for group in groups for sentence in group]))
    except SentenceError as error:
        numbers = [number for number, group in enumerate(groups) for _ in group]
        raise SentenceError(numbers[error.number], error.rule) from error
    return [join_sentences([next(translations) for _ in group]) for group in groups]


def warn_of_lost_sentences(texts, translations):
    """Warn of texts of several sentences whose translation has fewer: the others are probably lost."""
    lost = [
        text
        for text, translation in zip(texts, translations, strict=True)
        if (count := len(split_sentences(text))) > 1 and count > len(split_sentences(translation))
    ]
    if lost:
        logger.warning(
            "%d of %d texts have more sentences than their translation: a model that was trained on single sentences "
            "translates only the first. Pass split_sentences=True to translate each sentence by itself. One of these "
            "texts: %r",
            *(len(lost), len(texts), lost[0][:60]),
        )
