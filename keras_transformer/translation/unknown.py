"""Source words in the place of unknown pieces: each takes the word that it attends to most."""

import re

import numpy as np

from keras_transformer.ids import UNK


def source_words(sentence, ids, tokenizer):
    """The word that each piece of a sentence belongs to: a list of str, or None.

    Words are separated by white space. Each word is tokenized for itself. If the pieces of the words are those of
    the whole sentence, and there are any, each piece belongs to the word that it came from. Otherwise the result is
    None.

    Args:
        sentence: str.
        ids: list of int, `tokenizer.encode(sentence)`.
        tokenizer: a `Tokenizer` or a `TokenizerPair`.
    """
    chunks = re.split(r"(?<=\S) (?=\s*\S)", sentence)  # more white space than one space belongs to the next word
    pieces = tokenizer.encode(chunks)
    if [i for chunk_ids in pieces for i in chunk_ids] != ids:
        return None
    return [chunk.strip() for chunk, chunk_ids in zip(chunks, pieces, strict=True) for _ in chunk_ids] or None


def replace_unknown(ids, alignment, words, tokenizer):
    """The text of a translation with a source word in the place of each UNK.

    Args:
        ids: list of int, the translation.
        alignment: (T, S) float32, the attention of each token to the source. Its last column is the source's END.
        words: list of str, the word of each source piece without END, at least one.
        tokenizer: a `Tokenizer` or a `TokenizerPair`.
    """
    text, mark = tokenizer.decode(ids), tokenizer.decode([UNK]).strip()
    places = [t for t, token in enumerate(ids) if token == UNK]
    # The text up to an unknown piece ends with the mark of that piece, even if other text looks like the mark.
    ends = [len(begun.rstrip()) for begun in tokenizer.decode([ids[: t + 1] for t in places])]
    for t, end in reversed(list(zip(places, ends, strict=True))):
        text = text[: end - len(mark)] + words[int(np.argmax(alignment[t, :-1]))] + text[end:]
    return text
