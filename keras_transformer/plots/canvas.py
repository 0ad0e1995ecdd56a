"""Figures of matplotlib without its global state: new, labeled, and saved."""

import contextlib
import logging
import warnings

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        f"plots need matplotlib: pip install 'keras-transformer-translation[plots]'. Python says: {error}"
    ) from error

from keras_transformer.files import written_beside, xml_text
from keras_transformer.inputs.paths import check_target

logger = logging.getLogger("keras_transformer")

KINDS = (".png", ".svg")
LITERAL = {"parse_math": False, "family": "DejaVu Sans", "fontsize": 8}  # "$" stays; this font has "▁"


def new_figure(width, height):
    """An empty `Figure` of so many inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def label_axes(axes, x_label, y_label):
    """Name the axes of a curve, with a pale grid."""
    axes.set_xlabel(unicode_of(x_label))
    axes.set_ylabel(unicode_of(y_label))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def add_legend(axes, lines, **options):
    """Give lines a legend with their labels, also with "$", and with "_" in front, which matplotlib would leave out."""
    legend = axes.legend(lines, [line.get_label() for line in lines], frameon=False, **options)
    for text in legend.get_texts():
        text.set_parse_math(False)


def save(figure, path):
    """Write a figure to a file that ends in .png or .svg, unless `path` is None.

    Raises:
        ValueError: another ending.
    """
    if path is None:
        return
    kind = check_target(path, "file").suffix
    if kind not in KINDS:
        raise ValueError(f"path must end in {' or '.join(KINDS)}, got {str(path)!r}.")
    metadata = {"Date": None} if kind == ".svg" else None
    with written_beside(path, overwrite=True, kind="file") as beside, _boxes_for_missing_glyphs(path):
        figure.savefig(beside, format=kind.removeprefix("."), metadata=metadata)


@contextlib.contextmanager
def _boxes_for_missing_glyphs(path):
    """A block in which the font may lack characters: a box stands for each, and the log says so once.

    matplotlib gives a warning for each, which `PYTHONWARNINGS=error` would make an error.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing from font")
        yield
    missing = [warning for warning in caught if str(warning.message).startswith("Glyph")]
    if missing:
        logger.warning("%s has boxes for %d characters that its font lacks.", path, len(missing))
    for other in caught:
        if other not in missing:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def unicode_of(label):
    """A label that can be drawn, and written as XML: halves of surrogate pairs and control characters are escaped."""
    return xml_text(label.encode("utf-8", "backslashreplace").decode("utf-8"))
