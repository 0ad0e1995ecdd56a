"""Attention as lines: what is drawn is what the weights say. And arrays made ready for such pictures."""

import xml.etree.ElementTree as xml

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from keras_transformer.plots import attention_lines, attention_map, join_pieces, most_different_heads, sharpest_heads

SOURCE, TARGET = ["▁Five", "▁", "$5$", "_x^2", "</s>"], ["▁Fünf", "\\alpha", "</s>"]
WEIGHTS = np.random.default_rng(1).dirichlet(np.full(5, 0.4), (7, 3)).astype("float32")  # (H, T, S)


def lines(panel):
    """The collections of a panel: {(row, column): (color, opacity)} for each head."""
    found = []
    for collection in panel.collections:
        assert isinstance(collection, LineCollection)
        ends = [np.asarray(segment) for segment in collection.get_segments()]
        places = [(round(start[1]), round(end[1])) for start, end in ends]
        assert all((start[0], end[0]) == (0, 1) for start, end in ends)
        colors = collection.get_colors()
        found.append({place: (tuple(color[:3]), color[3]) for place, color in zip(places, colors, strict=True)})
    return found


def test_each_weight_is_a_line_and_the_largest_is_opaque(tmp_path):
    figure = attention_lines(WEIGHTS, SOURCE, TARGET, tmp_path / "new" / "lines.svg")
    [panel] = figure.axes
    drawn = lines(panel)
    assert len(drawn) == 7 and len({color for head in drawn for color, _ in head.values()}) == 7
    largest = WEIGHTS.max()
    for head, weights in zip(drawn, WEIGHTS, strict=True):
        expected = {
            (t, s): weights[t, s] / largest for t in range(3) for s in range(5) if weights[t, s] >= 0.02 * largest
        }
        assert {place: pytest.approx(alpha, abs=1e-5) for place, (_, alpha) in head.items()} == expected
    assert max(alpha for head in drawn for _, alpha in head.values()) == pytest.approx(1)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"head {number}" for number in range(1, 8)]
    assert [to_rgb(line.get_color()) for line in legend.get_lines()] == [next(iter(head.values()))[0] for head in drawn]
    assert (tmp_path / "new" / "lines.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_words_stand_beside_their_lines_as_they_are():
    [panel] = attention_lines(WEIGHTS[0], SOURCE, TARGET).axes
    words = {(text.get_text(), text.get_position()[0] > 0.5, text.get_position()[1]) for text in panel.texts}
    assert words == {
        *((label, True, place) for place, label in enumerate(SOURCE)),
        *((label, False, place) for place, label in enumerate(TARGET)),
    }
    assert not any(text.get_parse_math() for text in panel.texts)
    bottom, top = panel.get_ylim()
    assert bottom > top  # the sentence reads downwards


def test_the_words_do_not_overlap_the_lines_or_leave_the_picture():
    labels = ["a", "the longest word of all by far", "b"]
    figure = attention_lines(WEIGHTS[:2, :, :3], labels, labels)
    figure.canvas.draw()
    [panel] = figure.axes
    left, right = (panel.transData.transform((x, 0))[0] for x in (0, 1))
    for text in panel.texts:
        box = text.get_window_extent()
        assert box.x1 < left or box.x0 > right
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height
    boxes = sorted(text.get_window_extent().y0 for text in panel.texts[:3])
    assert min(np.diff(boxes)) >= max(text.get_window_extent().height for text in panel.texts)
    [legend] = figure.legends
    assert legend.get_window_extent().y1 < boxes[0]


def test_only_the_rows_that_are_asked_for_have_lines_and_set_the_scale():
    [panel] = attention_lines(WEIGHTS, SOURCE, TARGET, rows=[1], names="abcdefg").axes
    drawn = lines(panel)
    assert {row for head in drawn for row, _ in head} == {1}
    assert max(alpha for head in drawn for _, alpha in head.values()) == pytest.approx(1)
    colors = {text.get_text(): text.get_color() for text in panel.texts if text.get_position()[0] < 0.5}
    assert [colors[label] for label in TARGET] == ["gray", "black", "gray"]


def test_separate_heads_have_panels_on_one_scale():
    figure = attention_lines(WEIGHTS[:2], SOURCE, TARGET, names=["one", "other"], separate=True)
    assert [panel.get_title() for panel in figure.axes] == ["one", "other"] and figure.legends == []
    found = [lines(panel) for panel in figure.axes]
    largest = [max(alpha for _, alpha in head.values()) for [head] in found]
    assert largest == pytest.approx([WEIGHTS[number].max() / WEIGHTS[:2].max() for number in range(2)])
    ends = [segment[1][1] for panel in figure.axes for segment in panel.collections[0].get_segments()]
    assert ends == [round(end) for end in ends]  # a single head meets the middle of its words


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((WEIGHTS, TARGET, SOURCE), {}, r"T = 5 target labels and S = 3 source labels, got \(7, 3, 5\)"),
        ((WEIGHTS - 1, SOURCE, TARGET), {}, "finite and not negative"),
        ((WEIGHTS, SOURCE, TARGET), {"rows": [3]}, r"^rows must be from 0 to 2, got 3\.$"),
        ((WEIGHTS, SOURCE, TARGET), {"rows": [-1]}, r"^rows must be a whole number of at least 0, got -1\.$"),
        ((WEIGHTS, SOURCE, TARGET), {"names": ["a"]}, r"^names must be of the 7 heads, got 1: \['a'\]\.$"),
        ((np.ones((21, 3, 5)), SOURCE, TARGET), {}, r"^weights must be of at most 20 heads, .* got 21\.$"),
        ((WEIGHTS, SOURCE, TARGET), {"path": "a.pdf"}, r"^path must end in \.png or \.svg, got 'a\.pdf'\.$"),
    ],
)
def test_what_cannot_be_drawn_as_lines_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        attention_lines(*arguments, **options)


