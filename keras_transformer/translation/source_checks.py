"""Sources that a model cannot translate as they are meant: unknown target languages, decomposed Unicode."""

import logging
import re
import unicodedata

from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.kinds import SentenceError

logger = logging.getLogger("keras_transformer")

_CODE = re.compile(r">>.*?<<", re.DOTALL)  # a target language before the text


def code_of(text):
    """The target language that a text begins with, such as ">>fra<<", or ""."""
    code = _CODE.match(text)
    return code[0] if code else ""


def check_codes(sentences, codes):
    """Refuse a sentence that begins with an unknown target language, and warn of sentences that begin with none.

    Args:
        sentences: a list of strings.
        codes: the target languages of the tokenizer. Without any, a sentence may begin as it likes.

    Raises:
        SentenceError: a sentence begins with `>>xyz<<`, which is no piece of the tokenizer.
    """
    if not codes:
        return
    known, without = ", ".join(codes), 0
    for number, sentence in enumerate(sentences):
        code = code_of(sentence)
        if code and code not in codes:
            raise SentenceError(number, f"begins with {code}, which is no target language here. Known are {known}.")
        without += not code and not is_blank(sentence)
    if without and len(codes) > 1:
        logger.warning(
            "%d of %d sentences do not begin with a target language. Known are %s.", without, len(sentences), known
        )


def warn_of_decomposed(sentences, sources, pieces):
    """Warn of sentences whose composed form (NFC) has fewer pieces, if the tokenizer does not compose them itself.

    Args:
        sentences: a list of strings.
        sources: their ids.
        pieces: the `Pieces` of the tokenizer.
    """
    if pieces.source.normalization != "none":
        return
    numbers = [i for i, text in enumerate(sentences) if not unicodedata.is_normalized("NFC", text)]
    composed = pieces.sources([unicodedata.normalize("NFC", sentences[i]) for i in numbers])
    longer = [i for i, ids in zip(numbers, composed, strict=True) if len(ids) < len(sources[i])]
    if longer:
        logger.warning(
            "%d of %d sentences have decomposed characters (an accent after its letter), which this tokenizer cuts "
            'into more pieces. Give unicodedata.normalize("NFC", text), or train with Tokenizer.train(..., '
            'normalization="nfc"). One of these sentences: %r',
            *(len(longer), len(sentences), sentences[longer[0]][:60]),
        )
