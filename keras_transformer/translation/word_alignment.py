"""Which source word each word of a translation attends to most."""

import numpy as np


def words_of_pieces(ids, tokenizer):
    """The word that each piece belongs to, as an index into the words of the text, which white space separates.

    Args:
        ids: list of int, the pieces of one text without END.
        tokenizer: a `Tokenizer`.

    Returns:
        A list of int. A piece of white space alone belongs to the word before it.
    """
    begun = tokenizer.decode([ids[: end + 1] for end in range(len(ids))])
    return [max(len(text.split()) - 1, 0) for text in begun]


def word_links(weights, source_words, target_words, num_source_words):
    """The links between words.

    Args:
        weights: (T, S), the attention of the pieces of a translation to those of its source, without END.
        source_words: S indices, the word of each source piece.
        target_words: T indices, the word of each piece of the translation.
        num_source_words: int, how many words the source has.

    Returns:
        A list of (source word, target word), one for each word of the translation, in its order. A word's attention is
        the sum over its pieces.
    """
    if not len(source_words) or not len(target_words):
        return []
    sums = np.zeros((max(target_words) + 1, num_source_words))
    places = np.minimum(source_words, num_source_words - 1)
    np.add.at(sums, (np.asarray(target_words)[:, None], places[None, :]), weights)
    return [(int(row.argmax()), number) for number, row in enumerate(sums)]
