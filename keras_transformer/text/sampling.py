"""Random segmentations of texts, for subword regularization."""

from concurrent.futures import ThreadPoolExecutor
from typing import overload

import sentencepiece

from keras_transformer.inputs.kinds import Texts, read_texts
from keras_transformer.inputs.numbers import real, whole

SEEDS = 2**32  # of SentencePiece
LEAST_POWER = 1e-3  # of probabilities; with 0 all segmentations would be the same to it


class SubwordSampling:
    """The method `sample` of a `Tokenizer`."""

    @overload
    def sample(self, text: str, seed: int, strength: float = ..., side: str = ...) -> list[int]: ...

    @overload
    def sample(self, text: Texts, seed: int, strength: float = ..., side: str = ...) -> list[list[int]]: ...

    def sample(self, text, seed, strength=0.1, side="source"):
        """Text to ids in a random segmentation: str -> list of int, list of str -> list of lists. See `encode`.

        `decode` gives the same text for each segmentation. In kind "bpe" each merge of two pieces is left out with the
        probability `strength` (BPE-dropout, Provilkov et al. 2020; they use 0.1). In kind "unigram" a segmentation is
        drawn with the `strength`-th power of its probability (Kudo 2018, who uses 0.1 to 0.5), so a smaller number
        gives more different ones. The same texts, seed and strength give the same ids.

        Example:
            ```python
            from keras_transformer import Tokenizer

            tokenizer = Tokenizer.train(["a cat sat", "a dog sat"] * 9, vocabulary_size=275)
            for seed in range(3):
                ids = tokenizer.sample("a cat sat", seed, strength=0.3)
                print(tokenizer.pieces(ids))
                assert tokenizer.decode(ids) == "a cat sat"
            ```

        Args:
            text: a str or a list of str.
            seed: int, from 0 to 2^32 - 1.
            strength: from 0 to 1, in kind "unigram" from 0.001.
            side: "source" or "target". It makes no difference in the kinds that have random segmentations.

        Raises:
            ValueError: the kind is another one, or a number is out of range.
            TypeError: `text` is neither a str nor a list of str.
        """
        if self.model not in ("bpe", "unigram"):
            raise ValueError(f"a tokenizer of kind {self.model!r} has no random segmentations. Kind 'bpe' has.")
        seed = whole("seed", seed, least=0)
        if seed >= SEEDS:
            raise ValueError(f"seed must be below 2^32, got {seed}.")
        least = 0 if self.model == "bpe" else LEAST_POWER
        if not least <= real("strength", strength) <= 1:
            raise ValueError(f"strength must be from {least:g} to 1 in kind {self.model!r}, got {strength}.")
        texts = [text] if isinstance(text, str) else list(read_texts("text", text))
        rows = self._source.sample(texts, seed, strength)
        return rows[0] if isinstance(text, str) else rows


def sample_pieces(processor, texts, seed, strength):
    """Random segmentations of texts by a `SentencePieceProcessor`: a list of lists of ids.

    SentencePiece has a random generator in each thread. Some versions read the seed only when a thread begins.
    """

    def encode():
        sentencepiece.set_random_generator_seed(seed)
        return processor.encode(texts, enable_sampling=True, alpha=strength, nbest_size=-1, num_threads=1)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(encode).result()
