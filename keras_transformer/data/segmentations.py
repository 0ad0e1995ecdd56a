"""The segmentations of each pair of a corpus: the usual one, or several that are drawn."""

import itertools

import numpy as np

from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.tokenizers import SIDES, side_of


def check_alpha(segmentations, alpha):
    """Raise ValueError if an `alpha` is given, and nothing is drawn."""
    if segmentations == 1 and alpha is not None:
        raise ValueError(
            f"segmentation_alpha={alpha!r} is of drawn segmentations, and segmentations=1 is the usual one. "
            "Give more segmentations, for example 5, or leave segmentation_alpha out."
        )


class Segmentations:
    """How many segmentations each pair has, and how they are drawn.

    Args:
        tokenizer, max_length, seed: see `parallel_corpus`.
        number: int. 1 is the usual segmentation, with more they are drawn.
        alpha: float or None, see `Tokenizer.sampler`.

    Raises:
        ValueError: `number` is below 1; `alpha` is outside its range, or is given and nothing is drawn; a kind of
            tokenizer has no sampler.
        TypeError: an argument is of another kind, or the tokenizer is not ours.
    """

    def __init__(self, tokenizer, number, alpha, seed, max_length):
        self.number, self.max_length = whole("segmentations", number), max_length
        check_alpha(self.number, alpha)
        self.options, self.samplers, self.pairs = {}, (), 0
        if self.number == 1:
            return
        parts = [side_of(tokenizer, side) for side in SIDES]
        for part in parts:
            if not hasattr(part, "sampler"):
                raise TypeError(f"segmentations={self.number} needs a Tokenizer or a TokenizerPair, got {shown(part)}.")
        try:
            source = parts[0].sampler(alpha, seed)
            self.samplers = source, source if parts[1] is parts[0] else parts[1].sampler(alpha, seed)
        except (TypeError, ValueError) as error:
            message = str(error).replace("alpha=", "segmentation_alpha=")
            raise type(error)(f"segmentations={self.number}: {message}") from error
        alphas = {side: sampler.alpha for side, sampler in zip(SIDES, self.samplers, strict=True)}
        self.options = {"segmentations": self.number, "segmentation_alpha": alphas}

    def draw(self, ids, source_lengths, target_lengths):
        """The segmentations of the next N pairs.

        Args:
            ids: the usual ids of all pairs in one array, in each pair the source before the target.
            source_lengths, target_lengths: arrays [N], how many ids each side of a pair has.

        Returns:
            The same for all segmentations: `ids`, and lengths [N x number] with the segmentations of a pair one after
            another.
        """
        if self.number == 1:
            return ids, source_lengths, target_lengths
        lengths = np.stack([source_lengths, target_lengths], axis=1)
        ends = np.cumsum(lengths).tolist()
        sides = [ids[a:b].tolist() for a, b in itertools.pairwise([0, *ends])]  # source, target, source, …
        drawn = []
        for pair in zip(sides[::2], sides[1::2], strict=True):
            for number in range(self.number):
                drawn += self._drawn(pair, self.pairs * self.number + number)
            self.pairs += 1
        sizes = np.array([len(side) for side in drawn], np.int32).reshape(-1, 2)
        return np.array(list(itertools.chain.from_iterable(drawn)), ids.dtype), sizes[:, 0], sizes[:, 1]

    def _drawn(self, pair, key):
        """A segmentation of a pair: two lists of ids. It is the usual one if the drawn one is too long."""
        drawn = [
            sampler(ids, 2 * key + side) for side, (sampler, ids) in enumerate(zip(self.samplers, pair, strict=True))
        ]
        return pair if max(map(len, drawn)) + 1 > self.max_length else drawn
