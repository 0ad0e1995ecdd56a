"""Whole files: windows, breaks, and what an unfinished file is refused for."""

import errno
import gzip
import json
import os

import numpy as np
import pytest
import tiny
from keras import ops

from keras_transformer import Translator, files
from keras_transformer.translation import whole_file

LINES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7", "2 2", "7 1"]


class Breaking(Translator):
    """Remembers what it is asked, and breaks where it is told to."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked, self.breaks_at = [], None

    def __call__(self, sentences, **options):
        if self.breaks_at == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(list(sentences))
        return super().__call__(sentences, **options)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def shared(tokenizer):
    return Breaking(tiny.make_opinionated(), tokenizer, beam_size=1, max_extra_length=5)


@pytest.fixture
def translator(shared):
    shared.asked, shared.breaks_at = [], None
    return shared


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "test.en"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    return path.read_text(encoding="utf-8").split("\n")


def test_each_line_gets_its_translation(translator, source, tmp_path):
    expected = translator(LINES)
    assert len(set(expected)) > 3
    translator.asked = []
    translator.translate_file(source, tmp_path / "out" / "test.de", batch_size=2, window=3)
    assert read(tmp_path / "out" / "test.de") == [*expected, ""]
    assert names(tmp_path / "out") == ["test.de"]
    assert translator.asked == [LINES[:3], LINES[3:6], LINES[6:]]
    compressed = tmp_path / "test.en.gz"
    compressed.write_bytes(gzip.compress("\n".join(LINES).encode()))  # no line end after the last
    translator.translate_file(str(compressed), str(tmp_path / "two"))
    assert read(tmp_path / "two") == [*expected, ""]


def test_an_empty_file_gives_an_empty_file(translator, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    translator.translate_file(tmp_path / "empty", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


def broken(translator, source, target):
    """Break in the third window of two lines."""
    translator.asked, translator.breaks_at = [], 2
    with pytest.raises(KeyboardInterrupt):
        translator.translate_file(source, target, window=2)
    translator.asked, translator.breaks_at = [], None


@pytest.mark.parametrize("torn", [b"", "▁7 half a l".encode()[:4]])
def test_a_second_call_goes_on_after_a_break(translator, source, tmp_path, caplog, torn):
    expected = translator(LINES)
    broken(translator, source, tmp_path / "out")
    assert names(tmp_path) == ["out.part", "out.part.json", "test.en"]
    assert read(tmp_path / "out.part") == [*expected[:4], ""]
    part = tmp_path / "out.part"
    how = f"{part} holds 4 finished lines. The same call goes on after them."
    assert caplog.messages == [f"The translation was interrupted. {how}"]
    with open(tmp_path / "out.part", "ab") as stream:
        stream.write(torn)
    translator.translate_file(source, tmp_path / "out", window=5, batch_size=3)
    assert translator.asked == [LINES[4:]]
    assert read(tmp_path / "out") == [*expected, ""]
    assert names(tmp_path) == ["out", "test.en"]


def test_work_of_another_kind_is_not_continued(translator, source, tokenizer, tmp_path):
    target = tmp_path / "out"
    broken(translator, source, target)
    before = (tmp_path / "out.part").read_bytes()
    arguments = {"beam_size": 1, "max_extra_length": 5}
    longer = Translator(translator.model, tokenizer, beam_size=1, max_extra_length=4)
    with pytest.raises(
        ValueError, match=r"another kind: max_extra_length was 5 and is 4\. Finish that work, or remove"
    ):
        longer.translate_file(source, target)
    with pytest.raises(ValueError, match=r"another kind: models was \['\w+'\] and is \['\w+'\]\. F"):
        Translator(tiny.make_opinionated(1), tokenizer, **arguments).translate_file(source, target)
    foreign = tiny.make_tokenizer(tmp_path / "corpus", "bpe")
    with pytest.raises(ValueError, match=r"another kind: models was .* tokenizer was '"):
        Translator(tiny.make_opinionated(vocabulary_size=281), foreign, **arguments).translate_file(source, target)
    source.write_text("4\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"another kind: source_size was 39 and is 2, source_sha256 was '"):
        translator.translate_file(source, target)
    (tmp_path / "out.part.json").unlink()
    with pytest.raises(
        ValueError, match=r"out\.part is unfinished work, but .*out\.part\.json does not say what work it is"
    ):
        translator.translate_file(source, target)
    assert (tmp_path / "out.part").read_bytes() == before and translator.asked == []
    (tmp_path / "out.part").unlink()
    translator.translate_file(source, target)
    assert read(target) == [*translator(["4"]), ""]


class Without:
    """A constraint: one token never comes."""

    pieces = 25

    def __init__(self, token, **more):
        self.token = np.array(token)
        vars(self).update(more)

    def start(self, source):
        return ops.zeros_like(source[:, 0])

    def allowed(self, state, remaining):
        return ops.ones_like(state[:, :, None], "bool") & (ops.arange(self.pieces) != int(self.token))

    def advance(self, state, tokens):
        return state


def under(constraint, translator):
    options = {"beam_size": 1, "max_extra_length": 5, "constraint": constraint}
    return Breaking(translator.model, translator.tokenizer, **options)


def test_work_under_a_constraint_goes_on_with_the_same_settings_alone(translator, source, tmp_path, monkeypatch):
    target = tmp_path / "out"
    broken(under(Without(7), translator), source, target)
    with pytest.raises(ValueError, match=r"of another kind: constraint_settings was '\w+' and is '\w+'\. Finish"):
        under(Without(8), translator).translate_file(source, target)
    monkeypatch.setattr(Without, "pieces", 24)
    with pytest.raises(ValueError, match="constraint_settings was"):
        under(Without(7), translator).translate_file(source, target)
    monkeypatch.undo()
    again = under(Without(7), translator)
    again.translate_file(source, target)
    assert again.asked == [LINES[4:]]
    assert read(target) == [*under(Without(7), translator)(LINES), ""]


def test_settings_of_a_constraint_that_are_unknown_are_refused_without_a_digest(translator, source, tmp_path):
    broken(under(Without(7, function=lambda: 0), translator), source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"the settings of the constraint may differ, as it cannot be pickled and has"):
        under(Without(7, function=lambda: 0), translator).translate_file(source, tmp_path / "out")
    named = {"function": lambda: 0, "digest": "without 7"}
    broken(under(Without(7, **named), translator), source, tmp_path / "other")
    again = under(Without(7, **named), translator)
    again.translate_file(source, tmp_path / "other")
    assert again.asked == [LINES[4:]]
    assert "constraint_settings" not in whole_file.work_of(translator, source, source, False)


def test_a_journal_without_its_file_is_begun_anew(translator, source, tmp_path):
    (tmp_path / "out.part.json").write_text("{}", encoding="utf-8")
    translator.translate_file(source, tmp_path / "out")
    assert len(read(tmp_path / "out")) == len(LINES) + 1
    assert names(tmp_path) == ["out", "test.en"]


def test_the_journal_says_what_the_work_is(translator, source, tmp_path):
    broken(translator, source, tmp_path / "out")
    journal = json.loads((tmp_path / "out.part.json").read_text(encoding="utf-8"))
    assert journal["source"] == str(source.resolve()) and journal["source_size"] == source.stat().st_size
    assert (journal["beam_size"], journal["suppress"], len(journal["models"])) == (1, [], 1)


def test_a_target_is_replaced_only_when_asked_and_at_the_end(translator, source, tmp_path):
    (tmp_path / "out").write_text("precious", encoding="utf-8")
    with pytest.raises(FileExistsError, match="out exists already"):
        translator.translate_file(source, tmp_path / "out")
    translator.breaks_at = 1
    with pytest.raises(KeyboardInterrupt):
        translator.translate_file(source, tmp_path / "out", overwrite=True, window=4)
    assert read(tmp_path / "out") == ["precious"]
    translator.breaks_at = None
    translator.translate_file(source, tmp_path / "out", overwrite=True)
    assert len(read(tmp_path / "out")) == len(LINES) + 1


def test_files_that_cannot_be_are_refused(translator, source, tmp_path):
    for name in ("window", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got 0"):
            translator.translate_file(source, tmp_path / "out", **{name: 0})
    for folder in (tmp_path, "."):
        with pytest.raises(IsADirectoryError, match=r"is a folder\. Choose the name of a file"):
            translator.translate_file(source, folder, overwrite=True)
    with pytest.raises(ValueError, match=r"out\.gz would hold plain text"):
        translator.translate_file(source, tmp_path / "out.gz")
    itself = tmp_path / "." / "test.en"
    with pytest.raises(ValueError, match=r"^target_path='.*test\.en' is a file that is read here\. Choose another"):
        translator.translate_file(source, itself, overwrite=True)
    references = tmp_path / "references"
    for target, message in (
        ("references", "^target_path='.*references' is a file that is read here"),
        ("right", "^references_path .*right.part is where unfinished work for .*right is kept. Rename one"),
    ):
        references = references.rename(tmp_path / "right.part") if target == "right" else references
        references.write_text("1\n" * len(LINES), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            translator.translate_file(source, tmp_path / target, overwrite=True, references_path=references)
    references.unlink()
    with pytest.raises(FileNotFoundError):
        translator.translate_file(tmp_path / "nowhere", tmp_path / "out")
    source.write_bytes(b"1\n2\n\xff\n")
    with pytest.raises(ValueError, match=r"test\.en, line 3: not valid UTF-8"):
        translator.translate_file(source, tmp_path / "out")
    assert names(tmp_path) == ["test.en"] and translator.asked == []


@pytest.mark.parametrize("name", ["out.part", "out.part.json"])
def test_a_source_where_unfinished_work_is_kept_is_refused(translator, source, tmp_path, name):
    taken = source.rename(tmp_path / name)
    before = taken.read_bytes()
    with pytest.raises(ValueError, match=rf"source_path .*{name} is where unfinished work for .*out is kept"):
        translator.translate_file(tmp_path / "." / name, tmp_path / "out")
    assert names(tmp_path) == [name] and taken.read_bytes() == before


def test_the_journal_is_on_the_disk_before_any_line(translator, source, tmp_path, monkeypatch):
    on_disk, fsync = [], os.fsync

    def synced(descriptor):
        on_disk.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    translator.breaks_at = 0
    with pytest.raises(KeyboardInterrupt):
        translator.translate_file(source, tmp_path / "out")
    assert {(tmp_path / "out.part.json").stat().st_ino, tmp_path.stat().st_ino} <= set(on_disk)


def test_work_with_numpys_options_goes_on(translator, tokenizer, source, tmp_path):
    options = {"beam_size": np.int64(1), "length_penalty": np.float32(0.5), "suppress": [np.int64(5)]}
    broken(Breaking(translator.model, tokenizer, **options, max_extra_length=5), source, tmp_path / "out")
    again = Breaking(translator.model, tokenizer, beam_size=1, length_penalty=0.5, suppress=[5], max_extra_length=5)
    again.translate_file(source, tmp_path / "out")
    assert again.asked == [LINES[4:]]


def test_one_process_writes_a_target_at_a_time(translator, tokenizer, source, tmp_path, monkeypatch):
    """Another one begins in the first window, and again when the first has just ended."""
    other = Translator(translator.model, tokenizer, beam_size=1, max_extra_length=5)
    target, call = tmp_path / "out", Breaking.__call__

    def calling(self, sentences, **options):
        with pytest.raises(BlockingIOError, match=r"another process is writing .*out\.part"):
            other.translate_file(source, target)
        return call(self, sentences, **options)

    monkeypatch.setattr(Breaking, "__call__", calling)
    translator.translate_file(source, target)
    assert read(target) == [*other(LINES), ""]

    def ended(stream, part):
        part.rename(tmp_path / "ended")
        return files.lock(stream, part)

    monkeypatch.setattr(whole_file, "lock", ended)
    with pytest.raises(BlockingIOError, match="another process is writing"):
        other.translate_file(source, tmp_path / "second")


def test_where_files_have_no_locks_it_is_said(translator, source, tmp_path, monkeypatch, caplog):
    def flock(stream, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    translator.translate_file(source, tmp_path / "out")
    assert "out.part has no locks" in caplog.text and len(read(tmp_path / "out")) == len(LINES) + 1


def test_a_source_that_changes_is_noticed(translator, source, tmp_path, monkeypatch):
    call = Breaking.__call__

    def calling(self, sentences, **options):
        if not translator.asked:
            source.write_text(source.read_text(encoding="utf-8") + "1\n2\n", encoding="utf-8")
        return call(self, sentences, **options)

    monkeypatch.setattr(Breaking, "__call__", calling)
    with pytest.raises(
        ValueError, match=r"test\.en has changed meanwhile\. .*out\.part may be of both versions: remove it"
    ):
        translator.translate_file(source, tmp_path / "out", window=6)
    assert names(tmp_path) == ["out.part", "out.part.json", "test.en"]


def test_a_line_that_is_too_long_is_named_by_file_and_number(tokenizer, source, tmp_path):
    learned = Translator(tiny.make_model(positions="learned", max_length=8), tokenizer, max_extra_length=1)
    with pytest.raises(ValueError, match=r"test\.en, line 5, has 7 pieces\. .* 8 learned positions: '1 2 3 4 5 6 7'"):
        learned.translate_file(source, tmp_path / "out", window=3)
    assert len(read(tmp_path / "out.part")) == 3 + 1


def test_a_line_break_in_a_translation_becomes_a_space(translator, source, tmp_path, monkeypatch):
    texts = ["a\nb", "a\r\nb", "a\rb", "\n", "a\u2028b", "", "c"]
    monkeypatch.setattr(Breaking, "__call__", lambda self, sentences, batch_size: texts)
    translator.translate_file(source, tmp_path / "out")
    assert (tmp_path / "out").read_bytes().decode() == "a b\na b\na b\n \na\u2028b\n\nc\n"
