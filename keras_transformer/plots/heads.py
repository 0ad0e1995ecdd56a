"""Arrays of attention made ready for pictures: whole words, and heads that are worth a look."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_transformer.inputs.numbers import whole
from keras_transformer.plots.attention_page import END_LABELS, START_LABEL

WORD_START = "▁"
INSIDE = "##"  # begins a piece of WordPiece that is inside a word


def join_pieces(
    weights: Any, source_labels: Sequence[str], target_labels: Sequence[str]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Join the pieces of words in attention weights, as figures of the paper show whole words.

    A word gets the sum of the weights that its pieces get, and gives the mean of what its pieces give, so each row
    still sums to 1. A piece that begins with "▁" begins a word, and the "##" of WordPiece is left out. Punctuation,
    START and END stay by themselves.

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        weights = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])  # (T, S)
        joined, source, target = plots.join_pieces(weights, ["▁good", "▁mor", "ning"], ["▁guten", "▁Morgen"])
        assert source == ["good", "morning"] and joined.tolist() == [[0.5, 0.5], [0.5, 0.5]]
        ```

    Args:
        weights: (..., T, S), float.
        source_labels: S pieces.
        target_labels: T pieces.

    Returns:
        The weights of words, the words of the source, and the words of the target.

    Raises:
        ValueError: the shape of the weights does not fit the labels.
    """
    weights = np.asarray(weights, dtype="float32")
    shape = (len(target_labels), len(source_labels))
    if weights.ndim < 2 or weights.shape[-2:] != shape or 0 in shape:
        raise ValueError(
            f"weights must have the shape (..., T, S) and no empty axis, with T = {shape[0]} target labels and S = "
            f"{shape[1]} source labels, got {weights.shape}."
        )
    source, target = _word_starts(source_labels), _word_starts(target_labels)
    joined = np.add.reduceat(weights, source, axis=-1)  # (..., T, words of the source)
    lengths = np.diff([*target, shape[0]])
    joined = np.add.reduceat(joined, target, axis=-2) / lengths[:, None]
    return joined.astype("float32"), _words(source_labels, source), _words(target_labels, target)


def _word_starts(labels):
    """The places of the pieces that begin a word."""
    alone = [label in (START_LABEL, *END_LABELS) or not any(map(str.isalnum, label)) for label in labels]
    alone = [is_alone and label != WORD_START for is_alone, label in zip(alone, labels, strict=True)]
    return [
        place
        for place, label in enumerate(labels)
        if place == 0 or label.startswith(WORD_START) or alone[place] or alone[place - 1]
    ]


def _words(labels, starts):
    """The words that begin at these places."""
    ends = [*starts[1:], len(labels)]
    inner = [label.removeprefix(INSIDE) if len(label) > len(INSIDE) else label for label in labels]
    words = ["".join(inner[start:end]) for start, end in zip(starts, ends, strict=True)]
    return [word.removeprefix(WORD_START) or word for word in words]


def sharpest_heads(weights: Any, row: int, count: int = 2, without: Sequence[int] = ()) -> list[int]:
    """The heads whose attention from one position goes to a single other position most of all.

    In figure 4 of the paper, two heads look sharply from "its" at what it stands for.

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        flat, sharp = [0.4, 0.3, 0.3], [0.9, 0.0, 0.1]
        weights = np.array([[flat, flat, flat], [flat, flat, sharp]])  # (H, T, S)
        assert plots.sharpest_heads(weights, row=2, count=1, without=[2]) == [1]
        ```

    Args:
        weights: (H, T, S), float.
        row: the number of the position that looks, from 0.
        count: how many heads.
        without: columns that do not count, for example of the position itself, of END and of punctuation.

    Returns:
        The numbers of the heads, from 0, the sharpest first.

    Raises:
        ValueError: the weights have another number of axes or are not finite, or there is no such row, column or
            number of heads.
    """
    weights = _heads(weights)
    check_places("row", [row], weights.shape[1])
    check_places("without", without, weights.shape[2])
    if whole("count", count) > len(weights):
        raise ValueError(f"count={count} must be at most the number of heads, {len(weights)}.")
    seen = np.delete(weights[:, row], list(without), axis=-1)  # (H, columns)
    if not seen.size:
        raise ValueError(f"without={list(without)} leaves no column.")
    return np.argsort(-seen.max(axis=-1), kind="stable")[:count].tolist()


def most_different_heads(weights: Any) -> tuple[int, int]:
    """The two heads whose weights differ most, by the mean over the rows of half the sum of absolute differences.

    In figure 5 of the paper, two heads of one layer have learned to do different things.

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        before, itself = np.eye(4, k=-1), np.eye(4)
        assert plots.most_different_heads(np.stack([itself, before, 0.9 * itself])) == (0, 1)
        ```

    Args:
        weights: (H, T, S), float, of at least two heads.

    Returns:
        The numbers of the heads, from 0, the smaller first.

    Raises:
        ValueError: the weights have another number of axes, only one head, or are not finite.
    """
    weights = _heads(weights)
    if len(weights) < 2:
        raise ValueError(f"weights must be of at least 2 heads, got {len(weights)}.")
    distances = np.abs(weights[:, None] - weights[None]).sum(axis=-1).mean(axis=-1) / 2  # (H, H)
    np.fill_diagonal(distances, -1.0)  # a head is not compared with itself
    first, second = np.unravel_index(distances.argmax(), distances.shape)
    return int(min(first, second)), int(max(first, second))


def _heads(weights):
    weights = np.asarray(weights, dtype="float32")
    if weights.ndim != 3 or not weights.size:
        raise ValueError(f"weights must have the shape (H, T, S) and no empty axis, got {weights.shape}.")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite. They hold others: the model's weights may not be finite.")
    return weights


def check_places(name, places, count):
    """Raise ValueError if one of some places is no whole number from 0 to `count` - 1."""
    for place in places:
        if whole(name, place, 0) >= count:
            raise ValueError(f"{name} must be from 0 to {count - 1}, got {place}.")
