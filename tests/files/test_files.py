import gzip
import importlib
import sys

import pytest

from keras_transformer.files import read_lines, written_beside


def write(path, data):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as stream:
        stream.write(data)
    return path


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"one\n\n two \n", ["one", "", " two "]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", ["one", "\ufefftwo"]),  # a byte order mark, and a character
        (b"one\rtwo\n", ["one\rtwo"]),  # a lone carriage return ends no line
        ("one\u2028two\x0b\x0c\x1c\x85three\n".encode(), ["one\u2028two\x0b\x0c\x1c\x85three"]),
        ("Ein Fluß\n日本語 🙂\n".encode(), ["Ein Fluß", "日本語 🙂"]),
    ],
)
def test_lines_end_at_newlines_alone(tmp_path, name, data, lines):
    assert list(read_lines(write(tmp_path / name, data))) == lines


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
def test_bytes_that_are_not_utf8_are_named_by_file_and_line(tmp_path, name):
    path = write(tmp_path / name, b"fine\nalso fine\nab\xff\nfine\n")
    lines = read_lines(path)
    assert [next(lines), next(lines)] == ["fine", "also fine"]
    with pytest.raises(ValueError) as raised:
        next(lines)
    assert f"{path}, line 3: not valid UTF-8 (byte 3 of the line is 0xff)" in str(raised.value)


def test_a_missing_file_and_a_broken_archive_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        list(read_lines(tmp_path / "absent.txt"))
    (tmp_path / "false.gz").write_bytes(b"plain text")
    whole = gzip.compress(b"one\ntwo\n" * 997)
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    for name in ("false.gz", "cut.gz"):
        with pytest.raises(ValueError, match=rf"{name} is no gzip file, or a broken one: .*\. Copy it again, or"):
            list(read_lines(tmp_path / name))


def fill(path, kind, text):
    """Write `text` as a file, or as the only file of a folder."""
    if kind == "folder":
        path.mkdir()
        path = path / "inside.txt"
    path.write_text(text)


def content(path, kind):
    return (path / "inside.txt" if kind == "folder" else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
class TestWrittenBeside:
    def test_moves_into_place_only_at_the_end(self, tmp_path, kind):
        path = tmp_path / "new" / "out"
        with written_beside(path) as beside:
            fill(beside, kind, "new")
            assert not path.exists()
        assert content(path, kind) == "new"
        assert list(path.parent.iterdir()) == [path]

    def test_refuses_what_exists(self, tmp_path, kind):
        path = tmp_path / "out"
        fill(path, kind, "old")
        with pytest.raises(FileExistsError, match="out exists already"), written_beside(path):
            pytest.fail("the block must not run")
        assert content(path, kind) == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_replaces_when_asked(self, tmp_path, kind):
        path = tmp_path / "out"
        fill(path, kind, "old")
        (tmp_path / "neighbor").write_text("stays")
        with written_beside(path, overwrite=True) as beside:
            fill(beside, kind, "new")
            assert content(path, kind) == "old"
        assert content(path, kind) == "new"
        assert {each.name for each in tmp_path.iterdir()} == {"out", "neighbor"}

    @pytest.mark.parametrize("existed", [False, True])
    def test_leaves_everything_as_it_was_when_the_block_raises(self, tmp_path, kind, existed):
        path = tmp_path / "out"
        if existed:
            fill(path, kind, "old")
        with pytest.raises(RuntimeError, match="half way"), written_beside(path, overwrite=True) as beside:
            fill(beside, kind, "half")
            raise RuntimeError("half way")
        assert list(tmp_path.iterdir()) == ([path] if existed else [])
        assert not existed or content(path, kind) == "old"


@pytest.mark.parametrize(("old", "new"), [("folder", "file"), ("file", "folder")])
def test_a_file_never_takes_the_place_of_a_folder_or_the_other_way_round(tmp_path, old, new):
    fill(tmp_path / "out", old, "old")
    with (
        pytest.raises((IsADirectoryError, NotADirectoryError), match=rf"^path='.*/out' is a {old}\. Choose the name"),
        written_beside(tmp_path / "out", overwrite=True) as beside,
    ):
        fill(beside, new, "new")
    assert content(tmp_path / "out", old) == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_block_that_writes_nothing_loses_nothing(tmp_path):
    for kind in ("file", "folder"):
        path = tmp_path / kind
        fill(path, kind, "old")
        with pytest.raises(FileNotFoundError), written_beside(path, overwrite=True):
            pass
        assert content(path, kind) == "old"


def test_a_system_without_posix_locks_is_told_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    monkeypatch.delitem(sys.modules, "keras_transformer.files")
    with pytest.raises(ImportError, match="need a POSIX system: Linux, macOS, or WSL on Windows"):
        importlib.import_module("keras_transformer.files")
