"""Attention as lines between two columns of words, as figures 3 to 5 of the paper draw it."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_transformer.inputs.paths import AnyPath
from keras_transformer.plots.canvas import LITERAL, Figure, new_figure, save, unicode_of
from keras_transformer.plots.figures import check_weights, grid, read_labels
from keras_transformer.plots.heads import check_places

LINE = 0.24  # inches from one word to the next
LETTER, WIDE_LETTER = 0.072, 0.12  # inches of a letter, of one of Chinese or Japanese
BETWEEN = 1.7  # inches between the two columns
FAINTEST = 0.02  # of the largest weight: what is less is not drawn
SPREAD = 0.5  # of a line, for the ends of all heads at one word
PALETTES = (10, "tab10"), (20, "tab20")  # the most heads, and colors that are easy to tell apart


def attention_lines(
    weights: Any,
    source_labels: Sequence[str],
    target_labels: Sequence[str],
    path: AnyPath | None = None,
    rows: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    separate: bool = False,
) -> Figure:
    """Draw attention as lines from each target word on the left to the source words on the right.

    Each head has a color. The larger a weight is, the stronger is its line: the largest of the picture is opaque, and
    weights below a fiftieth of it are left out. With `rows`, only some words on the left have lines: figures 3 and 4 of
    the paper. With `separate`, each head has a panel: figure 5.

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        words = ["its", "law", "is", "just"]
        weights = np.random.default_rng(1).dirichlet(np.ones(4), (2, 4))  # (H, T, S)
        figure = plots.attention_lines(weights, words, words, "its.svg", rows=[0])
        ```

    Args:
        weights: (T, S), or (H, T, S) for H heads; float, finite, not negative.
        source_labels: S strings.
        target_labels: T strings. In self-attention, the same as `source_labels`.
        path: the file to write, ending in ".png" or ".svg". None writes no file.
        rows: the numbers of the target words that have lines, from 0. None is all.
        names: of the heads, for the legend. None is "head 1", "head 2", ….
        separate: whether each head has a panel of its own.

    Returns:
        The `Figure`.

    Raises:
        ValueError: the shape of the weights does not fit the labels, the values are no weights, there are more than 20
            heads, `rows` is empty, a row does not exist, or there are more or fewer names than heads.
        TypeError: labels that are no strings.
    """
    source_labels, target_labels = read_labels(source_labels, target_labels)
    weights = np.asarray(weights, dtype="float32")
    heads = weights[None] if weights.ndim == 2 else weights  # (H, T, S)
    check_weights(weights, heads, (len(target_labels), len(source_labels)))
    rows = range(len(target_labels)) if rows is None else list(rows)
    check_places("rows", rows, len(target_labels))
    if not len(rows):
        raise ValueError("rows is empty: no word would have a line. Give at least one row, or None for all.")
    names = [f"head {number + 1}" for number in range(len(heads))] if names is None else list(names)
    if len(names) != len(heads):
        raise ValueError(f"names must be of the {len(heads)} heads, got {len(names)}: {names}.")
    colors = _colors(len(heads))
    groups = [[number] for number in range(len(heads))] if separate else [list(range(len(heads)))]
    grid_rows, grid_columns = grid(len(groups))
    sides = [2 * LETTER + max(map(_inches, labels)) for labels in (target_labels, source_labels)]
    width = BETWEEN + sum(sides)
    height = LINE * max(len(source_labels), len(target_labels)) + 0.3
    figure = new_figure(grid_columns * width + 0.2, grid_rows * height + 0.35)
    panels = figure.subplots(grid_rows, grid_columns, squeeze=False)
    for panel in panels.flat[len(groups) :]:
        panel.remove()
    largest = heads[:, list(rows)].max() or 1.0
    for panel, group in zip(panels.flat, groups, strict=False):
        _write_words(panel, source_labels, target_labels, rows, [side / BETWEEN for side in sides])
        for number in group:
            shift = SPREAD * ((number + 0.5) / len(heads) - 0.5) if len(group) > 1 else 0.0
            _draw_head(panel, heads[number] / largest, rows, colors[number], shift)
        if separate:
            panel.set_title(unicode_of(names[group[0]]), fontsize=9, color=colors[group[0]])
    if weights.ndim == 3 and not separate:
        _add_legend(figure, names, colors, width)
    save(figure, path)
    return figure


def _inches(label):
    """The width of a label, rather too much than too little."""
    return sum(WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER for letter in label)


def _colors(count):
    """A color for each head.

    Raises:
        ValueError: there are too many heads to tell colors apart.
    """
    from matplotlib import colormaps

    for most, palette in PALETTES:
        if count <= most:
            return [colormaps[palette](number) for number in range(count)]
    raise ValueError(
        f"weights must be of at most {PALETTES[-1][0]} heads, whose colors can be told apart, got {count}."
    )


def _write_words(panel, source_labels, target_labels, rows, sides):
    """Write the words of both columns, those with lines in black. `sides` are the widths of the columns."""
    longest = max(len(source_labels), len(target_labels))
    panel.set(xlim=(-sides[0], 1 + sides[1]), ylim=(longest - 0.4, -0.6))
    panel.axis("off")
    for place, label in enumerate(target_labels):
        color = "black" if place in rows else "gray"
        panel.text(-0.03, place, unicode_of(label), ha="right", va="center", color=color, **LITERAL)
    for place, label in enumerate(source_labels):
        panel.text(1.03, place, unicode_of(label), ha="left", va="center", **LITERAL)


def _draw_head(panel, strengths, rows, color, shift):
    """Draw the lines of one head. `strengths` (T, S) are from 0 to 1; the lines end `shift` below the words."""
    from matplotlib.collections import LineCollection

    drawn = [(row, column) for row in rows for column in np.flatnonzero(strengths[row] >= FAINTEST)]
    segments = [((0, row), (1, column + shift)) for row, column in drawn]
    alphas = [float(strengths[row, column]) for row, column in drawn]
    panel.add_collection(
        LineCollection(
            segments,
            colors=[(*color[:3], alpha) for alpha in alphas],
            linewidths=[0.6 + 1.6 * alpha for alpha in alphas],
            capstyle="round",
        )
    )


def _add_legend(figure, names, colors, width):
    """Name the heads below the words, as many in a row as `width` inches hold."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=color, linewidth=2.2, label=unicode_of(name))
        for name, color in zip(names, colors, strict=True)
    ]
    columns = max(1, int(width / (0.42 + 0.062 * max(map(len, names)))))  # inches of a line, and of a small letter
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=7, handlelength=1)
