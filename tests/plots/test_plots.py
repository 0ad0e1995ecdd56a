import importlib
import re
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from keras_transformer.plots import attention_map, learning_curves, learning_rate, training_curves

SOURCE = ["▁Five", "▁", "$5$", "_x^2", "</s>"]
TARGET = ["▁Fünf", "\\alpha", "</s>"]


def weights(*shape):
    return np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1])


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def darkness_at(figure, path, panel, column, row):
    """How dark the saved picture is in the middle of one cell: 0 is white, 1 black."""
    picture = imread(path)[..., :3]  # (height, width, 3)
    figure.canvas.draw()
    x, y = panel.transData.transform((column, row))
    return 1 - picture[picture.shape[0] - 1 - int(y), int(x)].mean()


def test_a_weight_is_dark_where_its_target_row_meets_its_source_column(tmp_path):
    one_hot = np.zeros((3, 5))
    one_hot[0, 4] = 1.0
    path = tmp_path / "new" / "map.png"
    figure = attention_map(one_hot, SOURCE, TARGET, path)
    panel = panels(figure)[0]
    dark = [[darkness_at(figure, path, panel, column, row) > 0.5 for column in range(5)] for row in range(3)]
    assert np.array_equal(dark, one_hot == 1)
    (top,) = panel.transData.transform([(0, 0)])[:, 1]
    (bottom,) = panel.transData.transform([(0, 2)])[:, 1]
    assert top > bottom  # the sentence reads downwards


def test_labels_are_shown_as_they_are():
    (panel,) = panels(attention_map(weights(3, 5), SOURCE, TARGET))
    assert labels(panel.xaxis) == SOURCE
    assert labels(panel.yaxis) == TARGET
    assert not any(label.get_parse_math() for label in panel.get_xticklabels() + panel.get_yticklabels())


@pytest.mark.parametrize(
    ("heads", "grid"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (7, (3, 3)), (8, (2, 4)), (16, (4, 4))]
)
def test_each_head_has_a_panel_on_one_scale(heads, grid):
    values = weights(heads, 3, 5)
    figure = attention_map(values, SOURCE, TARGET)
    shown = panels(figure)
    assert [panel.get_title() for panel in shown] == [f"head {number + 1}" for number in range(heads)]
    for panel, head in zip(shown, values, strict=True):
        np.testing.assert_allclose(panel.images[0].get_array(), head, rtol=1e-6)
        assert panel.images[0].get_clim() == (0, pytest.approx(values.max()))
    assert shown[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert len(figure.axes) == heads + 1  # the panels and one color bar


@pytest.mark.parametrize("shape", [(5, 3), (3, 4), (2, 5, 3), (15,), (1, 1, 3, 5), (0, 3, 5)])
def test_weights_that_do_not_fit_the_labels_are_refused(shape):
    with pytest.raises(ValueError, match=r"T = 3 target labels and S = 5 source labels, got \(" + str(shape[0])):
        attention_map(np.ones(shape), SOURCE, TARGET)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_what_is_no_weight_is_refused(value):
    wrong = weights(3, 5)
    wrong[1, 2] = value
    with pytest.raises(ValueError, match="finite and not negative"):
        attention_map(wrong, SOURCE, TARGET)


def test_learning_curves_show_every_curve_with_its_name(tmp_path):
    curves = {f"run {number}": (np.arange(40), 3.0**-number + np.arange(40)) for number in range(11)}
    figure = learning_curves(curves, "step", "loss", tmp_path / "curves.png", log_y=True)
    (axes,) = figure.axes
    for line, (name, (x, y)) in zip(axes.lines, curves.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), np.stack([x, y], axis=1))
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 11
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("step", "loss", "log")
    assert imread(tmp_path / "curves.png").std() > 0.05


def test_a_diverged_curve_has_a_hole():
    figure = learning_curves({"run": ([1, 2, 3], [1.0, np.nan, 3.0])}, "step", "loss")
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[1])


@pytest.mark.parametrize(
    ("curves", "log_y", "message"),
    [
        ({}, False, "at least one curve"),
        (
            {"a": ([1, 2], [1, 2]), "b": ([1, 2], [1])},
            False,
            r"curves\['b'\] must be two sequences of the same length.*\(2,\), y \(1,\)",
        ),
        ({"a": ([], [])}, False, "not empty"),
        ({"a": ([[1]], [[1]])}, False, "two sequences of the same length"),
        ({"a": ([1, 2], [1, 0])}, True, r"curves\['a'\] has a y of 0.0"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(curves, log_y, message):
    with pytest.raises(ValueError, match=message):
        learning_curves(curves, "step", "loss", log_y=log_y)


def test_learning_rate_starts_at_step_one_and_names_its_peak(tmp_path):
    steps = np.arange(1, 1001)
    rates = 64**-0.5 * np.minimum(steps**-0.5, steps * 100**-1.5)
    figure = learning_rate(rates, tmp_path / "rate.png")
    curve, peak = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_xydata(), np.stack([steps, rates], axis=1))
    assert peak.get_xydata().tolist() == [[100, 0.0125]]
    assert peak.get_label() == "peak 0.0125 at step 100"
    assert (tmp_path / "rate.png").exists()


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, np.nan]])
def test_a_schedule_that_cannot_be_drawn_is_refused(values):
    with pytest.raises(ValueError, match="sequence of finite rates"):
        learning_rate(values)


