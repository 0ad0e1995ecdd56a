"""Paths that cannot be read or written are refused before the work, in one line that names the argument."""

import os
import re
from pathlib import Path

import pytest

from keras_transformer.data import split_corpus
from keras_transformer.inputs.paths import check_source, check_target
from keras_transformer.training import HistoryFile, TensorBoardLog, write_card

HOME = os.path.expanduser("~")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a file, a folder, a pipe and a link to nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind", "error", "message"),
    [
        (None, "file", TypeError, "out must be a path, a str or a pathlib.Path, got None."),
        (3, "file", TypeError, "out must be a path, a str or a pathlib.Path, got 3."),
        ("", "file", ValueError, "out='' is no path. Give the name of a file or a folder."),
        (b"x", "file", TypeError, "out must be a path, a str or a pathlib.Path, got b'x'."),
        ("a\0b", "file", ValueError, r"out='a\x00b' is no path. Give the name of a file or a folder."),
        ("~/x", "file", ValueError, f"out='~/x': ~ is not expanded. Pass {HOME + '/x'!r}."),
        ("new/", "file", ValueError, "out='new/' ends in '/', as a folder does. Give the name of a file."),
        ("folder", "file", IsADirectoryError, "out='folder' is a folder. Choose the name of a file."),
        ("file", "folder", NotADirectoryError, "out='file' is a file. Choose the name of a folder."),
        ("pipe", None, ValueError, "out='pipe' is neither a file nor a folder, and would be replaced. Choose another "),
        (
            "file/x/y",
            None,
            NotADirectoryError,
            "out='file/x/y' cannot be written: {place}/file is no folder. Choose",
        ),
        ("x" * 256, "file", OSError, "cannot be written: File name too long. Choose another path."),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(place, path, kind, error, message):
    with pytest.raises(error, match=re.escape(message.format(place=place))) as raised:
        check_target(path, kind, "out")
    assert "\n" not in str(raised.value)
    assert sorted(os.listdir(place)) == ["file", "folder", "link", "pipe"]


def test_a_path_that_can_be_written_is_given_back(place):
    for path, kind in (
        ("new", "file"),
        ("new/", "folder"),
        ("a/b/c", None),
        ("file", "file"),
        ("folder", "folder"),
        ("link", "file"),
        ("~name", "file"),  # no user has this name
        ("x" * 255, "file"),
    ):
        assert check_target(path, kind) == place.__class__(path)
    with pytest.raises(FileExistsError, match=r"^file exists already\. Choose another path, or pass overwrite=True"):
        check_target("file", overwrite=False)


def test_a_folder_without_permission_is_named(place, monkeypatch):
    """Root may write everywhere, so the system's answer is replaced."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    message = f"out='folder/new' cannot be written: no permission to write in {place}/folder. Choose another path."
    with pytest.raises(PermissionError, match=re.escape(message)):
        check_target("folder/new", "file", "out")
    with pytest.raises(PermissionError, match=r"in='file' cannot be read: no permission\."):
        check_source("file", "file", "in")


def test_the_permission_asked_for_is_that_of_the_place_that_is_written(place, monkeypatch):
    """As on a mounted volume: one may write in the folder, and not in the folder above it."""
    allowed = {str(place / "folder"), "folder", "file"}
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) in allowed)
    for path, kind, inside in (
        ("folder", "folder", True),
        ("folder/new", "folder", True),
        ("folder/new", "file", False),
        ("file", "file", True),
    ):
        assert str(check_target(path, kind, inside=inside)) == path
    for path, kind, inside in (
        ("folder", "folder", False),
        ("file", "file", False),
        ("new", "folder", True),
        ("new", "file", True),
    ):
        with pytest.raises(PermissionError, match=f"^.*'{path}' cannot be written: no permission to write in {place}"):
            check_target(path, kind, inside=inside)


def test_a_folder_that_one_may_write_in_gets_files_below_one_where_one_may_not(place, monkeypatch):
    allowed = {place / "folder", *(place / "folder").parents} - {place}
    monkeypatch.chdir("/")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) in allowed)
    write_card(place / "folder", "A run", {"epochs": 1})
    split_corpus(["a b", "c d", "e f"], ["a b", "c d", "e f"], place / "folder")
    for callback in (HistoryFile(place / "folder" / "history.jsonl"), TensorBoardLog(place / "folder")):
        callback.on_train_begin()
    assert {"RESULT.md", "result.json", "train.source"} <= set(os.listdir(place / "folder"))


@pytest.mark.parametrize(
    ("path", "kind", "error", "message"),
    [
        ("folder/x", "file", FileNotFoundError, "in='folder/x' does not exist."),
        ("flie", "file", FileNotFoundError, "in='flie' does not exist. Did you mean 'file'?"),
        ("./foldr", "folder", FileNotFoundError, "in='./foldr' does not exist. Did you mean 'folder'?"),
        ("no/x", "file", FileNotFoundError, "in='no/x' does not exist. {place} is the last folder of this path that e"),
        ("link", "file", FileNotFoundError, "in='link' does not exist."),
        ("folder", "file", IsADirectoryError, "in='folder' is a folder. Give a file."),
        ("file", "folder", NotADirectoryError, "in='file' is a file. Give a folder."),
        ("~/x", "file", ValueError, "in='~/x': ~ is not expanded. Pass "),
        ("x" * 256, "file", OSError, "cannot be read: File name too long."),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(place, path, kind, error, message):
    with pytest.raises(error, match=re.escape(message.format(place=place))):
        check_source(path, kind, "in")
    assert check_source("file") == place.__class__("file")
