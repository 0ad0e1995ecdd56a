"""benchmarks/serving_load.py runs once, tiny, and writes its results."""

import json
import os
from types import SimpleNamespace

import pytest
import serving_double
import serving_load
import tiny
import typer

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_load(digits_export, digits_translator, tmp_path, capsys):
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in [*SENTENCES, *SENTENCES]))
    serving_load.main(tmp_path / "out", digits_export, tmp_path / "text", callers=3, seconds=2.0)
    figures = json.loads((tmp_path / "out" / "load.json").read_text())
    assert figures["errors"] == figures["other translations than alone"] == 0
    assert figures["different sentences"] == 5
    assert figures["sentences"] >= figures["requests"] >= figures["runs of the session under load"] > 3
    assert figures["largest difference of a score"] < 1e-4
    assert 100 < figures["MiB loaded"] <= figures["MiB at most"]
    table = (tmp_path / "out" / "load.md").read_text()
    assert f"| requests | {figures['requests']:,} |" in table
    assert table in capsys.readouterr().out


class InThisProcess(serving_load.Server):
    """The test double in this process. `test_load` already starts one in its own process, which takes long."""

    def __enter__(self):
        self.double = serving_double.Double({"load": {1: self.command[2]}}, serving_double.Batching()).__enter__()
        self.address, self.process = f"127.0.0.1:{self.double.grpc_port}", SimpleNamespace(pid=os.getpid())
        return self

    def __exit__(self, *error):
        self.double.__exit__(*error)


def test_bounds(tmp_path, digits_translator, monkeypatch):
    monkeypatch.setattr(serving_load, "Server", InThisProcess)
    digits_translator.save(tmp_path / "run")
    serving_load.main(tmp_path / "out", bounds=tmp_path / "run", max_source_length=11, repeats=1)
    figures = json.loads((tmp_path / "out" / "bounds.json").read_text())
    assert 4 < figures["source tokens"] <= 11
    assert figures["target tokens"] == figures["source tokens"] + 50
    assert figures["MiB loaded"] <= figures["MiB at most, batch 1"] <= figures["MiB at most, batch 64"]
    assert min(figures["seconds, batch 1"], figures["seconds, batch 64"]) > 0


def test_an_answer_that_differs_is_found():
    quiet = {"translations": "4", "scores": -1.5}
    tally = serving_load.Tally()
    tally.compare("4", {"translations": "4", "scores": -1.25}, quiet)
    assert (tally.sentences, tally.score_difference, tally.different) == (1, 0.25, [])
    tally.compare("4", {"translations": "5", "scores": -1.5}, quiet)
    assert [case["under load"]["translations"] for case in tally.different] == ["5"]


def test_options_are_checked(tmp_path):
    (tmp_path / "text").write_text("")
    with pytest.raises(typer.BadParameter, match="give --export and --sentences"):
        serving_load.main(tmp_path, sentences=tmp_path / "text")
    with pytest.raises(typer.BadParameter, match="has no line"):
        serving_load.main(tmp_path, tmp_path / "none", tmp_path / "text")
    with pytest.raises(typer.BadParameter, match="no text has at most 1 tokens"):
        serving_load.longest_source(tiny.make_tokenizer(tmp_path), 1)
