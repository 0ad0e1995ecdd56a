"""Two tokenizers for a model of two vocabularies, one for each language."""

from collections.abc import Sequence
from typing import Any, Self, overload

import tensorflow as tf

from keras_transformer.inputs.kinds import Texts, shown
from keras_transformer.inputs.paths import AnyPath, check_source, checked_path
from keras_transformer.inputs.tokenizers import PAIR_FILES, save_tokenizer, tokenizer_files
from keras_transformer.text.tokenizer import Tokenizer


class TokenizerPair(tf.Module):
    r"""A tokenizer for the source and another for the target. It takes the place of one `Tokenizer` everywhere.

    The model has two vocabularies. So it is made with `vocabulary_size`, `target_vocabulary_size`, and
    `tie_embeddings="target"` or `"none"`. The two tokenizers may be of different kinds.

    A pair of the same tokenizer twice does what this tokenizer does. Ids belong to a side, so the names of pieces are
    those of a side too: `pair.source.pieces(ids)`, `pair.target.pieces(ids)`. A pair can be pickled and copied.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, TokenizerPair

        Path("train.en").write_text("a cat\nthe dog\n")
        Path("train.de").write_text("eine Katze\nder Hund\n")
        pair = TokenizerPair(Tokenizer.train("train.en", 270), Tokenizer.train("train.de", 275))
        print(pair.encode("the dog"), pair.decode(pair.encode("der Hund", side="target")), pair.vocabulary_sizes)
        ```

    Args:
        source, target: a `Tokenizer` each, trained on the texts of its side.

    Attributes:
        source, target: the two.

    Raises:
        TypeError: one is no `Tokenizer`, for example a path.
    """

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        for side, tokenizer in (("source", source), ("target", target)):
            if not isinstance(tokenizer, Tokenizer):
                raise TypeError(
                    f"{side} must be a Tokenizer, for example Tokenizer.load(path), got {shown(tokenizer)}. "
                    "The order is TokenizerPair(source, target)."
                )
        super().__init__(name="tokenizer_pair")
        self.source, self.target = source, target

    def __reduce__(self):
        return type(self), (self.source, self.target)

    @classmethod
    def load(cls, folder: AnyPath) -> Self:
        """Read the two files that `save` or training wrote into a folder.

        Raises:
            ValueError: a file is not a tokenizer file. The message names it.
            OSError: a file is missing or cannot be read.
        """
        folder = check_source(folder, "folder", "folder")
        return cls(*(Tokenizer.load(folder / PAIR_FILES[side]) for side in ("source", "target")))

    def save(self, folder: AnyPath, overwrite: bool = False) -> None:
        """Write `source_tokenizer.model` and `target_tokenizer.model` into a folder. See `Tokenizer.save`.

        With `overwrite`, a `tokenizer.model` in the folder is removed: the pair takes its place.

        Raises:
            FileExistsError: the folder holds a file of a tokenizer and `overwrite` is False.
        """
        save_tokenizer(self, checked_path(folder, "folder"), overwrite)

    @property
    def vocabulary_sizes(self) -> dict[str, int]:
        """How many pieces each side has: {"source": int, "target": int}."""
        return {"source": self.source.vocabulary_size, "target": self.target.vocabulary_size}

    @property
    def vocabulary_size(self):
        raise AttributeError(
            "a TokenizerPair has two vocabularies: pair.source.vocabulary_size is the model's vocabulary_size, "
            "pair.target.vocabulary_size its target_vocabulary_size."
        )

    @property
    def fingerprint(self) -> dict[str, str]:
        """The fingerprint of each: {"source": str, "target": str}."""
        return {"source": self.source.fingerprint, "target": self.target.fingerprint}

    @property
    def language_codes(self) -> tuple[str, ...]:
        """The target languages that a sentence can begin with, pieces of the source. See `Tokenizer`."""
        return self.source.language_codes

    @overload
    def encode(self, text: str, side: str = ...) -> list[int]: ...

    @overload
    def encode(self, text: Texts, side: str = ...) -> list[list[int]]: ...

    def encode(self, text, side="source"):
        """Text of a side to ids, without START and END. See `Tokenizer.encode`."""
        return self._of(side).encode(text, side)

    @overload
    def decode(self, ids: Sequence[int]) -> str: ...

    @overload
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]: ...

    def decode(self, ids):
        """Ids of the target to text. See `Tokenizer.decode`; `pair.source.decode` takes ids of the source."""
        return self.target.decode(ids)

    def tokenize(self, strings: Any, side: str = "source") -> Any:
        """Text of a side to ids as tensors. See `Tokenizer.tokenize`."""
        return self._of(side).tokenize(strings, side)

    def detokenize(self, ids: Any) -> Any:
        """Ids of the target to text as tensors. See `Tokenizer.detokenize`."""
        return self.target.detokenize(ids)

    def _of(self, side):
        return self.target if side == "target" else self.source  # a Tokenizer refuses any other side

    def __repr__(self):
        return f"TokenizerPair({self.source!r}, {self.target!r})"


def read_tokenizer(folder):
    """The `Tokenizer` or the `TokenizerPair` that a folder holds.

    Raises:
        FileNotFoundError: it holds none, or half of a pair.
        ValueError: it holds both, or a file that is no tokenizer. The message names the file.
    """
    files = tokenizer_files(folder)
    return Tokenizer.load(*files) if len(files) == 1 else TokenizerPair(*map(Tokenizer.load, files))
