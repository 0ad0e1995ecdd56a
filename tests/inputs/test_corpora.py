"""Corpora from paths, lists, generators, tables and pipes."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas
import pytest

from keras_transformer.files import read_lines
from keras_transformer.readers.corpora import read_corpora, refuse_shared_pipes
from keras_transformer.readers.pipes import is_pipe, reread

LINES = ["the cat", "a dog.", ""]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.en"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


@pytest.fixture
def pipe(tmp_path):
    """A named pipe, into which a thread writes `LINES` once."""
    path = tmp_path / "pipe.en"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=["".join(f"{line}\n" for line in LINES)])
    writer.start()
    yield path
    writer.join()


def contents(corpora):
    return [(corpus.name, list(corpus.read())) for corpus in corpora]


def test_every_kind_of_corpus_is_read_alike(path):
    named = (str(path), LINES)
    for given in (path, str(path), [path], [str(path)], (path,)):
        assert contents(read_corpora("source", given)) == [named]
    for kind in (list, tuple, iter, np.array, pandas.Series):
        assert contents(read_corpora("source", kind(LINES))) == [("source", LINES)]
        assert contents(read_corpora("source", [path, kind(LINES)])) == [named, ("source[1]", LINES)]
        assert contents(read_corpora("source", [kind(LINES), str(path)])) == [("source[0]", LINES), named]
    assert read_corpora("source", []) == []


def test_a_list_of_strings_that_look_like_paths_holds_paths(path, monkeypatch):
    for wrong in ("trian.en", "data/train", "/a/b.gz"):
        with pytest.raises(FileNotFoundError, match=rf"source\[0\]='{wrong}' does not exist.*pass iter\("):
            read_corpora("source", [wrong, str(path)])
    with pytest.raises(FileNotFoundError, match=r"source\[1\]='the cat' does not exist"):
        read_corpora("source", [str(path), "the cat"])
    monkeypatch.chdir(path.parent)
    (path.parent / "train").write_text("x\n")
    assert contents(read_corpora("source", ["train"])) == [("train", ["x"])]
    for sentences in (["Hello."], ["3.14"], ["U.S."], ["and/or it"], ["", "train.en"], ["a\0b"]):
        assert contents(read_corpora("source", sentences)) == [("source", sentences)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "source must be a path, or a list of paths or of sentences, got None (NoneType)."),
        (b"train.en", "source must be a path, or a list of paths or of sentences, got b'train.en' (bytes)."),
        (["train", None], "source[1] must be a string, got None (NoneType)."),
        ([Path(__file__), 5], "source[1] must be a path, or a list of sentences, got 5 (int)."),
        ([[None]], "source[0][0] must be a string, got None (NoneType)."),
        (
            pandas.DataFrame({"en": ["a"]}),
            "source must be a path, or a list of paths or of sentences, got a table (DataFrame) with the columns en. "
            "Give one column.",
        ),
    ],
)
def test_other_kinds_are_named(given, message):
    with pytest.raises(TypeError) as error:
        contents(read_corpora("source", given))
    assert str(error.value) == message


def test_a_pipe_is_read_once_or_copied(pipe):
    assert is_pipe(pipe)
    with reread(pipe) as copy:
        assert copy.name == "pipe.en"
        assert list(read_lines(copy)) == list(read_lines(copy)) == LINES
    assert not copy.exists()


def test_a_file_is_not_copied(path):
    for same in (path, path.parent, path.parent / "none"):
        with reread(same) as found:
            assert found == same


def test_a_pipe_or_iterator_cannot_be_two_corpora(path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refuse_shared_pipes(read_corpora("a", [path, path, LINES, LINES]))
    with pytest.raises(ValueError, match=r"pipe is a pipe, and is named twice"):
        refuse_shared_pipes(read_corpora("a", [tmp_path / "pipe", path, str(tmp_path / "pipe")]))
    generator = iter(LINES)
    with pytest.raises(ValueError, match=r"a\[1\] and a\[0\] are the same iterator, which is read only once"):
        refuse_shared_pipes(read_corpora("a", [generator, generator]))


TEXT = "Hello, wörld\nzwei\n"


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32-le", "UTF-32LE"),
        ("utf-32-be", "UTF-32BE"),
    ],
)
def test_other_encodings_of_unicode_are_named(tmp_path, encoding, kind):
    (tmp_path / "train.en").write_bytes(TEXT.encode(encoding))
    with pytest.raises(ValueError) as error:
        list(read_lines(tmp_path / "train.en"))
    path, start = tmp_path / "train.en", TEXT.encode(encoding)[:4].hex(" ")
    assert str(error.value) == (
        f"{path} is {kind}: its first bytes are {start}. Convert it to UTF-8, for example by: "
        f"iconv -f {kind} -t UTF-8 {path} > utf8.txt"
    )


def test_a_compressed_file_under_another_name_is_named(tmp_path):
    (tmp_path / "train.en").write_bytes(b"\x1f\x8b\x08\x00more")
    with pytest.raises(ValueError, match=r"train.en is a gzip file: its first bytes are 1f 8b 08 00.*ends in .gz"):
        list(read_lines(tmp_path / "train.en"))
    (tmp_path / "train.en").write_bytes("\ufeffa\0b\n".encode())
    assert list(read_lines(tmp_path / "train.en")) == ["a\0b"], "a mark of UTF-8, or a single NUL, is no other encoding"


def tar_of(data, archive_format):
    stream, entry = io.BytesIO(), tarfile.TarInfo("train.en")
    entry.size = len(data)
    with tarfile.open(fileobj=stream, mode="w", format=archive_format) as archive:
        archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def zip_of(data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("train.en", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pack", "kind", "command"),
    [
        (lambda data: tar_of(data, tarfile.GNU_FORMAT), "tar archive", "tar -xf {}"),
        (lambda data: tar_of(data, tarfile.USTAR_FORMAT), "tar archive", "tar -xf {}"),
        (lambda data: tar_of(data, tarfile.PAX_FORMAT), "tar archive", "tar -xf {}"),
        (zip_of, "zip archive", "unzip {}"),
        (bz2.compress, "bzip2 file", "bunzip2 -c {} > text.txt"),
        (lzma.compress, "xz file", "unxz -c {} > text.txt"),
        (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "lzma file", "unlzma -c {} > text.txt"),
        (lambda data: b"\x28\xb5\x2f\xfd" + data, "Zstandard file", "unzstd -c {} > text.txt"),
        (lambda data: b"7z\xbc\xaf\x27\x1c" + data, "7z archive", "7z x {}"),
    ],
)
@pytest.mark.parametrize("name", ["train.en", "train.gz", "packed.gz"])
def test_a_packed_file_is_named_with_the_command_that_unpacks_it(tmp_path, name, pack, kind, command):
    path, data = tmp_path / name, pack(TEXT.encode())
    path.write_bytes(gzip.compress(data) if name == "packed.gz" else data)
    is_packed, command = f"{path} is a {kind}", command.format(path)
    if name == "packed.gz":
        is_packed = f"{path} holds a {kind}"
        command = f"gunzip -c {path} > unpacked && {command.replace(str(path), 'unpacked')}"
    with pytest.raises(ValueError) as error:
        list(read_lines(path))
    assert str(error.value) == (
        f"{is_packed}: its first bytes are {data[:4].hex(' ')}. Unpack it, for example by: {command}"
    )


def test_gzip_inside_gzip_in_an_archive_or_in_a_pipe_is_named(tmp_path):
    twice, archive, pipe = tmp_path / "twice.gz", tmp_path / "train.tgz", tmp_path / "pipe"
    twice.write_bytes(gzip.compress(gzip.compress(b"one")))
    with pytest.raises(ValueError, match=r"twice.gz holds a gzip file.*by: gunzip -c .*twice.gz > unpacked && gunzip"):
        list(read_lines(twice))
    archive.write_bytes(gzip.compress(tar_of(b"one", tarfile.GNU_FORMAT)))
    with pytest.raises(ValueError, match=r"train.tgz is a gzip file: .* Unpack it: tar -xf .*train.tgz$"):
        list(read_lines(archive))
    pipe.write_bytes(gzip.compress(b"one"))
    with pytest.raises(ValueError, match=r"^the standard input is a gzip file: .* gunzip -c FILE > text.txt$"):
        list(read_lines(pipe, "the standard input"))
    pipe.write_text("PK BZh ustar 7z " * 99)
    assert len(list(read_lines(pipe))) == 1


def test_a_path_that_cannot_be_read_is_named_by_its_argument(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    for wrong, error, message in (
        ("nowhere", FileNotFoundError, "source='nowhere' does not exist."),
        ("", ValueError, "source='' is no path. Give the name of a file or a folder."),
        (".", IsADirectoryError, "source='.' is a folder. Give a file."),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            read_corpora("source", wrong)
    with pytest.raises(IsADirectoryError, match=r"^source\[0\]='\.' is a folder\. Give a file\.$"):
        read_corpora("source", [Path(".")])
