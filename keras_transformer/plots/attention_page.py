"""A page of HTML that shows the attention of every layer and head. It needs no network, and nothing beside it."""

import html
import string
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transformer.files import json_text, written_beside
from keras_transformer.inputs.kinds import check_iterable, read_texts, shown
from keras_transformer.inputs.paths import AnyPath, check_target

HERE = Path(__file__).parent
UNIT = 1000  # the page holds weights as whole numbers of thousandths
SLACK = 1e-2  # a weight above 1 by this much is rounding, for example of bfloat16
START_LABEL = "<start>"
END_LABELS = "</s>", "[END]"  # not part of a title
FORM = "a list of (source labels, target labels, weights), as Translator.attention gives them"

# The kinds of attention: the name on the page, who attends, and to whom.
KINDS = {
    "encoder": ("Encoder", "the source", "the source"),
    "decoder": ("Decoder", "the target, as it is predicted", "the target so far"),
    "cross": ("Cross", "the target, as it is predicted", "the source"),
}


class AttentionPage:
    """A page of `attention_html`. A notebook shows it inline.

    Attributes:
        html: the page, a string.
    """

    def __init__(self, html):
        self.html = html

    def _repr_html_(self):
        """A frame with the page, so that its styles and names do not meet those of the notebook."""
        page = html.escape(self.html, quote=True)
        return f'<iframe title="Attention" srcdoc="{page}" style="width: 100%; height: 40rem; border: 0"></iframe>'


def attention_html(
    pairs: Sequence[tuple[Sequence[str], Sequence[str], Mapping[str, Any]]], path: AnyPath | None = None
) -> AttentionPage:
    """Make a page of HTML to look at the attention between two sentences: choose the kind, the layer and the head.

    Point at a token, or move to it with Tab and the arrow keys, to see to whom it attends. Small maps show all heads
    of all layers. The page needs a browser and no network. Labels are shown literally (`▁The`, `<b>`), and the tokens
    of right-to-left scripts run from right to left.

    The page holds the weights rounded to thousandths.

    Example:
        ```python
        import numpy as np
        from keras_transformer import plots

        source, target = ["▁good", "▁day", "</s>"], ["▁guten", "▁Tag", "</s>"]
        cross = np.full((2, 4, 3, 3), 1 / 3)  # 2 layers, 4 heads
        page = plots.attention_html([(source, target, {"cross": cross})], "attention.html")
        ```

    Args:
        pairs: a list with one or more sentence pairs, each as `Translator.attention` gives it:
            (source labels, target labels, weights). The labels are S and T strings. The weights are a dictionary with
            one or more of the kinds "encoder" (N, H, S, S), "decoder" (N, H, T, T) and "cross" (N, H, T, S): N layers,
            H heads; float, from 0 to 1. Row t of the last two predicts target label t. Column 0 of "decoder" is the
            start, and column t is target label t - 1.
        path: the file to write, ending in ".html". A file of that name is replaced. None writes no file.

    Returns:
        An `AttentionPage`: the last expression of a notebook's cell shows it. Its `html` is the page.

    Raises:
        TypeError: `pairs` has another form.
        ValueError: there are no pairs, a kind is unknown, the shape of the weights does not fit the labels, or the
            values are no weights.
    """
    if path is not None and check_target(path, "file").suffix != ".html":
        raise ValueError(f"path must end in .html, got {str(path)!r}.")
    data = {"unit": UNIT, "pairs": [_pair(number, *pair) for number, pair in enumerate(_read_pairs(pairs))]}
    page = AttentionPage(_page(data))
    if path is not None:
        with written_beside(path, overwrite=True, kind="file") as beside:
            beside.write_text(page.html, encoding="utf-8")
    return page


def _page(data):
    """The HTML of a page with some data."""
    template = string.Template((HERE / "attention.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=(HERE / "attention.css").read_text(encoding="utf-8"),
        script=(HERE / "attention.js").read_text(encoding="utf-8"),
        # JSON writes all but ASCII as escapes. Without "<", no text ends the script or opens a comment.
        data=json_text(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _read_pairs(pairs):
    """The list of pairs that an argument is, each of three parts."""
    check_iterable("pairs", pairs, FORM)
    pairs = list(pairs)
    if not pairs:
        raise ValueError("pairs must hold at least one pair, got none.")
    if len(pairs) == 3 and isinstance(pairs[2], Mapping):
        raise TypeError(f"pairs must be {FORM}, got one pair: write [pair].")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 3:
            raise TypeError(f"pairs[{number}] must be (source labels, target labels, weights), got {shown(pair)}.")
    return pairs


def _pair(number, source_labels, target_labels, weights):
    """A pair as the page has it."""
    name = f"pairs[{number}]"
    source, target = read_texts(f"{name}[0]", source_labels), read_texts(f"{name}[1]", target_labels)
    if not isinstance(weights, Mapping):
        raise TypeError(f"{name}[2] must be a dictionary {{kind: weights}}, got {shown(weights)}.")
    unknown = [kind for kind in weights if kind not in KINDS]
    if unknown or not weights:
        got = repr(unknown[0]) if unknown else "no kind"
        raise ValueError(f"{name}[2] must have kinds of attention among {', '.join(KINDS)}, got {got}.")
    sides = {
        "encoder": (source, source),
        "decoder": (target, [START_LABEL, *target[:-1]]),
        "cross": (target, source),
    }
    kinds = [
        _kind(kind, *sides[kind], _thousandths(f'{name}[2]["{kind}"]', weights[kind], *sides[kind]))
        for kind in KINDS
        if kind in weights
    ]
    return {"title": f"{_text(source)} → {_text(target)}", "kinds": kinds}


def _kind(kind, queries, keys, weights):
    name, who, whom = KINDS[kind]
    return {"name": name, "queries": _side(who, queries), "keys": _side(whom, keys), "weights": weights}


def _side(title, labels):
    return {"title": title, "labels": labels, "direction": _direction(labels)}


def _thousandths(name, weights, queries, keys):
    """Weights (N, H, T, S) as nested lists of whole thousandths."""
    weights = np.asarray(weights, dtype="float32")
    shape = len(queries), len(keys)
    if weights.ndim != 4 or weights.shape[2:] != shape or weights.size == 0:
        raise ValueError(
            f"{name} must have the shape (layers, heads, {shape[0]}, {shape[1]}) and no empty axis, as the labels "
            f"have it, got {weights.shape}."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() > 1 + SLACK:
        raise ValueError(f"{name} must be finite and from 0 to 1, got {weights.min()} to {weights.max()}.")
    return np.rint(weights * UNIT).astype(int).tolist()


def _direction(labels):
    """ "rtl" if most letters of the labels belong to scripts that run from right to left, else "ltr"."""
    classes = [unicodedata.bidirectional(character) for label in labels for character in label]
    return "rtl" if sum(each in ("R", "AL") for each in classes) > classes.count("L") else "ltr"


def _text(labels):
    """The labels as one text. SentencePiece's "▁" is a space, and other pieces are set apart by spaces."""
    labels = [label for label in labels if label not in END_LABELS]
    if any("▁" in label for label in labels):
        return "".join(labels).replace("▁", " ").strip()
    return " ".join(labels)
