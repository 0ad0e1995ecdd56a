import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_transformer.plots import attention_html

SOURCE, TARGET = ["▁Five", "▁", "$5$", "_x^2", "</s>"], ["▁Fünf", "\\alpha", "</s>"]
SHAPES = {"encoder": (2, 7, 5, 5), "decoder": (2, 7, 3, 3), "cross": (2, 7, 3, 5)}


def weights(*shape):
    return np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1]).astype("float32")


def pair(source=SOURCE, target=TARGET):
    return source, target, {kind: weights(*shape) for kind, shape in SHAPES.items()}


class Elements(HTMLParser):
    """The start tags of a page with their attributes, and the text inside each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag == "script"
        self.scripts += [""] * self._inside

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def data_of(page):
    """What the page's program reads."""
    return json.loads(Elements(page.html).scripts[0])


def test_the_page_holds_the_weights_in_thousandths_and_the_labels():
    given = pair()
    data = data_of(attention_html([given]))
    assert data["unit"] == 1000
    [shown] = data["pairs"]
    assert [kind["name"].lower() for kind in shown["kinds"]] == list(SHAPES)
    for kind, array in zip(shown["kinds"], given[2].values(), strict=True):
        np.testing.assert_allclose(np.array(kind["weights"]) / 1000, array, atol=0.0005001)
    encoder, decoder, cross = ((kind["queries"]["labels"], kind["keys"]["labels"]) for kind in shown["kinds"])
    assert encoder == (SOURCE, SOURCE)
    assert decoder == (TARGET, ["<start>", *TARGET[:-1]])  # what the decoder reads when it predicts the target
    assert cross == (TARGET, SOURCE)
    assert shown["title"] == "Five $5$_x^2 → Fünf\\alpha"


def test_a_translator_gives_what_the_page_takes(digits_translator):
    given = [digits_translator.attention("1 2", "2 1 3"), digits_translator.attention("7", "7")]
    first, second = data_of(attention_html(given))["pairs"]
    assert [kind["name"] for kind in first["kinds"]] == ["Encoder", "Decoder", "Cross"]
    np.testing.assert_allclose(np.array(second["kinds"][2]["weights"]) / 1000, given[1][2]["cross"], atol=0.0005001)


def test_a_page_may_have_only_some_kinds_and_one_head():
    [shown] = data_of(attention_html([(SOURCE, TARGET, {"cross": np.ones((1, 1, 3, 5)) / 5})]))["pairs"]
    assert [kind["name"] for kind in shown["kinds"]] == ["Cross"]
    assert shown["kinds"][0]["weights"] == [[[[200] * 5] * 3]]


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--",
    "-->",
    "\u2028",
    "\ud800",
    "$data",
    "&lt;",
    '"',
    "'",
    "\\",
    "\0",
]


def test_labels_are_data_and_never_html():
    source, target = HOSTILE, ["<img src=x onerror=alert(1)>", "</title>", "]]>"]
    page = attention_html([(source, target, {"cross": weights(1, 2, 3, len(source))})])
    plain = attention_html([(["a"], ["b"], {"cross": np.ones((1, 1, 1, 1))})])
    assert Elements(page.html).tags == Elements(plain.html).tags
    [kind] = data_of(page)["pairs"][0]["kinds"]
    assert (kind["queries"]["labels"], kind["keys"]["labels"]) == (target, source)
    assert "<" not in Elements(page.html).scripts[0] and Elements(page.html).scripts[0].isascii()


def test_the_page_loads_nothing():
    """Its policy lets the browser load nothing, and no tag asks for it."""
    page = attention_html([pair()]).html
    tags = Elements(page).tags
    [policy] = [attributes["content"] for tag, attributes in tags if "http-equiv" in attributes]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert not any({"src", "href", "srcset", "data"} & attributes.keys() for _, attributes in tags)
    assert not re.search(r"url\(|@import|https?:|innerHTML|\$(?:style|script|data)\b", page)


