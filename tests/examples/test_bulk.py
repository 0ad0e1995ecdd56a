"""Bulk translation on Beam: the strings of `translate_file`, bad rows, restarts, and the three formats."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

pyarrow = pytest.importorskip("pyarrow", reason="pip install -e '.[bulk]'")
bulk_translate = pytest.importorskip("bulk_translate", reason="pip install -e '.[bulk]'", exc_type=ImportError)

PROGRAM = Path(bulk_translate.__file__)
SENTENCES = [source for source, _ in tiny.digit_pairs(23, seed=4)]


def run(folder, export, *options):
    """The program in another process: its last line, its exit code."""
    command = [sys.executable, PROGRAM, "--export", export, "--output", folder / "out", *options]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().splitlines()[-1], done.returncode


def test_text_on_two_processes_and_a_restart(digits_translator, digits_export, tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("\n".join([*SENTENCES[:9], "", *SENTENCES[9:]]), encoding="utf-8")
    digits_translator.translate_file(source, tmp_path / "expected.txt")
    source.write_bytes(source.read_bytes() + b"\n\xff1 2\n")
    options = ("--input", source, "--rows-per-shard", "7")
    line, code = run(tmp_path, digits_export, *options, "--direct_num_workers", "2")
    assert (line, code) == ("24 rows translated, 1 rows bad, 0 shards skipped", 0)
    parts = sorted((tmp_path / "out").glob("part-*"))
    assert [part.name for part in parts] == [f"part-00000-000000{i}.txt" for i in range(4)]
    written = b"".join(part.read_bytes() for part in parts)
    assert written == (tmp_path / "expected.txt").read_bytes() + b"\n"
    [bad] = (tmp_path / "out").glob("bad-*")
    reason = {"file": str(source), "row": 24, "reason": "not valid UTF-8 at byte 1", "content": "\\xff1 2"}
    assert json.loads(bad.read_text()) == reason
    parts[1].unlink()
    line, code = run(tmp_path, digits_export, *options, "--runner", "FnApiRunner")
    assert (line, code) == ("7 rows translated, 0 rows bad, 3 shards skipped", 0)
    assert b"".join(part.read_bytes() for part in parts) == written
    assert {path.name[:4] for path in (tmp_path / "out").iterdir()} == {"part", "bad-", "job."}


def translated(kind, path, output, rows_per_shard=3):
    """A file through the two functions of Beam, with a translator that turns texts around."""
    file_format = bulk_translate.FORMATS[kind]("source", "translation")
    work = bulk_translate.TranslateShard(file_format, None, str(output), batch_size=2)
    work.translate = lambda texts: [(text[::-1], len(text) > 9) for text in texts]
    shards = list(bulk_translate.FindShards(file_format, rows_per_shard).process((0, str(path))))
    counts = [count for shard in shards for count in work.process(shard)]
    bad = [json.loads(line) for path in sorted(output.glob("bad-*")) for line in path.read_text().splitlines()]
    return counts, sorted(output.glob("part-*")), [(row["row"], row["reason"]) for row in bad]


def test_objects_keep_their_fields(tmp_path):
    lines = ['{"source": "ab\\u00fc", "id": 7}', "no JSON", '{"id": 8}', '["ab"]', '{"source": "longer text", "id": 9}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    counts, parts, bad = translated("jsonl", tmp_path / "in.jsonl", tmp_path)
    assert counts == [3, 2]
    rows = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"source": "abü", "id": 7, "translation": "üba"},
        None,
        {"id": 8, "translation": None},
        None,
        {"source": "longer text", "id": 9, "translation": None},
    ]
    assert [number for number, _ in bad] == [1, 2, 3, 4]
    assert bad[0][1].startswith("not JSON: Expecting value")
    assert [reason for _, reason in bad[1:]] == [
        *["no object with a string in the field 'source'"] * 2,
        "longer than the export's max_source_length",
    ]


def test_columns_keep_their_types(tmp_path):
    import pyarrow.parquet

    table = pyarrow.table({"n": pyarrow.array([1, 2, 3, 4, 5], pyarrow.int16()), "source": ["ab", None, "cd", "e", ""]})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    counts, parts, bad = translated("parquet", tmp_path / "in.parquet", tmp_path)
    assert counts == [3, 2] and bad == [(1, "no string in the column 'source'")]
    result = pyarrow.concat_tables([pyarrow.parquet.read_table(part) for part in parts])
    assert result.column("translation").to_pylist() == ["ba", None, "dc", "e", ""]
    assert result.drop_columns("translation").equals(table)
    for field, message in (("text", "has no column 'text'"), ("n", "has a column 'source' already")):
        with pytest.raises(ValueError, match=message):
            list(bulk_translate.Parquet(field, "source").shards(str(tmp_path / "in.parquet"), 3))


def test_a_line_break_in_a_translation_becomes_a_space(tmp_path):
    (tmp_path / "in.txt").write_bytes(b"b\r c\r\n\nd")
    _, [part], _ = translated("text", tmp_path / "in.txt", tmp_path)
    assert part.read_bytes() == b"c  b\n\nd\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--input": "none*"}, "--input none* matches no file."),
        ({"--export": "."}, "--export . holds no saved_model.pb. Give the folder of one version, such as en_de/1."),
        ({"--input": "in.gz"}, "in.gz is compressed, and cannot be cut into shards. Unpack it first."),
        ({"--field": "text"}, "--output out belongs to another job: field differ from out/job.json."),
    ],
)
def test_what_is_refused_before_the_work(digits_export, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    for name in ("in.txt", "in.gz"):
        Path(name).write_text("1 2\n")
    given = {"--export": str(digits_export), "--input": "in.txt", "--output": "out"}
    model = (digits_export / "saved_model.pb").stat().st_size
    job = {"export": str(digits_export), "format": "text", "field": "source", "target_field": "translation"}
    bulk_translate.check_job("out", {**job, "rows_per_shard": 2000, "export_bytes": model, "files": [["in.txt", 4]]})
    with pytest.raises(SystemExit, match=f"^{message.replace('*', '[*]')}"):
        bulk_translate.main([part for pair in {**given, **options}.items() for part in pair])
