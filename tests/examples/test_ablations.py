"""Table 3 at a small scale: the proportions, a row that is trained once, and the report of cards."""

import json
import subprocess
from types import SimpleNamespace

import ablations
import pytest
import tiny
import typer
from typer.testing import CliRunner

from keras_transformer.presets import TABLE_3, preset
from keras_transformer_cli.app import app

SMALL = [
    *("--model", "num_encoder_layers=1", "--model", "num_decoder_layers=1", "--model", "d_model=16", "--model"),
    *("d_ff=16", "--model", "num_heads=2", "--steps", "3", "--precision", "float32", "--no-deterministic"),
]


@pytest.mark.parametrize("name", TABLE_3)
def test_the_small_models_have_the_papers_proportions(name):
    paper, small = preset(name), ablations.scaled(name)
    width = paper["d_model"] // paper["num_heads"]
    assert small["d_model"] * 4 == paper["d_model"] and small["d_ff"] * 4 == paper["d_ff"]
    assert small["d_k"] * 4 == paper.get("d_k", width) and small["d_v"] * 4 == paper.get("d_v", width)
    assert small["num_encoder_layers"] * 2 == paper["num_encoder_layers"]
    same = ("num_heads", "dropout", "positions", "max_length")
    assert [small.get(key) for key in same] == [paper.get(key) for key in same]


def words(name):
    command = ablations.training_command(name, 2, ["a", "b", "c", "d"], "t", "o")
    return dict(zip(command[3::2], command[4::2], strict=True)), command


def test_rows_differ_from_the_base_by_what_table_3_says():
    base, _ = words("paper_base")
    assert base["--steps"] == "800" and words("paper_big")[0]["--steps"] == "2400"
    assert words("paper_d3")[0] == base | {"--label-smoothing": "0.0", "--preset": "paper_d3"}
    assert words("paper_d2")[0] == base | {"--dropout": "0.2", "--preset": "paper_d2"}
    assert float(words("paper_c5")[0]["--peak"]) == pytest.approx(float(base["--peak"]) / 2**0.5)
    assert {"d_k=4", "d_v=16"} <= set(words("paper_b1")[1]) and "d_k=16" in words("paper_base")[1]


def test_a_row_is_trained_once_and_a_failure_keeps_what_was_there(tmp_path, monkeypatch):
    source, target = tiny.write_pairs(tmp_path, tiny.digit_pairs(60, longest=5))
    files = {"source": source, "target": target, "valid_source": source, "valid_target": target}
    calls = []

    def in_this_process(command, **options):
        calls.append(command[3:])
        code = CliRunner().invoke(app, command[3:]).exit_code if len(calls) < 2 else 130
        return subprocess.CompletedProcess(command, code)

    process = SimpleNamespace(run=in_this_process, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(ablations, "subprocess", process)
    monkeypatch.setattr(ablations, "VOCABULARY", 300)
    output = tmp_path / "out"
    ablations.main(output, **files, rows="base", seeds="1", options=SMALL)
    card = json.loads((output / "cards" / "paper_base_1.json").read_text(encoding="utf-8"))
    assert card["row"] == "paper_base" and card["seed"] == 1 and card["perplexity"] > 1 and card["facts"]["seed"] == 1
    with pytest.raises(typer.Exit) as end:
        ablations.main(output, **files, rows="base,a1", seeds="1", options=SMALL)
    assert end.value.exit_code == 130 and len(calls) == 2 and "paper_a1" in calls[1]
    assert [path.name for path in (output / "cards").iterdir()] == ["paper_base_1.json"]
    assert "| base |" in (output / "table_3.md").read_text(encoding="utf-8")


def write_card(folder, row, seed, bleu):
    result = {"row": row, "seed": seed, "perplexity": 7.0, "bleu": bleu, "parameters": 1234, "minutes": 5.5}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{row}_{seed}.json").write_text(json.dumps(result), encoding="utf-8")


def test_the_report_compares_directions_beyond_the_noise_between_seeds(tmp_path, capsys):
    ablations.main(tmp_path, report=True)
    assert "holds no result yet" in capsys.readouterr().out
    scores = {"paper_base": (30.0, 30.4), "paper_c1": (28.0, 28.0), "paper_c7": (30.5, 30.5), "paper_d2": (31.0, 31.0)}
    for row, pair in scores.items():
        for seed, bleu in enumerate(pair):
            write_card(tmp_path / "cards", row, seed, bleu)
    ablations.main(tmp_path, report=True)
    lines = (tmp_path / "table_3.md").read_text(encoding="utf-8").splitlines()
    cells = {row[0]: row for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:])}
    assert "at most 0.40," in lines[2]
    assert cells["base"][3:7] == ["30.20", "2", "1,234", "5.5"] and cells["base"][-2:] == ["", ""]
    assert {row: cells[row][-2:] for row in ("c1", "c7", "d2")} == {
        "c1": ["worse", "worse"],
        "c7": ["same", "better"],
        "d2": ["better", "worse"],
    }
    assert (tmp_path / "table_3.png").stat().st_size > 5000


def test_with_one_seed_nothing_is_said_about_noise(tmp_path):
    for row, bleu in (("paper_base", 30.0), ("paper_c1", 29.9)):
        write_card(tmp_path / "cards", row, 1, bleu)
    ablations.main(tmp_path, report=True)
    text = (tmp_path / "table_3.md").read_text(encoding="utf-8")
    assert "Each row has one seed, so a small difference here may be chance;" in text and "at most" not in text
    assert text.splitlines()[-1].endswith("| worse | worse |")


def test_wrong_rows_seeds_and_files_are_refused(tmp_path):
    with pytest.raises(typer.BadParameter, match=r"there is no row 'f1'\. The rows are: base, a1, .*, e, big\."):
        ablations.chosen_rows("a1,f1")
    with pytest.raises(typer.BadParameter, match="must be whole numbers with commas, got '1;2'"):
        ablations.chosen_seeds("1;2")
    with pytest.raises(typer.BadParameter, match="must be a file, got None"):
        ablations.main(tmp_path)
