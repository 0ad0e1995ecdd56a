"""The table of a student and its teacher: which way counts, the ratios, and the BLEU of each model."""

import json

import pytest
import sacrebleu
import students
import tiny
import typer


@pytest.fixture
def files(tmp_path):
    """Folders with a tokenizer each, and two aligned files of three sentences."""
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus")
    for name in ("teacher", "student"):
        (tmp_path / name).mkdir()
        tokenizer.save(tmp_path / name / "tokenizer.model")
    (tmp_path / "test.en").write_text("3 1 4\n1 5 9 2\n6 5 3 5\n")
    (tmp_path / "test.de").write_text("4 1 3\n2 9 5 1\n5 3 5 6\n")
    given = {name: tmp_path / name for name in ("teacher", "student")}
    return tokenizer, given | {"source": tmp_path / "test.en", "reference": tmp_path / "test.de"}


def test_the_faster_way_counts_and_ratios_compare_with_the_teacher_in_integers(files, tmp_path, monkeypatch, capsys):
    tokenizer, given = files
    texts = {"teacher": ["4 1 3", "2 9 5 1", "5 3 5 6"], "student": ["4 1 3", "2 9 5 1", "5 3 5 7"]}
    seconds = {"teacher": {"together": [8.0, 2.0, 3.0], "apart": [4.0, 4.0, 4.0]}, "student": [0.5, 0.5, 0.75]}
    seconds["student"] = {"together": [1.0] * 3, "apart": seconds["student"]}
    calls = []

    def measured(script, folder, source, engine, way, beam, batch, threads, repeats):
        name = folder.rpartition("/")[2]
        calls.append((name, engine, way, beam))
        pieces = [tokenizer.pieces(ids) for ids in tokenizer.encode(texts[name])]
        turn = calls.count(calls[-1]) - 1
        return {"seconds": seconds[name][way][turn], "translations": [(row, 0.0) for row in pieces]}

    monkeypatch.setattr(students, "in_a_process", measured)
    students.main(tmp_path / "out", **given)
    found = {
        (row["model"], row["engine"], row["beam"]): row
        for row in json.loads((tmp_path / "out" / "students.json").read_text())
    }
    assert set(found) == {tuple(each) for each in students.CONTENDERS if each.model != "control"}
    teacher, student = found["teacher", "ours int8", 4], found["student", "ours int8", 1]
    assert teacher["way"] == "together" and teacher["sentences_per_second"] == 3 / 3.0
    assert student["way"] == "apart" and student["sentences_per_second"] == 3 / 0.5
    references = given["reference"].read_text().splitlines()
    assert teacher["bleu"] == pytest.approx(100)
    assert student["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts["student"], [references]).score)
    assert "| student | ours int8 | 1 | 6 | apart | 6.00 | 6.00 |" in capsys.readouterr().out


def test_references_must_be_aligned(files, tmp_path):
    given = files[1]
    given["reference"].write_text("4 1 3\n")
    with pytest.raises(typer.BadParameter, match="as many lines as --source"):
        students.main(tmp_path / "out", **given)
