"""RESULTS.md is what its script makes of the committed cards: no number of its tables is typed by hand."""

import json
import shutil
import subprocess
import sys

import pytest
import results_page
import typer
from results_cards import RESULTS, mean, span

TEMPLATE = (RESULTS / "page.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """A copy of the cards and the template."""
    return shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.png"))


def change(folder, name, value, *keys):
    """Set an entry of a card, or remove it if `value` is None."""
    path = folder / f"{name}.json"
    card = entry = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        entry = entry[key]
    if value is None:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    path.write_text(json.dumps(card), encoding="utf-8")


def changed_lines(folder):
    """The lines of the page that only the cards of a folder give."""
    before = set(results_page.render().splitlines())
    return [line for line in results_page.render(folder).splitlines() if line not in before]


def test_the_page_is_what_the_cards_say():
    assert results_page.PAGE.read_text(encoding="utf-8") == results_page.render() + "\n", (
        "run python benchmarks/results_page.py"
    )


def test_no_table_is_typed_by_hand_and_each_text_has_its_place():
    assert [line for line in TEMPLATE.splitlines() if line.startswith("|")] == []
    names = [f"{family}.{name}" for family, found in results_page.texts().items() for name in found]
    assert [name for name in names if f"{{{{ {name} }}}}" not in TEMPLATE] == []


@pytest.mark.parametrize(
    ("name", "value", "keys", "line"),
    [
        ("bulk/bulk", 25.0, ["workers_1", "seconds"], "| 1 | 25.0 | 249 |"),
        ("parsing_baseline/parsing_baseline", "12.34", ["scores", "Bracketing F1"], "| F1 | 12.34 | **77.36** |"),
        ("multi30k/raw", 1.5, ["scores", "test_2016", "BLEU"], "| raw (cased) | 10, 2,180 | about 13 min | 6.78 |"),
        ("train_step_gpu/h100", 1.0, ["ours", 0, "peak_mib"], "| ours | **714,831** | 34.9 |  | 35 % | **3,682** |"),
        ("decode/trained", 1e4, [0, "sentences_per_second"], "| 1, together | **10,000** | 461 |"),
    ],
)
def test_a_changed_number_of_a_card_changes_the_page(folder, name, value, keys, line):
    change(folder, name, value, *keys)
    changed = changed_lines(folder)
    assert any(found.startswith(line) for found in changed), changed


def test_a_missing_card_or_number_is_named(folder):
    change(folder, "decode/tiny", "nobody", 0, "contender")
    path = folder / "decode" / "tiny.json"
    with pytest.raises(
        ValueError, match=rf"^{path} has no entry '1, 1, together, ours', which the page shows\. Run its"
    ):
        results_page.render(folder)
    path.write_text("[]")
    with pytest.raises(ValueError, match=rf"^{path} is an empty card\. "):
        results_page.render(folder)
    path.write_text("{")
    with pytest.raises(ValueError, match=rf"^{path} is no JSON: Expecting property name .* Run its script again, or"):
        results_page.render(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"^{path}, a card that the page shows, does not exist\. Run its"):
        results_page.render(folder)
    change(folder, "multi30k/tok", None, "training", "epochs")
    with pytest.raises(ValueError, match=rf"^{folder}/multi30k/tok.json has no entry 'epochs', which the page shows"):
        results_page.render(folder)


def test_a_place_that_no_function_fills_is_named(folder):
    (folder / "page.md").write_text("{{ bulk.speed }}")
    with pytest.raises(ValueError, match=r"page.md has a place that no function fills: .* no attribute 'speed'\.$"):
        results_page.render(folder)


def a_card(seed, bleu, average):
    signature = {"BLEU signature": "nrefs:1|tok:none"}
    return {
        **{
            "command": f"keras-transformer train --seed {seed}",
            "machine": "2 cores",
            "versions": "keras 3",
            "seed": seed,
        },
        "training": {"updates": 8000, "seconds without validation": 5400.0, "best val_perplexity": 4.5},
        "scores": {"validation, best epoch": {"BLEU": bleu} | signature, "test_2016": {"BLEU": average} | signature},
    }


def test_several_seeds_have_a_mean_and_a_deviation(folder):
    shutil.rmtree(folder / "published")
    assert "### The published recipe" not in results_page.render(folder)
    (folder / "published").mkdir()
    for seed, bleu in ((1, 40.0), (10, 41.0), (2, 42.0)):
        path = folder / "published" / f"seed_{seed}.json"
        path.write_text(json.dumps(a_card(seed, bleu, bleu + 1)), encoding="utf-8")
    table = """\
keras-transformer train --seed 1
keras-transformer train --seed 2
keras-transformer train --seed 10
```

| seed | updates | minutes | validation perplexity | BLEU: validation, best epoch | BLEU: test_2016 |
|---|---|---|---|---|---|
| 1 | 8,000 | 90 | 4.50 | 40.00 | 41.00 |
| 2 | 8,000 | 90 | 4.50 | 42.00 | 43.00 |
| 10 | 8,000 | 90 | 4.50 | 41.00 | 42.00 |
| mean ± standard deviation |  |  | **4.50 ± 0.00** | **41.00 ± 1.00** | **42.00 ± 1.00** |
"""
    page = results_page.render(folder)
    assert table in page and "on 2 cores (keras 3):" in page and "sacreBLEU: `nrefs:1|tok:none`." in page
    assert "[the published recipe](#the-published-recipe-on-several-seeds)" in page


def test_table_3_at_a_small_scale_stands_beside_the_paper(folder):
    shutil.rmtree(folder / "ablations", ignore_errors=True)
    assert "### Table 3" not in results_page.render(folder)
    cards = folder / "ablations" / "cards"
    cards.mkdir(parents=True)
    for row, bleus in {"paper_base": (30.0, 30.4), "paper_c1": (28.0,), "paper_d1": (30.3,)}.items():
        for seed, bleu in enumerate(bleus, start=1):
            found = {"row": row, "seed": seed, "perplexity": 6.0, "bleu": bleu, "parameters": 1234567, "minutes": 8.0}
            path = cards / f"{row}_{seed}.json"
            path.write_text(json.dumps(found | {"facts": a_card(seed, bleu, bleu)}), encoding="utf-8")
    page = results_page.render(folder)
    assert "at most 0.40, the largest" in page and "2 cores; sacreBLEU `nrefs:1|tok:none`:" in page
    assert "| base |  | 6.00 ± 0.00 | 30.20 ± 0.28 | 1, 2 | 1,234,567 | 8.0 | 4.92 | 25.8 |  |  |" in page
    c1 = "| c1 | num_encoder_layers 2, num_decoder_layers 2 | 6.00 | 28.00 | 1 | 1,234,567 | 8.0 | 6.11 | 23.7 "
    assert c1 + "| worse | worse |" in page
    assert "| d1 | dropout 0.0 | 6.00 | 30.30 | 1 | 1,234,567 | 8.0 | 5.77 | 24.6 | same | worse |" in page
    assert "table_3.png" not in page
    (cards / "paper_base_2.json").unlink()
    assert "Each row has one seed so far, so a small difference here may be chance;" in results_page.render(folder)
    (folder / "ablations" / "table_3.png").touch()
    assert "![differences from the base model](results/ablations/table_3.png)" in results_page.render(folder)


def test_a_student_stands_beside_its_teacher(folder):
    shutil.rmtree(folder / "students", ignore_errors=True)
    assert "### A student" not in results_page.render(folder)
    (folder / "students").mkdir()
    speeds = {("teacher", "ours int8", 4): (100.0, 36.0), ("teacher", "ctranslate2 int8", 4): (200.0, 36.1)}
    speeds[("student", "ours int8", 1)] = (800.0, 35.9)
    entries = [
        {"model": model, "engine": engine, "beam": beam, "sentences_per_second": rate, "way": "apart", "bleu": bleu}
        for (model, engine, beam), (rate, bleu) in speeds.items()
    ]
    (folder / "students" / "students.json").write_text(json.dumps(entries), encoding="utf-8")
    for name, bleu in (("student", 35.5), ("control", 33.25)):
        (folder / "students" / f"{name}.json").write_text(json.dumps(a_card(1, bleu, bleu + 1)), encoding="utf-8")
    page = results_page.render(folder)
    assert "| student | ours int8 | 1 | 800 | apart | 8.00 | 4.00 | 35.90 |" in page
    assert "the student 35.50 and 36.50, the\ncontrol 33.25 and 34.25, the teacher 36.04 and 35.95." in page
    assert "8.00 times as fast as the teacher" in page and "better by -2.25 BLEU" in page


def test_check_ends_with_1_where_the_page_differs(tmp_path, monkeypatch, capsys):
    results_page.main(check=True)
    page = tmp_path / "RESULTS.md"
    page.write_text(results_page.render().replace("| 1 | 30.1 | 249 |", "| 1 | 30.2 | 249 |") + "\n", encoding="utf-8")
    monkeypatch.setattr(results_page, "PAGE", page)
    with pytest.raises(typer.Exit) as end:
        results_page.main(check=True)
    printed = capsys.readouterr()
    assert end.value.exit_code == 1 and "-| 1 | 30.2 | 249 |\n+| 1 | 30.1 | 249 |" in printed.out
    assert printed.err == f"{page} differs from the cards. Run: python benchmarks/results_page.py\n"
    results_page.main()
    assert page.read_text(encoding="utf-8") == results_page.render() + "\n"


def test_a_card_that_is_missing_is_one_line_and_2(monkeypatch, capsys):
    def no_page():
        raise FileNotFoundError("no card")

    monkeypatch.setattr(results_page, "render", no_page)
    with pytest.raises(typer.Exit) as end:
        results_page.main()
    assert (end.value.exit_code, capsys.readouterr().err) == (2, "no card\n")


def test_the_page_is_made_without_keras():
    code = "import sys, results_page; results_page.render(); assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=RESULTS.parent, check=True)


def test_numbers_are_written_as_on_the_page():
    assert (span([2.24, 5.41, 3.0]), span([1.31, 1.312], 2), span([79.6, 80.3], 0)) == ("2.2 to 5.4", "1.31", "80")
    assert (mean([41.0]), mean([40.0, 41.0, 42.0], 1)) == ("41.00", "41.0 ± 1.0")