def test_pieces_become_words_whose_rows_still_sum_to_one():
    pieces = ["<start>", "▁diffi", "##cult", ".", "▁", "5", "▁a", "</s>"]
    weights = np.random.default_rng(3).dirichlet(np.ones(8), (2, 8)).astype("float32")  # (H, T, T)
    joined, source, target = join_pieces(weights, pieces, pieces)
    assert source == target == ["<start>", "difficult", ".", "5", "a", "</s>"]
    np.testing.assert_allclose(joined.sum(axis=-1), 1, rtol=1e-6)
    groups = [[0], [1, 2], [3], [4, 5], [6], [7]]
    for t, rows in enumerate(groups):
        for s, columns in enumerate(groups):
            expected = [weights[:, row, column] for row in rows for column in columns]
            np.testing.assert_allclose(joined[:, t, s], sum(expected) / len(rows), rtol=1e-6)


def test_weights_that_do_not_fit_the_pieces_are_refused():
    with pytest.raises(ValueError, match=r"with T = 3 target labels and S = 5 source labels, got \(7, 5, 3\)\."):
        join_pieces(WEIGHTS.swapaxes(1, 2), SOURCE, TARGET)


def test_sharp_heads_are_found_beside_what_does_not_count():
    weights = np.full((3, 4, 4), 0.25)
    weights[0, 2] = [0.1, 0.1, 0.7, 0.1]  # itself
    weights[1, 2] = [0.1, 0.5, 0.2, 0.2]
    weights[2, 2] = [0.6, 0.1, 0.1, 0.2]
    assert sharpest_heads(weights, 2) == [0, 2]
    assert sharpest_heads(weights, 2, without=[2]) == [2, 1]
    assert sharpest_heads(weights, 2, 3, without=[0, 2]) == [1, 2, 0]
    for arguments, message in (
        ((weights, 4), r"^row must be from 0 to 3, got 4\.$"),
        ((weights, 0, 4), r"^count=4 must be at most the number of heads, 3\.$"),
        ((weights, 0, 1, [4]), r"^without must be from 0 to 3, got 4\.$"),
        ((weights, 0, 1, range(4)), r"^without=\[0, 1, 2, 3\] leaves no column\.$"),
        (
            (np.where(weights == 0.7, np.nan, weights), 0),
            r"^weights must be finite\. They hold others: the model's weights ",
        ),
        ((weights[0], 0), r"^weights must have the shape \(H, T, S\) and no empty axis, got \(4, 4\)\.$"),
    ):
        with pytest.raises(ValueError, match=message):
            sharpest_heads(*arguments)


def test_the_two_heads_that_differ_most_are_found_by_comparing_all():
    pairs = [(one, other) for one in range(7) for other in range(one + 1, 7)]
    distances = [
        np.mean([np.abs(a - b).sum() / 2 for a, b in zip(WEIGHTS[i], WEIGHTS[j], strict=True)]) for i, j in pairs
    ]
    assert most_different_heads(WEIGHTS) == pairs[int(np.argmax(distances))]
    assert most_different_heads(np.stack([np.eye(3)] * 2)) == (0, 1)
    with pytest.raises(ValueError, match=r"^weights must be of at least 2 heads, got 1\.$"):
        most_different_heads(WEIGHTS[:1])
    with pytest.raises(ValueError, match=r"^weights must be finite\."):
        most_different_heads(np.full((2, 3, 3), np.nan))


def test_wrong_rows_and_labels():
    words, weights = ["a", "b"], np.eye(2)
    with pytest.raises(ValueError, match=r"^rows is empty: no word would have a line\. Give at least one row"):
        attention_lines(weights, words, words, rows=[])
    for draw in (attention_lines, attention_map):
        with pytest.raises(TypeError, match=r"^source_labels\[0\] must be a string, got 4 \(int\)\.$"):
            draw(weights, [4, 5], words)
        with pytest.raises(
            TypeError, match=r"^target_labels must be a list of strings, got one string: write \['ab'\]\.$"
        ):
            draw(weights, words, "ab")


def test_a_picture_with_control_characters_is_xml(tmp_path):
    for number, draw in enumerate((attention_lines, attention_map)):
        path = tmp_path / f"{number}.svg"
        draw(np.eye(2), ["a\0", "<b>\x1f"], ["\x01", "\ud800\uffff"], path)
        assert xml.parse(path).getroot().tag.endswith("svg")