def test_a_picture_replaces_the_one_before_and_is_a_png(tmp_path):
    path = tmp_path / "rate.png"
    path.write_text("old")
    learning_rate([1.0, 0.5], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"path must end in \.png or \.svg, got .*rate\.pdf"):
        learning_rate([1.0, 0.5], tmp_path / "rate.pdf")
    assert list(tmp_path.iterdir()) == [path]


EPOCHS = [
    {"update": 7, "target_tokens": 3_000_000, "loss": 5.0, "val_loss": 4.0, "perplexity": 90.0, "val_bleu": 2.0},
    {"update": 14, "target_tokens": 6_000_000, "loss": None, "val_loss": 3.0, "perplexity": 40.0},
    {"update": 21, "target_tokens": 9_000_000, "loss": 2.0, "val_loss": 2.5, "perplexity": 20.0, "val_bleu": 9.0},
]


def drawn(figure):
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}


def test_training_curves_show_what_was_logged_over_the_tokens_seen(tmp_path):
    figures = training_curves(EPOCHS, tmp_path / "pictures")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["bleu.png", "loss.png", "perplexity.png"]
    assert drawn(figures["loss"]) == {
        "training": [[3, 5.0], [9, 2.0]],
        "validation": [[3, 4.0], [6, 3.0], [9, 2.5]],
    }
    assert drawn(figures["bleu"]) == {"validation": [[3, 2.0], [9, 9.0]]}
    assert figures["bleu"].axes[0].get_xlabel() == "million target tokens seen"
    assert (figures["perplexity"].axes[0].get_yscale(), figures["loss"].axes[0].get_yscale()) == ("log", "linear")


@pytest.mark.parametrize("tokens", [{"target_tokens": 1_000_000}, {}], ids=["counted anew", "not counted"])
def test_where_tokens_are_not_counted_throughout_updates_are(tmp_path, tokens):
    last = {"update": 28, "val_loss": 2.0, **tokens}
    figure = training_curves([*EPOCHS, last], tmp_path)["loss"]
    assert drawn(figure)["validation"] == [[7, 4.0], [14, 3.0], [21, 2.5], [28, 2.0]]
    assert figure.axes[0].get_xlabel() == "updates"


def test_a_training_without_epochs_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="at least one epoch"):
        training_curves([], tmp_path)


def test_characters_that_the_font_lacks_are_boxes_and_no_errors(tmp_path, caplog):
    """Warnings are errors here, as with PYTHONWARNINGS=error."""
    attention_map(np.eye(3), ["日本", "🙂", "a"], ["\udc80", "b\t", "b"], tmp_path / "map.png")
    [message] = caplog.messages
    assert message == f"{tmp_path}/map.png has boxes for 4 characters that its font lacks."
    learning_curves({"\udc80": ([1, 2], [1, 2])}, "日", "y", tmp_path / "curves.png")
    assert len(caplog.messages) == 2 and (tmp_path / "curves.png").exists()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for name in [name for name in sys.modules if name.startswith("keras_transformer.plots")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        ImportError, match=r"^plots need matplotlib: pip install 'keras-transformer-translation\[plots\]'"
    ):
        importlib.import_module("keras_transformer.plots")


def test_the_path_of_a_history_is_refused(tmp_path):
    message = "epochs must be the logs of epochs, got the path 'history.jsonl'. Give read_history(path)."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        training_curves("history.jsonl", tmp_path)


def test_several_schedules_are_drawn_each_with_its_peak(tmp_path):
    rates = {"base": [1.0, 3.0, 2.0], "big": [0.5, 0.25]}
    figure = learning_rate(rates, tmp_path / "rates.svg")
    base, base_peak, big, big_peak = figure.axes[0].lines
    assert base.get_xydata().tolist() == [[1, 1.0], [2, 3.0], [3, 2.0]] and big_peak.get_xydata().tolist() == [[1, 0.5]]
    assert (base.get_color(), big.get_color()) == (base_peak.get_color(), big_peak.get_color())
    assert base_peak.get_label() == "base: peak 3 at step 2"
    assert (tmp_path / "rates.svg").read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(ValueError, match=r"^schedule_values\['big'\] must be a sequence of finite rates, not empty"):
        learning_rate(rates | {"big": []})
    with pytest.raises(ValueError, match="at least one schedule"):
        learning_rate({})


def test_legends_have_every_name_as_it_is():
    names = ["_hidden", "$x$", "plain"]
    for figure in (
        learning_curves({name: ([1, 2], [3, 4]) for name in names}, "x", "y"),
        learning_rate({name: [1, 2] for name in names}),
    ):
        texts = figure.axes[0].get_legend().get_texts()
        assert [text.get_text().partition(":")[0] for text in texts] == names
        assert not any(text.get_parse_math() for text in texts)
        figure.canvas.draw()
    with pytest.raises(ValueError, match=r"^schedule_values must be rates of at least 0, got -1\.$"):
        learning_rate([-1.0, 0.5])
