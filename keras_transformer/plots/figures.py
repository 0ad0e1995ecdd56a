"""Pictures of attention and training, drawn from arrays and labels.

Each function returns a new matplotlib `Figure` and changes no global state of matplotlib. With `path` it also saves
the figure, as a PNG or an SVG, and replaces a file of that name.
"""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from keras_transformer.inputs.kinds import read_texts
from keras_transformer.inputs.paths import AnyPath, check_target
from keras_transformer.plots.canvas import LITERAL, Figure, add_legend, label_axes, new_figure, save, unicode_of

CELL = 0.3  # inches of one attention weight
SMALLEST_PANEL = 1.6  # inches
TITLES = {"loss": "loss", "perplexity": "perplexity", "bleu": "BLEU", "learning_rate": "learning rate"}


def attention_map(
    weights: Any, source_labels: Sequence[str], target_labels: Sequence[str], path: AnyPath | None = None
) -> Figure:
    """Draw attention weights: a row for each target piece, a column for each source piece, a panel for each head.

    All panels share one color scale, from 0 to the largest weight. Labels are drawn literally ("▁The", "$5").

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        weights = np.array([[0.9, 0.1], [0.2, 0.8]])  # (T, S)
        figure = plots.attention_map(weights, ["▁good", "▁day"], ["▁guten", "▁Tag"], "attention.png")
        ```

    Args:
        weights: (T, S), or (H, T, S) for H heads; float, finite, not negative.
        source_labels: S strings.
        target_labels: T strings.
        path: the file to write, ending in ".png" or ".svg". None writes no file.

    Returns:
        The `Figure`.

    Raises:
        ValueError: the shape of the weights does not fit the labels, or the values are no weights.
        TypeError: labels that are no strings.
    """
    source_labels, target_labels = read_labels(source_labels, target_labels)
    weights = np.asarray(weights, dtype="float32")
    heads = weights[None] if weights.ndim == 2 else weights  # (H, T, S)
    shape = (len(target_labels), len(source_labels))
    check_weights(weights, heads, shape)
    rows, columns = grid(len(heads))
    margin = 1.0 + 0.08 * max(map(len, [*source_labels, *target_labels]))  # room for the labels and the color bar
    height, width = (max(SMALLEST_PANEL, CELL * length) for length in shape)
    figure = new_figure(columns * width + margin + 0.6, rows * height + margin)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.flat[len(heads) :]:
        panel.remove()
    for number, (panel, head) in enumerate(zip(panels.flat, heads, strict=False)):
        image = panel.imshow(head, cmap="Blues", vmin=0, vmax=heads.max(), aspect="auto")
        is_lowest, is_leftmost = number + columns >= len(heads), number % columns == 0
        _label_pieces(panel, source_labels, target_labels)
        panel.tick_params(length=0, labelbottom=is_lowest, labelleft=is_leftmost)
        panel.set(xlabel="source" if is_lowest else "", ylabel="target" if is_leftmost else "")
        if weights.ndim == 3:
            panel.set_title(f"head {number + 1}", fontsize=9)
    figure.colorbar(image, ax=list(panels.flat[: len(heads)]), label="attention weight", pad=0.02)
    save(figure, path)
    return figure


def read_labels(source_labels, target_labels):
    """The labels of both sides as lists of strings.

    Raises:
        TypeError: something else, such as ids in place of pieces.
    """
    return read_texts("source_labels", source_labels), read_texts("target_labels", target_labels)


def check_weights(weights, heads, shape):
    """Raise ValueError if the weights do not fit the labels, or are no weights. See `attention_map`."""
    if heads.ndim != 3 or heads.shape[1:] != shape or heads.size == 0:
        raise ValueError(
            f"weights must have the shape (T, S) or (H, T, S) and no empty axis, with T = {shape[0]} "
            f"target labels and S = {shape[1]} source labels, got {weights.shape}."
        )
    if not np.isfinite(heads).all() or heads.min() < 0:
        raise ValueError(f"weights must be finite and not negative, got {heads.min()} to {heads.max()}.")


def grid(panels):
    """The numbers of rows and columns for some panels: near a square, and with full rows if at most 5 columns do it."""
    square = math.ceil(math.sqrt(panels))
    columns = next((columns for columns in range(square, 6) if panels % columns == 0), square)
    return math.ceil(panels / columns), columns


def _label_pieces(panel, source_labels, target_labels):
    panel.set_xticks(range(len(source_labels)), list(map(unicode_of, source_labels)), rotation=90, **LITERAL)
    panel.set_yticks(range(len(target_labels)), list(map(unicode_of, target_labels)), **LITERAL)


