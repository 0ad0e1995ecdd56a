"""The corpus that a student learns from: the teacher's translations, once, and refused for other work."""

import gzip

import pytest
import tiny
from sacrebleu import sentence_bleu

from keras_transformer import Translator
from keras_transformer.translation import distill, teaching

PAIRS = tiny.digit_pairs(11, seed=5, longest=5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    tokenizer = tiny.make_tokenizer(tmp_path_factory.mktemp("teacher"))
    return Translator(tiny.make_opinionated(), tokenizer, beam_size=3, max_extra_length=4)


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_the_corpora_are_the_given_one_and_the_teachers_and_the_work_is_done_once(teacher, tmp_path, monkeypatch):
    source, target = tiny.write_pairs(tmp_path, PAIRS)
    packed = tmp_path / "packed.en.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    sources, targets = distill(teacher, source, target, tmp_path / "new" / "folder")
    assert sources == [source, source] and targets == [target, tmp_path / "new" / "folder" / "teacher.target"]
    best = teacher([source for source, _ in PAIRS])
    assert lines(targets[1]) == best
    (only,), (closest,) = distill(teacher, packed, str(target), tmp_path / "closest", keep="closest", mixture=False)
    hypotheses = teacher.n_best([source for source, _ in PAIRS])
    assert only == packed
    assert lines(closest) == [
        max((each.text for each in found), key=lambda text: sentence_bleu(text, [right]).score)
        for found, (_, right) in zip(hypotheses, PAIRS, strict=True)
    ]
    assert lines(closest) != best
    monkeypatch.setattr(teaching, "translate_file", None)  # the same call again translates nothing
    assert distill(teacher, source, target, tmp_path / "new" / "folder") == (sources, targets)
    other = Translator(teacher.model, teacher.tokenizer, beam_size=2, max_extra_length=4)
    with pytest.raises(
        ValueError, match=r"folder holds other work of a teacher: beam_size was 3 and is 2\. Choose anot"
    ):
        distill(other, source, target, tmp_path / "new" / "folder")


def test_translations_of_an_unknown_teacher_are_not_taken(teacher, tmp_path):
    source, target = tiny.write_pairs(tmp_path, PAIRS)
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "teacher.target").write_text("1\n" * len(PAIRS))
    message = (
        r"teacher\.target exists, but no teacher\.json says whose work it is\. Remove it, or choose another folder"
    )
    with pytest.raises(ValueError, match=message):
        distill(teacher, source, target, tmp_path / "lessons")
    assert not (tmp_path / "lessons" / "teacher.json").exists()


def test_what_cannot_be_taught_is_refused_before_the_work(teacher, tmp_path):
    source, target = tiny.write_pairs(tmp_path, PAIRS)
    with pytest.raises(ValueError, match="keep must be 'best' or 'closest', got 'likeliest'"):
        distill(teacher, source, target, tmp_path / "out", keep="likeliest")
    with pytest.raises(FileNotFoundError, match=r"target='.*/nothing' does not exist"):
        distill(teacher, source, tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"source='/dev/stdin' can be read only once, and it is read again later\. Save"
    ):
        distill(teacher, "/dev/stdin", target, tmp_path / "out")
    target.write_text("1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"target='.*de' has 1 lines and source='.*en' has 11: they must be aligned"):
        distill(teacher, source, target, tmp_path / "out")
    source.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has 0 lines and .* has 0: they must be aligned, and not empty"):
        distill(teacher, source, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
