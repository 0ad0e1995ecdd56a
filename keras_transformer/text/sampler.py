"""Other segmentations of a text, drawn at random: BPE-dropout, unigram sampling, MaxMatch-dropout."""

import functools
import itertools
import math
import random
from collections.abc import Sequence

import numpy as np

from keras_transformer.inputs.kinds import shown
from keras_transformer.text.subwords import SPACE

ALPHAS = {"bpe": 0.1, "unigram": 0.2, "wordpiece": 0.1}
DRAWS = 256  # the segmentations that are drawn of a word; each place of the word takes one of them
MOST_REMEMBERED = 1 << 18  # drawn segmentations; one that was forgotten is drawn again, the same


class SegmentationSampler:
    r"""Draws other segmentations of a text, as subword regularization needs them.

    A training that sees a text in several segmentations learns that they mean the same (Kudo 2018, "Subword
    Regularization"). Each word of a text is segmented again:

    - "bpe": BPE-dropout (Provilkov et al. 2020). A word begins as its characters. At each step, each possible merge is
      dropped with probability `alpha`, and the best of the others is done. The word is finished when there is none.
      With `alpha=1` it stays characters.
    - "unigram": a segmentation has a probability in proportion to P^`alpha`, where P is the product of the
      probabilities of its pieces (Kudo 2018, section 3.2). All segmentations take part, not only the best. With a large
      `alpha` it is the usual segmentation, with a small one all are alike.
    - "wordpiece": MaxMatch-dropout (Hiraoka 2022). From left to right, each piece of several characters that fits is
      dropped with probability `alpha`, and the longest of the others is taken.

    A byte, an unknown piece and a symbol that the user defined stay as they are. A word begins at a piece that begins
    with "▁". 256 segmentations are drawn of each word, and each place of the word takes one of them at random. They
    depend only on `seed`, the word and the key, so every process draws the same.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer

        Path("train.txt").write_text("the lowest tower\nthe slower tow\n")
        tokenizer = Tokenizer.train("train.txt", vocabulary_size=290)
        sampler = tokenizer.sampler(alpha=0.5, seed=1)
        ids = tokenizer.encode("the lower tower")
        for key in range(3):
            print(tokenizer.pieces(sampler(ids, key)))
        assert tokenizer.decode(sampler(ids, 0)) == "the lower tower"
        ```

    `Tokenizer.sampler` makes one.

    Args:
        kind: str, "bpe", "unigram" or "wordpiece".
        pieces: the piece of each id, list of str [V]. In "wordpiece" a piece inside a word begins with "##".
        scores: a dictionary from the ids of the pieces that a segmentation can be made of to their scores, float. In
            "bpe" the piece with the highest score is merged first; in "unigram" a score is a log probability; in
            "wordpiece" they are not used.
        alpha: float. In "bpe" and "wordpiece" above 0 and at most 1, in "unigram" above 0. None is 0.1, and 0.2 in
            "unigram".
        seed: int.

    Raises:
        ValueError: `alpha` is outside its range, or `kind` is another.
        TypeError: `alpha` is no number, or `seed` no whole number.
    """

    def __init__(self, kind: str, pieces: list[str], scores: dict[int, float], alpha: float | None, seed: int) -> None:
        draws = {"bpe": self._drop_merges, "unigram": self._sample, "wordpiece": self._drop_matches}
        if kind not in draws:
            known = ", ".join(map(repr, draws))
            raise ValueError(f"a tokenizer of kind {kind!r} draws no segmentations. Kinds that do are {known}.")
        alpha = ALPHAS[kind] if alpha is None else alpha
        if isinstance(alpha, bool) or not hasattr(alpha, "__float__"):
            raise TypeError(f"alpha={alpha!r} must be a number.")
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"seed must be a whole number, got {shown(seed)}.")
        most = math.inf if kind == "unigram" else 1.0
        if not 0 < float(alpha) <= most or math.isinf(float(alpha)):
            range_ = "a number above 0" if kind == "unigram" else "above 0 and at most 1"
            raise ValueError(f"alpha={alpha!r} must be {range_} for a tokenizer of kind {kind!r}.")
        self.alpha, self.seed = float(alpha), int(seed)
        self._draw = draws[kind]
        self._begins = [piece.startswith(SPACE) for piece in pieces]
        self._texts = {i: pieces[i].removeprefix("##") if kind == "wordpiece" else pieces[i] for i in scores}
        self._ids = {pieces[i]: i for i in scores}
        self._scores = {pieces[i]: score for i, score in scores.items()}
        self._longest = max(map(len, self._ids), default=0)
        self._segmented = functools.lru_cache(MOST_REMEMBERED)(self._segment)

    def __call__(self, ids: Sequence[int], key: int) -> list[int]:
        """Draw another segmentation of a text.

        Args:
            ids: the usual segmentation of the text, ids without START and END.
            key: int. Another key draws another segmentation.

        Returns:
            A list of ids that decode to the same text.
        """
        luck = random.Random(f"{self.seed} {key}")
        return [i for word in self._words(ids) for i in self._segmented(word, luck.randrange(DRAWS))]

    def _words(self, ids):
        """The words of a text, each a tuple of ids."""
        starts = [place for place, i in enumerate(ids) if place and self._begins[i]]
        return [tuple(ids[a:b]) for a, b in zip([0, *starts], [*starts, len(ids)], strict=True)]

    def _segment(self, word, number):
        """The segmentation of a word with a number: some ids stay as they are, the text between them is cut again."""
        luck, result = random.Random(f"{self.seed} {word} {number}"), []
        for is_text, part in itertools.groupby(word, self._texts.__contains__):
            usual = list(part)
            drawn = self._draw("".join(self._texts[i] for i in usual), luck) if is_text else None
            result += usual if drawn is None else drawn
        return result

    def _drop_merges(self, text, luck):
        """The ids of a text by BPE-dropout. None if a character is no piece."""
        pieces = list(text)
        while True:
            best, place = -math.inf, None
            for left in range(len(pieces) - 1):
                score = self._scores.get(pieces[left] + pieces[left + 1], -math.inf)
                if score > best and luck.random() >= self.alpha:
                    best, place = score, left
            if place is None:
                break
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        return [self._ids[piece] for piece in pieces] if all(piece in self._ids for piece in pieces) else None

    def _sample(self, text, luck):
        """The ids of a text, in proportion to P^alpha: sums from the left, then draws from the right."""
        totals = [0.0]  # logarithms: for each place, the sum over the segmentations of the text before it
        last_pieces = [()]  # for each place, what can be the last piece before it: (its begin, logarithm of the sum)
        for end in range(1, len(text) + 1):
            begins = (a for a in range(max(0, end - self._longest), end) if text[a:end] in self._scores)
            last_pieces.append([(a, totals[a] + self.alpha * self._scores[text[a:end]]) for a in begins])
            totals.append(float(np.logaddexp.reduce([total for _, total in last_pieces[end]])))
        if totals[-1] == -math.inf:
            return None
        ids, end = [], len(text)
        while end:
            weights = [math.exp(total - totals[end]) for _, total in last_pieces[end]]
            [(begin, _)] = luck.choices(last_pieces[end], weights)
            ids.append(self._ids[text[begin:end]])
            end = begin
        return ids[::-1]

    def _drop_matches(self, text, luck):
        """The ids of a text by MaxMatch-dropout. The shortest piece that fits is never dropped. None if none fits."""
        ids, begin = [], 0
        while begin < len(text):
            ends = range(min(len(text), begin + self._longest), begin, -1)
            fitting = [end for end in ends if ("##" if begin else "") + text[begin:end] in self._ids]
            if not fitting:
                return None
            end = next((end for end in fitting[:-1] if luck.random() >= self.alpha), fitting[-1])
            ids.append(self._ids[("##" if begin else "") + text[begin:end]])
            begin = end
        return ids