def learning_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    path: AnyPath | None = None,
    log_y: bool = False,
) -> Figure:
    """Draw several curves in one picture, with their names in the legend.

    Example:
        ```python
        from keras_transformer import plots

        curves = {"training": ([1, 2, 3], [5.0, 3.0, 2.0]), "validation": ([1, 2, 3], [5.5, 4.0, 3.5])}
        figure = plots.learning_curves(curves, "epoch", "loss", "loss.png")
        ```

    Args:
        curves: {name: (x, y)}, two sequences of numbers of the same length. Where y is not finite, the curve has a
            gap.
        x_label, y_label: the names of the axes.
        path: the file to write, ending in ".png" or ".svg". None writes no file.
        log_y: whether the y axis is logarithmic. Each y must then be above 0.

    Returns:
        The `Figure`.

    Raises:
        ValueError: there are no curves, the x and y of a curve do not match, or the axis cannot show a curve.
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none.")
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(curves.items()):
        x, y = np.asarray(x, dtype="float64"), np.asarray(y, dtype="float64")
        if x.ndim != 1 or x.shape != y.shape or not x.size:
            raise ValueError(
                f"curves[{name!r}] must be two sequences of the same length, not empty, got x {x.shape}, y {y.shape}."
            )
        if log_y and (y <= 0).any():
            raise ValueError(f"curves[{name!r}] has a y of {np.nanmin(y)}; a logarithmic axis shows only y > 0.")
        style = ("-", "--", "-.", ":")[number // 10 % 4]  # matplotlib has ten colors; then the next style follows
        axes.plot(
            x, y, style, label=unicode_of(name), linewidth=1.6, marker="o" if x.size <= 30 else None, markersize=3.5
        )
    if log_y:
        axes.set_yscale("log")
    label_axes(axes, x_label, y_label)
    beside = {} if len(curves) <= 8 else {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 8}
    add_legend(axes, axes.get_lines(), **beside)
    save(figure, path)
    return figure


def training_curves(epochs: Sequence[Mapping[str, Any]], folder: AnyPath) -> dict[str, Figure]:
    """Draw the course of a training: one picture each of loss, perplexity, BLEU and learning rate.

    The files are `loss.png`, `perplexity.png`, `bleu.png` and `learning_rate.png`. Each shows training and validation.
    A quantity that no epoch has gets no picture. The x axis is the number of target tokens seen. Where an epoch does
    not have this number, or the count started again, it is the number of updates.

    Example:
        ```python
        from keras_transformer import plots

        epochs = [{"update": 100, "loss": 5.0, "val_loss": 5.5}, {"update": 200, "loss": 3.0, "val_loss": 4.0}]
        figures = plots.training_curves(epochs, "pictures")
        assert list(figures) == ["loss"]
        ```

    Args:
        epochs: the logs of each epoch as a dictionary with its `update`, as `training.read_history` gives them.
        folder: created if missing. Pictures of the same names in it are replaced.

    Returns:
        {name: `Figure`}.

    Raises:
        TypeError: `epochs` is a path.
        ValueError: there are no epochs.
    """
    if isinstance(epochs, str | os.PathLike):
        raise TypeError(f"epochs must be the logs of epochs, got the path {str(epochs)!r}. Give read_history(path).")
    if not epochs:
        raise ValueError("epochs must hold the logs of at least one epoch, got none.")
    folder = check_target(folder, "folder", "folder", inside=True)
    tokens = [epoch.get("target_tokens") or 0 for epoch in epochs]
    has_tokens = all(before < after for before, after in pairwise([0, *tokens]))
    key, unit, label = ("target_tokens", 1e6, "million target tokens seen") if has_tokens else ("update", 1, "updates")
    figures = {}
    for name, title in TITLES.items():
        curves = {}
        for curve, quantity in (("training", name), ("validation", f"val_{name}")):
            points = [(epoch[key] / unit, epoch[quantity]) for epoch in epochs if epoch.get(quantity) is not None]
            if points:
                curves[curve] = tuple(zip(*points, strict=True))
        if curves:
            path = folder / f"{name}.png"
            figures[name] = learning_curves(curves, label, title, path, log_y=name == "perplexity")
    return figures


def learning_rate(schedule_values: Any, path: AnyPath | None = None) -> Figure:
    """Draw a schedule, or several: the learning rate of steps 1, 2, …, with a mark at its peak.

    Example:
        ```python
        from keras_transformer import TransformerSchedule, plots

        schedules = {"base": TransformerSchedule(512, warmup_steps=100), "big": TransformerSchedule(1024, 100)}
        rates = {name: [float(schedule(step)) for step in range(300)] for name, schedule in schedules.items()}
        figure = plots.learning_rate(rates, "learning_rate.png")
        ```

    Args:
        schedule_values: one rate for each step, finite, not empty; or {name: such rates}.
        path: the file to write, ending in ".png" or ".svg". None writes no file.

    Returns:
        The `Figure`.

    Raises:
        ValueError: the values are not a sequence of finite numbers of at least 0, or there is no schedule.
    """
    several = schedule_values if isinstance(schedule_values, Mapping) else {None: schedule_values}
    if not several:
        raise ValueError("schedule_values must hold at least one schedule, got none.")
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    marks = []
    for name, values in several.items():
        values = np.asarray(values, dtype="float64")
        named = "schedule_values" if name is None else f"schedule_values[{name!r}]"
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"{named} must be a sequence of finite rates, not empty, got shape {values.shape}.")
        if (values < 0).any():
            raise ValueError(f"{named} must be rates of at least 0, got {values.min():g}.")
        [line] = axes.plot(np.arange(1, values.size + 1), values, linewidth=1.6)
        peak = int(values.argmax())
        label = f"peak {values[peak]:.3g} at step {peak + 1:,}"
        color = None if name is None else line.get_color()
        label = label if name is None else unicode_of(f"{name}: {label}")
        marks += axes.plot([peak + 1], [values[peak]], "o", color=color, label=label)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylim(bottom=0)
    label_axes(axes, "step", "learning rate")
    add_legend(axes, marks)
    save(figure, path)
    return figure
