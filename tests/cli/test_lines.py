"""The forms of the lines: text found, results written, lines kept aligned."""

import io
import json
from types import SimpleNamespace

import pytest

from keras_transformer import files
from keras_transformer.inputs.kinds import SentenceError
from keras_transformer_cli.answers import Answer, pharaoh
from keras_transformer_cli.lines import JsonLines, PlainLines, TabLines
from keras_transformer_cli.translating import Request, write_translations

FOUND = [Answer("x\ty\nz", -1.25, ("x",), "0-0 1-1"), Answer("w", -2.5, ("w",), "1-0")]


def wishes(scores=False, n_best=None, alignment=False):
    return SimpleNamespace(scores=scores, n_best=n_best, alignment=alignment)


def test_plain_lines_are_kept_as_they_are_and_give_one_line_each():
    lines = PlainLines()
    assert lines.text("a\u2028b ||| c\t", 3) == "a\u2028b ||| c\t"
    assert list(lines.write("a", 3, FOUND[:1], wishes())) == ["x\ty z"]
    assert list(lines.write("a", 3, FOUND, wishes(True, 2, True))) == [
        "3 ||| x\ty z ||| 0-0 1-1 ||| -1.25",
        "3 ||| w ||| 1-0 ||| -2.5",
    ]
    with pytest.raises(ValueError, match=r"field='x' is for --tsv and --jsonl"):
        PlainLines("x")


def test_columns_by_number_and_by_name():
    by_number = TabLines("2")
    assert by_number.text("1\tone\t", 0) == "one"
    assert list(by_number.write("1\tone\t", 0, FOUND[:1], wishes(scores=True))) == ["1\tone\t\tx y z\t-1.25"]
    with pytest.raises(ValueError, match=r"line 5 has 1 columns, and column 2 is asked for"):
        by_number.text("alone", 4)
    by_name = TabLines("text")
    assert by_name.text("id\ttext", 0) is None
    assert list(by_name.write("id\ttext", 0, None, wishes(True, alignment=True))) == [
        "id\ttext\ttranslation\talignment\tscore"
    ]
    assert by_name.text("7\tseven", 1) == "seven"
    with pytest.raises(ValueError, match=r"line 1: no column is called 'texts'. The columns are: id, text"):
        TabLines("texts").text("id\ttext", 0)


def test_objects_keep_their_fields():
    lines = JsonLines("en")
    line = '{"id": 1, "en": "one\\ntwo"}'
    assert lines.text(line, 0) == "one\ntwo"
    [plain] = lines.write(line, 0, FOUND[:1], wishes())
    assert json.loads(plain) == {"id": 1, "en": "one\ntwo", "translation": "x\ty\nz"}
    assert "\n" not in plain
    [row] = lines.write(line, 0, FOUND, wishes(True, 2))
    assert json.loads(row)["n_best"] == [
        {"translation": "x\ty\nz", "score": -1.25},
        {"translation": "w", "score": -2.5},
    ]


def test_half_a_surrogate_pair_in_another_field_comes_back():
    line = r'{"\udc80": ["a\ud83d", "\ud83d\ude00 \\ud83d é"], "text": "one"}'
    [row] = JsonLines().write(line, 0, FOUND[1:], wishes())
    assert row == r'{"\udc80": ["a\ud83d", "😀 \\ud83d é"], "text": "one", "translation": "w"}'
    assert json.loads(row.encode().decode()) == json.loads(line) | {"translation": "w"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 3 is no JSON: Expecting property name enclosed in double quotes\. It begins '{'\.$"),
        ("[1]", r"line 3 is no JSON object: '\[1\]'"),
        ('{"a": 1}', r"line 3: the field 'text' is missing. The fields are: a"),
        ('{"text": 1}', r"line 3: the field 'text' is no string: 1"),
    ],
)
def test_wrong_objects_are_named_with_their_line(line, message):
    with pytest.raises(ValueError, match=message):
        JsonLines().text(line, 2)


@pytest.mark.parametrize(
    ("kind", "field", "text", "line"),
    [
        ("plain", None, "one\ntwo\n\nwrong\n", 4),
        ("tsv", "en", "id\ten\n1\tone\n2\ttwo\n3\twrong\n", 4),
        ("jsonl", None, '{"text": "one"}\n{"text": "two"}\n{"text": "wrong"}\n', 3),
    ],
)
@pytest.mark.parametrize("window", [1, 2, 9])
def test_a_sentence_that_is_refused_is_named_by_its_line(kind, field, text, line, window, tmp_path, monkeypatch):
    def answer(texts):
        for number, each in enumerate(texts):
            if each == "wrong":
                raise SentenceError(number, "is wrong.")
        return [[Answer(each, 0.0)] for each in texts]

    (tmp_path / "lines").write_text(text, encoding="utf-8")
    request = Request([], "float32", {}, 64, [], kind=kind, field=field)
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'lines'}, line {line}, is wrong\.$"):
        write_translations(request, answer, tmp_path / "lines", io.StringIO(), window, [])
    read = files.read_lines
    monkeypatch.setattr(files, "read_lines", lambda path, name: read(tmp_path / "lines", name))
    with pytest.raises(ValueError, match=rf"^the standard input, line {line}, is wrong\.$"):
        write_translations(request, answer, "/dev/stdin", io.StringIO(), window, [])


def test_links_are_written_as_pharaoh_does():
    assert pharaoh([(0, 0), (2, 1)]) == "0-0 2-1"
