"""How well a tokenizer fits the texts of a corpus: pieces a word, and pieces that stand for missing ones."""

import re
from typing import NamedTuple

from keras_transformer.inputs.tokenizers import side_of

# The scripts that are written without spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer, Chinese, Japanese, Yi.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19ff\u1a20-\u1aaf\u2e80-\u318f\u31a0-\ua4cf\uaa60-\uaadf"
    "\uf900-\ufaff\uff66-\uff9d\U00016fe0-\U00018cff\U0001b000-\U0001b16f\U00020000-\U000323af]"
)

# Measured on captions, everyday sentences and laws in English, German and French, with BPE, unigram and WordPiece of
# 600 to 8,000 pieces. Where the tokenizer was trained on the same languages and domain, a word takes at most 3.0
# pieces, a piece has at least 1.6 characters, and at most 0.01 % of the pieces are bytes. With pieces of another
# script, it is at least 4.7, at most 1.2, and often over 4 %. With another language of the script, bytes are 1 to 15 %.
MOST_FALLBACK = 0.02  # rare Chinese characters of held-out texts stay below
MOST_PIECES_A_WORD = 3.0
FEWEST_CHARACTERS_A_PIECE = 1.5  # long words, of Finnish or of chemistry, have many pieces, but of more characters
FEWEST_PIECES = 300  # a vocabulary with fewer, bytes not counted, has hardly more than single characters


class Fit(NamedTuple):
    """How well a tokenizer fits one side of a corpus.

    Attributes:
        pieces: how many pieces all texts have, END not counted.
        fallback: how many of them are single bytes or the unknown piece.
        words, characters, word_pieces: how many words, separated by white space, the texts have whose script is written
            with spaces; the characters of these words, and the pieces of these texts.
    """

    pieces: int
    fallback: int
    words: int
    characters: int
    word_pieces: int

    @property
    def fallback_share(self):
        """The share of bytes and unknown pieces, from 0 to 1."""
        return self.fallback / max(self.pieces, 1)

    @property
    def pieces_a_word(self):
        """Pieces for each word; None if no text has words that are separated by spaces."""
        return self.word_pieces / self.words if self.words else None

    @property
    def has_long_words(self):
        """Whether words take more pieces than where the tokenizer fits."""
        few = self.characters < FEWEST_CHARACTERS_A_PIECE * self.word_pieces
        return few and self.words > 0 and self.pieces_a_word > MOST_PIECES_A_WORD

    def __str__(self):
        words = "" if self.words == 0 else f"{self.pieces_a_word:.2f} pieces a word, "
        return f"{words}{self.fallback_share:.2%} bytes or unknown"


class FitCounter:
    """Counts a `Fit`, chunk after chunk."""

    def __init__(self):
        self.pieces = self.fallback = self.words = self.characters = self.word_pieces = 0

    def add(self, texts, pieces, fallback):
        """Count N texts.

        Args:
            texts: their strings.
            pieces, fallback: arrays [N], how many pieces each has, and how many of them are bytes or unknown.
        """
        self.pieces += int(pieces.sum())
        self.fallback += int(fallback.sum())
        for text, count in zip(texts, pieces.tolist(), strict=True):
            if text.isascii() or not _WITHOUT_SPACES.search(text):
                words = text.split()
                self.words += len(words)
                self.characters += sum(map(len, words))
                self.word_pieces += count

    def result(self):
        return Fit(self.pieces, self.fallback, self.words, self.characters, self.word_pieces)


def joined(fits):
    """The `Fit` of several corpora together."""
    return Fit(*map(sum, zip(*fits, strict=True)))


def misfits(fits, tokenizer):
    """The sides that a tokenizer does not fit: {"source": why}.

    Args:
        fits: {"source": `Fit`, "target": `Fit`}.
        tokenizer: its tokenizer. One that does not tell its `fallback_ids` is judged by its unknown pieces alone: it
            may work by characters.
    """
    return {
        side: str(fit)
        for side, fit in fits.items()
        if fit.fallback_share > MOST_FALLBACK or (has_words(side_of(tokenizer, side)) and fit.has_long_words)
    }


def has_words(tokenizer):
    """Whether a tokenizer of one vocabulary is known to have more than bytes and single characters."""
    fallback = getattr(tokenizer, "fallback_ids", None)
    return fallback is not None and tokenizer.vocabulary_size - len(fallback) >= FEWEST_PIECES