def test_every_element_that_the_program_asks_for_exists():
    page = Elements(attention_html([pair()]).html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    asked = set(re.findall(r'find\("([\w-]+)"\)', page.scripts[1]))
    assert len(ids) == len(set(ids)) and len(asked) > 5
    assert asked <= {*ids}


@pytest.mark.parametrize(
    ("labels", "direction"),
    [
        (["▁good", "</s>"], "ltr"),
        (["▁שלום", "▁OPUS", "</s>"], "ltr"),
        (["▁שלום", "▁עולם", "</s>"], "rtl"),
        (["▁اجتماع", "نا", "▁2020", "</s>"], "rtl"),
        (["１２", "."], "ltr"),
    ],
)
def test_most_letters_decide_the_direction(labels, direction):
    target = ["a"]
    [kind] = data_of(attention_html([(labels, target, {"cross": weights(1, 1, 1, len(labels))})]))["pairs"][0]["kinds"]
    assert (kind["keys"]["direction"], kind["queries"]["direction"]) == (direction, "ltr")


def test_a_title_sets_pieces_apart_that_have_no_mark_of_a_space():
    labels = ["Hello", "wor", "##ld", "[END]"]
    [shown] = data_of(attention_html([(labels, ["a"], {"cross": weights(1, 1, 1, 4)})]))["pairs"]
    assert shown["title"] == "Hello wor ##ld → a"


def test_a_notebook_shows_the_whole_page_in_a_frame():
    page = attention_html([pair(HOSTILE[:5])])
    [(tag, attributes)] = Elements(page._repr_html_()).tags
    assert (tag, attributes["srcdoc"]) == ("iframe", page.html)
    assert html.escape(page.html, quote=True) in page._repr_html_()


def test_the_page_is_written_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "new" / "page.html"
    attention_html([(SOURCE, TARGET, {"cross": np.ones((1, 1, 3, 5))})], path)
    page = attention_html([pair()], str(path))
    assert path.read_text(encoding="utf-8") == page.html
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "message"),
    [("page.png", "path must end in .html, got 'page.png'."), ("~/page.html", "~ is not expanded"), ("x/", "ends in")],
)
def test_a_path_is_refused_before_the_pairs_are_read(path, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        attention_html(iter(()), path)


CROSS = weights(2, 7, 3, 5)
FORM = "pairs must be a list of (source labels, target labels, weights), as Translator.attention gives them, got "


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([], ValueError, "pairs must hold at least one pair, got none."),
        (pair(), TypeError, FORM + "one pair: write [pair]."),
        (7, TypeError, FORM + "7 (int)."),
        ([pair(), "ab"], TypeError, "pairs[1] must be (source labels, target labels, weights), got 'ab' (str)."),
        ([("ab", TARGET, {"cross": CROSS})], TypeError, "pairs[0][0] must be a list of strings, got one string"),
        ([(SOURCE, [1, 2, 3], {"cross": CROSS})], TypeError, "pairs[0][1][0] must be a string, got 1 (int)."),
        ([(SOURCE, TARGET, 7)], TypeError, "pairs[0][2] must be a dictionary {kind: weights}, got 7 (int)."),
        (
            [pair(), (SOURCE, TARGET, {"crss": CROSS})],
            ValueError,
            "pairs[1][2] must have kinds of attention among encoder, decoder, cross, got 'crss'.",
        ),
        ([(SOURCE, TARGET, {})], ValueError, "among encoder, decoder, cross, got no kind."),
        (
            [(SOURCE, TARGET, {"cross": CROSS[0]})],
            ValueError,
            'pairs[0][2]["cross"] must have the shape (layers, heads, 3, 5) and no empty axis, as the labels have it, '
            "got (7, 3, 5).",
        ),
        ([(SOURCE, TARGET, {"encoder": CROSS})], ValueError, "(layers, heads, 5, 5)"),
        ([(SOURCE, TARGET, {"decoder": CROSS})], ValueError, "(layers, heads, 3, 3)"),
        ([(SOURCE, TARGET, {"cross": CROSS[:, :0]})], ValueError, "got (2, 0, 3, 5)."),
        ([(SOURCE, TARGET, {"cross": CROSS * 0 + 2})], ValueError, "must be finite and from 0 to 1, got 2.0 to 2.0."),
        ([(SOURCE, TARGET, {"cross": CROSS * np.nan})], ValueError, "must be finite and from 0 to 1, got nan to nan."),
        ([(SOURCE, TARGET, {"cross": CROSS - 1})], ValueError, "must be finite and from 0 to 1"),
    ],
)
def test_pairs_that_cannot_be_shown_are_refused(pairs, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        attention_html(pairs)
    assert "\n" not in str(raised.value)
