"""Texts as ids closed by END, and ids as the names of their pieces."""

import numpy as np

from keras_transformer.ids import END, NUM_RESERVED, PAD, UNK
from keras_transformer.inputs.tokenizers import side_of


class Pieces:
    """The ids of sentences and translations by a `Tokenizer` or a `TokenizerPair`, and the names of the target's."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.source, self.target = side_of(tokenizer, "source"), side_of(tokenizer, "target")
        self.names = np.array(self.target.pieces(range(self.target.vocabulary_size)), object)
        self.ids = {name: i for i, name in enumerate(self.names)}
        self.codes = self.source.language_codes

    def sources(self, sentences):
        """A list of strings -> lists of ids, closed by END."""
        return [[*ids, END] for ids in self._encode(sentences, "source")]

    def targets(self, translations):
        """A list of translations, each a string or a list of pieces -> lists of ids, closed by END.

        Raises:
            ValueError: a name that no piece of a text has.
        """
        # A list of pieces counts as an empty text here, so that an error about a text gives its place in the list.
        texts = [translation if isinstance(translation, str) else "" for translation in translations]
        encoded = self._encode(texts, "target")
        return [
            [*(ids if isinstance(translation, str) else self._ids_of(translation)), END]
            for translation, ids in zip(translations, encoded, strict=True)
        ]

    def prefixes(self, texts):
        """A list of strings -> lists of ids, not closed."""
        return self._encode(texts, "target")

    def names_of(self, ids):
        """A list of ids of the target -> a tuple of names."""
        return tuple(self.names[ids])

    def _encode(self, texts, side):
        return self.tokenizer.encode(texts, side) if texts else []

    def _ids_of(self, names):
        """The ids of a translation's pieces, without END."""
        ids = [self.ids.get(name) for name in names]
        ids = ids[:-1] if ids and ids[-1] == END else ids
        for name, i in zip(names, ids, strict=False):
            if i is None or (i < NUM_RESERVED and i != UNK):
                raise ValueError(f"{name!r} is no piece of a translation by this tokenizer.")
        return ids


def pad_rows(rows):
    """Lists of ids -> (B, L) int32, with padding."""
    ids = np.full((len(rows), max(1, *map(len, rows))), PAD, np.int32)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids
