"""Texts as ids with END, and ids as the names of their pieces."""

import numpy as np

from keras_transformer.ids import END, NUM_RESERVED, PAD, UNK


class Pieces:
    """A `Tokenizer`'s vocabulary by name."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.names = np.array(tokenizer.pieces(range(tokenizer.vocabulary_size)), object)
        self.ids = {name: i for i, name in enumerate(self.names)}

    def source(self, sentences):
        """Strings -> lists of ids, closed by END."""
        return [[*ids, END] for ids in self.tokenizer.encode(sentences)] if sentences else []

    def target(self, translation):
        """A string or a list of pieces -> ids, closed by END.

        Raises:
            ValueError: a name that no piece of a text has.
        """
        if isinstance(translation, str):
            return [*self.tokenizer.encode(translation, side="target"), END]
        ids = [self.ids.get(name) for name in translation]
        ids = ids[:-1] if ids and ids[-1] == END else ids
        for name, i in zip(translation, ids, strict=False):
            if i is None or (i < NUM_RESERVED and i != UNK):
                raise ValueError(f"{name!r} is no piece of a translation by this tokenizer.")
        return [*ids, END]

    def named(self, ids):
        """An array of ids -> a tuple of names, padding left out."""
        ids = np.asarray(ids, np.int32)
        return tuple(self.names[ids[ids != PAD]])


def listed(sentences, batch_size, workers=1, name="sentences"):
    """The arguments of a call, checked: a list of strings, the argument `name`.

    Raises:
        TypeError: one string.
        ValueError: a batch size or a number of workers below 1.
    """
    if isinstance(sentences, str):
        raise TypeError(f"{name} must be a list of strings, got one string: write [{sentences[:60]!r}].")
    for argument, value in (("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{argument} must be at least 1, got {value}.")
    return list(sentences)
