"""Unknown pieces of a translation replaced by the source words they attend to."""

import numpy as np

from keras_transformer.ids import UNK


def source_words(sentence, tokenizer):
    """The word that each piece of a sentence belongs to: a list of str, or None where that cannot be told.

    Words stand between white space. It can be told where the words' pieces are the sentence's.
    """
    for words in (sentence.split(), sentence.split(" ")):  # WordPiece keeps all white space but the space in words
        pieces = tokenizer.encode(words) if words else []
        if [i for word in pieces for i in word] == tokenizer.encode(sentence):
            return [word for word, ids in zip(words, pieces, strict=True) for _ in ids]
    return None


def replace_unknown(ids, alignment, words, tokenizer):
    """The text of a translation with a source word in the place of each UNK.

    Args:
        ids: list of int, the translation.
        alignment: (T, S) float32, whom each token attends to; the source's END is the last column.
        words: list of str, the word of each source piece, END left out.
        tokenizer: a `Tokenizer`.
    """
    text, mark = tokenizer.decode(ids), tokenizer.decode([UNK]).strip()
    worded = np.array([bool(word.strip()) for word in words])
    if not worded.any():
        return text
    places = [t for t, token in enumerate(ids) if token == UNK]
    # A text up to an unknown piece ends with its mark, whatever else looks like one.
    ends = [len(begun.rstrip()) for begun in tokenizer.decode([ids[: t + 1] for t in places])]
    for t, end in reversed(list(zip(places, ends, strict=True))):
        word = words[int(np.argmax(np.where(worded, alignment[t, :-1], -1.0)))]
        text = text[: end - len(mark)] + word + text[end:]
    return text
