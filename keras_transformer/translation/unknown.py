"""Unknown pieces of a translation replaced by the source words they attend to."""

import re

import numpy as np

from keras_transformer.ids import UNK


def source_words(sentence, tokenizer):
    """The word that each piece of a sentence belongs to: a list of str, or None where that cannot be told.

    Words stand between white space. It can be told where the words' pieces are the sentence's, and there are any.
    """
    chunks = re.split(r"(?<=\S) (?=\s*\S)", sentence)  # further white space belongs to the word after it
    pieces = tokenizer.encode(chunks)
    if [i for ids in pieces for i in ids] != tokenizer.encode(sentence):
        return None
    return [chunk.strip() for chunk, ids in zip(chunks, pieces, strict=True) for _ in ids] or None


def replace_unknown(ids, alignment, words, tokenizer):
    """The text of a translation with a source word in the place of each UNK.

    Args:
        ids: list of int, the translation.
        alignment: (T, S) float32, whom each token attends to; the source's END is the last column.
        words: list of str, the word of each source piece, at least one; END is left out.
        tokenizer: a `Tokenizer`.
    """
    text, mark = tokenizer.decode(ids), tokenizer.decode([UNK]).strip()
    places = [t for t, token in enumerate(ids) if token == UNK]
    # A text up to an unknown piece ends with its mark, whatever else looks like one.
    ends = [len(begun.rstrip()) for begun in tokenizer.decode([ids[: t + 1] for t in places])]
    for t, end in reversed(list(zip(places, ends, strict=True))):
        text = text[: end - len(mark)] + words[int(np.argmax(alignment[t, :-1]))] + text[end:]
    return text
