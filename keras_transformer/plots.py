"""Pictures of a model and its training, from arrays and labels alone. Needs the extra `plots`.

Each function returns a matplotlib `Figure` of its own, without global state, and also saves it
as a PNG where `path` is given, replacing a file that stands there.
"""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_transformer.files import written_beside

CELL = 0.3  # inches for one attention weight
PANEL = 1.6  # inches that a panel of few weights has at least
PICTURES = {"loss": "loss", "perplexity": "perplexity", "bleu": "BLEU", "learning_rate": "learning rate"}


def attention_map(weights, source_labels, target_labels, path=None):
    """Draw attention weights: a row per target piece, a column per source piece, a panel per head.

    All panels share one colour scale, from 0 to the largest weight. Labels are shown as they are ("▁The", "$5").

    Args:
        weights: (T, S), or (H, T, S) for H heads; float, finite, not negative.
        source_labels: S strings.
        target_labels: T strings.
        path: where to save the picture, ending in ".png"; not saved when None.

    Raises:
        ValueError: weights of another shape than the labels say, or that are no weights.
    """
    weights = np.asarray(weights, dtype="float32")
    heads = weights[None] if weights.ndim == 2 else weights  # (H, T, S)
    expected = (len(target_labels), len(source_labels))
    if heads.ndim != 3 or heads.shape[1:] != expected or heads.size == 0:
        raise ValueError(
            f"weights must have the shape (T, S) or (H, T, S), none of them 0, with T = {expected[0]} target labels "
            f"and S = {expected[1]} source labels, got {weights.shape}."
        )
    if not np.isfinite(heads).all() or heads.min() < 0:
        raise ValueError(f"weights must be finite and not negative, got {heads.min()} to {heads.max()}.")
    square = math.ceil(math.sqrt(len(heads)))
    columns = next((each for each in range(square, 6) if len(heads) % each == 0), square)  # full rows where it can be
    rows = math.ceil(len(heads) / columns)
    margin = 1.0 + 0.08 * max(map(len, [*source_labels, *target_labels]))  # room for labels and colour bar
    width, height = (max(PANEL, CELL * length) for length in reversed(expected))
    figure = _figure(columns * width + margin + 0.6, rows * height + margin)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for number, panel in enumerate(panels.flat):
        if number >= len(heads):
            panel.remove()
            continue
        image = panel.imshow(heads[number], cmap="Blues", vmin=0, vmax=heads.max(), aspect="auto")
        lowest, leftmost = number + columns >= len(heads), number % columns == 0
        _name_the_pieces(panel, source_labels, target_labels)
        panel.tick_params(length=0, labelbottom=lowest, labelleft=leftmost)
        panel.set(xlabel="source" if lowest else "", ylabel="target" if leftmost else "")
        if weights.ndim == 3:
            panel.set_title(f"head {number + 1}", fontsize=9)
    figure.colorbar(image, ax=[panel for panel in panels.flat if panel.figure], label="attention weight", pad=0.02)
    return _saved(figure, path)


def learning_curves(curves, x_label, y_label, path=None, log_y=False):
    """Draw several curves in one picture, each named in the legend.

    Args:
        curves: {name: (x, y)}, two equally long sequences of numbers; where y is not finite, the curve has a hole.
        x_label, y_label: what the axes show.
        path: where to save the picture, ending in ".png"; not saved when None.
        log_y: a logarithmic y axis; then no y may be 0 or less.

    Raises:
        ValueError: no curves, a curve whose x and y do not match, or one that the axis cannot show.
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none.")
    figure = _figure(7, 4.2)
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(curves.items()):
        x, y = np.asarray(x, dtype="float64"), np.asarray(y, dtype="float64")
        if x.ndim != 1 or x.shape != y.shape or not x.size:
            raise ValueError(
                f"curves[{name!r}] must be two equally long sequences, not empty, got x {x.shape}, y {y.shape}."
            )
        if log_y and (y <= 0).any():
            raise ValueError(f"curves[{name!r}] has a y of {np.nanmin(y)}; a logarithmic axis shows only y > 0.")
        style = ("-", "--", "-.", ":")[number // 10 % 4]  # ten colours, then the next style
        axes.plot(x, y, style, label=name, linewidth=1.6, marker="o" if x.size <= 30 else None, markersize=3.5)
    if log_y:
        axes.set_yscale("log")
    _finish(axes, x_label, y_label)
    if len(curves) <= 8:
        axes.legend(frameon=False)
    else:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return _saved(figure, path)


def training_curves(epochs, folder):
    """Draw how a training went into a folder, a picture for each of loss, perplexity, BLEU and learning rate.

    They are `loss.png`, `perplexity.png`, `bleu.png` and `learning_rate.png`, of training and validation, as far as
    `epochs` know them, over the target tokens seen; where these are not known throughout, over updates.

    Args:
        epochs: a dictionary of logs for each epoch, with its `update`, as `training.read_history` gives.
        folder: created if missing; pictures that stand there are replaced.

    Returns:
        {name: `Figure`}.

    Raises:
        ValueError: no epochs.
    """
    if not epochs:
        raise ValueError("epochs must hold the logs of at least one epoch, got none.")
    tokens = [epoch.get("target_tokens") or 0 for epoch in epochs]
    counted = all(
        before < after for before, after in pairwise([0, *tokens])
    )  # not after a break, where they start anew
    key, unit, label = ("target_tokens", 1e6, "million target tokens seen") if counted else ("update", 1, "updates")
    figures = {}
    for name, title in PICTURES.items():
        curves = {}
        for curve, quantity in (("training", name), ("validation", f"val_{name}")):
            points = [(row[key] / unit, row[quantity]) for row in epochs if row.get(quantity) is not None]
            if points:
                curves[curve] = tuple(zip(*points, strict=True))
        if curves:
            path = Path(folder) / f"{name}.png"
            figures[name] = learning_curves(curves, label, title, path, log_y=name == "perplexity")
    return figures


def learning_rate(schedule_values, path=None):
    """Draw a schedule: the learning rate of the steps 1, 2, …, with its peak marked.

    Args:
        schedule_values: one rate per step, finite, not empty.
        path: where to save the picture, ending in ".png"; not saved when None.

    Raises:
        ValueError: values that are not a sequence of finite numbers.
    """
    values = np.asarray(schedule_values, dtype="float64")
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"schedule_values must be a sequence of finite rates, not empty, got shape {values.shape}.")
    figure = _figure(7, 4.2)
    axes = figure.subplots()
    axes.plot(np.arange(1, values.size + 1), values, linewidth=1.6)
    peak = int(values.argmax())
    axes.plot([peak + 1], [values[peak]], "o", label=f"peak {values[peak]:.3g} at step {peak + 1:,}")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylim(bottom=0)
    _finish(axes, "step", "learning rate")
    axes.legend(frameon=False)
    return _saved(figure, path)


def _figure(width, height):
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _name_the_pieces(panel, source_labels, target_labels):
    as_it_is = {"parse_math": False, "family": "DejaVu Sans", "fontsize": 8}  # "$" is text; this font has "▁"
    panel.set_xticks(range(len(source_labels)), source_labels, rotation=90, **as_it_is)
    panel.set_yticks(range(len(target_labels)), target_labels, **as_it_is)


def _finish(axes, x_label, y_label):
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _saved(figure, path):
    if path is not None:
        if Path(path).suffix != ".png":
            raise ValueError(f"path must end in .png, got {str(path)!r}.")
        with written_beside(path, overwrite=True) as beside:
            figure.savefig(beside)
    return figure
