"""Paired bootstrap resampling, digit for digit as the command `sacrebleu`."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict

import pytest
import rival_texts

from keras_transformer.evaluate import compare, paper_tokens

REFERENCES = [rival_texts.references(), rival_texts.translations(0.1, seed=9)]
SYSTEMS = {
    "base": rival_texts.translations(0.3, seed=2),
    "close": rival_texts.translations(0.28, seed=3),
    "better": rival_texts.translations(0.05, seed=4),
}


# The command drops white space at the end of a line. No metric may see it here either.
SYSTEMS["close"][3] += " \t\u00a0"
SYSTEMS["close"][7] = ""
REFERENCES[1][5] += "  "
# A cell of a row: score (mean ± interval), and for systems after the first: (p = 0.1234).
CELL = re.compile(r"(\d[\d.]*) \((\d[\d.]*) ± (\d[\d.]*)\)(?: \(p = ([\d.]+)\))?(\*?)")
DECIMALS = 12


def by_sacrebleu(folder, references, systems, *options, seed=None):
    """A row of cells for each system, as the command prints them: ("22.61…", "22.60…", "1.20…", "0.0120", "*")."""
    files = [rival_texts.write(folder / f"reference{n}", lines) for n, lines in enumerate(references)]
    inputs = [rival_texts.write(folder / name, lines) for name, lines in systems.items()]
    # Its JSON cannot hold chrF, whose mean is a float32.
    looks = "--paired-bs", "--format", "latex", "--width", str(DECIMALS)
    command = [sys.executable, "-m", "sacrebleu", *files, "-i", *inputs, *looks, *options]
    environment = os.environ | ({} if seed is None else {"SACREBLEU_SEED": seed})
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    rows = [row for row in map(CELL.findall, printed.splitlines()) if row]
    assert len(rows) == len(systems)
    return rows


def shown(score):
    """A `ComparedScore` as the command prints it."""
    numbers = [f"{number:.{DECIMALS}f}" for number in (score.score, score.mean, score.interval)]
    if score.p_value is None:
        return (*numbers, "", "")
    return (*numbers, f"{score.p_value:.4f}", "*" if score.is_significant else "")


def rows_of(comparison, *metrics):
    """The cells of some metrics, a row for each system."""
    return [[shown(comparison.scores[metric][system]) for metric in metrics] for system in SYSTEMS]


def test_every_digit_is_that_of_the_command(tmp_path):
    comparison = compare(SYSTEMS, REFERENCES, more=["chrf++", "ter"])
    printed = by_sacrebleu(tmp_path, REFERENCES, SYSTEMS, "-m", "bleu", "chrf", "ter")
    assert rows_of(comparison, "bleu", "chrf", "ter") == printed
    for metric in comparison.scores:
        assert "nrefs:2|bs:1000|seed:12345|" in comparison.signatures[metric]
    p_values = [comparison.scores["bleu"][name].p_value for name in SYSTEMS]
    assert p_values[0] is None and p_values[1] > 0.05 > p_values[2]


def test_the_number_of_samples_the_seed_and_the_tokenizer_count(tmp_path, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    options = "-m", "bleu", "chrf", "--chrf-word-order", "2", "--tokenize", "none", "--paired-bs-n", "50"
    printed = by_sacrebleu(tmp_path, REFERENCES[:1], SYSTEMS, *options, seed="7")
    comparison = compare(SYSTEMS, REFERENCES[0], "none", ["chrf++"], samples=50)
    assert rows_of(comparison, "bleu", "chrf++") == printed
    assert "bs:50|seed:7|" in comparison.signatures["chrf++"] and "tok:none" in comparison.signatures["bleu"]


def test_the_papers_bleu_is_compared_on_its_own_tokens(tmp_path):
    tokens = {name: paper_tokens(texts) for name, texts in SYSTEMS.items()}
    options = "--tokenize", "none", "--smooth-method", "none", "--paired-bs-n", "50"
    printed = by_sacrebleu(tmp_path, [paper_tokens(texts) for texts in REFERENCES], tokens, *options)
    comparison = compare(SYSTEMS, REFERENCES, more=["paper_bleu"], samples=50)
    assert rows_of(comparison, "paper_bleu") == printed
    assert comparison.signatures["paper_bleu"].startswith("nrefs:2|bs:50|seed:12345|case:mixed|eff:no|tok:none|smooth:")


def test_what_is_printed_names_baseline_and_difference():
    comparison = compare(SYSTEMS, REFERENCES[0], samples=50)
    lines = str(comparison).splitlines()
    scores = comparison.scores["bleu"]
    base = scores["base"]
    assert lines[0] == "BLEU" and lines[1] == f"  {comparison.signatures['bleu']}"
    assert lines[2] == f"  base    {base.score:.2f} ({base.mean:.2f} ± {base.interval:.2f})"
    assert lines[3].startswith("  close   ") and lines[3].endswith(f"p = {scores['close'].p_value:.4f}")
    assert lines[4].endswith(f"p = {scores['better'].p_value:.4f} *")
    assert lines[-1].endswith("The baseline is base; * is p ≤ 0.05.")
    assert json.loads(json.dumps(asdict(comparison)))["scores"]["bleu"]["better"]["p_value"] < 0.05


def test_equal_systems_do_not_differ():
    one, other = SYSTEMS["base"], SYSTEMS["base"]
    comparison = compare({"one": one, "other": other}, REFERENCES[0], samples=50)
    scores = comparison.scores["bleu"]
    assert (scores["other"].score, scores["other"].mean) == (scores["one"].score, scores["one"].mean)
    assert scores["other"].p_value == 1 and not scores["other"].is_significant
    assert str(comparison).splitlines()[3].endswith("p = 1.0000")


@pytest.mark.parametrize(
    ("systems", "options", "error", "message"),
    [
        ({"a": ["x"]}, {}, ValueError, "systems must have at least 2 entries, the baseline first, got 1."),
        (
            {"a": ["x"], "b": ["x", "y"]},
            {},
            ValueError,
            "systems['b'] has 2 translations and systems['a'] has 1: they must be of the same sentences.",
        ),
        (["x"], {}, TypeError, "systems must be a dictionary of names to translations, got ['x'] (list)."),
        ({"a": ["x"], "b": "x"}, {}, TypeError, "systems['b'] must be a list of strings, got one string: write ['x']."),
        ({"a": ["x"], "b": ["y"]}, {"samples": 0}, ValueError, "samples must be a whole number of at least 1, got 0."),
        (
            {"a": ["x"], "b": ["y"]},
            {"more": ["bleurt"]},
            ValueError,
            "more must be of chrf++, ter, paper_bleu, got 'bleurt'. BLEU and chrF are always there.",
        ),
        (
            {"a": ["x"], "b": ["y"]},
            {"more": "ter"},
            TypeError,
            "more must be a list of strings, got one string: write ['ter'].",
        ),
        (
            {"a": ["x", "y"], "b": ["y", "y"]},
            {},
            ValueError,
            "translations and references must have the same length, at least 1; got 2 and 1.",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(systems, options, error, message):
    with pytest.raises(error) as refused:
        compare(systems, ["x"], **options)
    assert str(refused.value) == message


def test_a_wrong_seed_is_named(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "abc")
    with pytest.raises(ValueError) as refused:
        compare({"a": ["x"], "b": ["y"]}, ["x"])
    assert str(refused.value) == (
        "SACREBLEU_SEED='abc' must be a whole number of at least 0, or none for another one each time."
    )
