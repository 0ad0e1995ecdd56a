"""The facts of a result, each compared with a second way to count or hash it."""

import gzip
import json
import math
import os
import subprocess

import keras
import numpy as np
import pytest
import tiny

from keras_transformer import TransformerSchedule, parallel_corpus
from keras_transformer.data import CorpusReport
from keras_transformer.evaluate import evaluate
from keras_transformer.presets import PRESETS
from keras_transformer.training import HistoryFile, Throughput, read_history, training_facts, write_card
from keras_transformer.training.card import revision
from keras_transformer.training.facts import file_facts, model_facts, run_facts

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2, B.1
REPORT = CorpusReport(
    pairs=111,
    kept=101,
    dropped_empty=3,
    dropped_long=7,
    max_length=64,
    source_tokens=900,
    target_tokens=700,
    source_positions=1000,
    target_positions=1400,
    shapes=(),
    batches=7,
)


def test_files_are_hashed_packed_and_unpacked(tmp_path):
    plain, packed = tmp_path / "a.en", tmp_path / "a.en.gz"
    plain.write_bytes(b"abc")
    packed.write_bytes(gzip.compress(b"abc", mtime=0))
    assert file_facts(plain) == {"bytes": 3, "SHA-256": ABC}
    facts = file_facts(packed)
    assert facts["SHA-256 unpacked"] == ABC != facts["SHA-256"]
    assert facts["bytes"] == packed.stat().st_size


@pytest.mark.parametrize(
    ("preset", "options", "changes"),
    [
        ("quickstart", {}, {}),
        ("quickstart", {"dropout": 0.3, "norm": "pre"}, {"dropout": 0.3, "norm": "pre"}),
        (None, PRESETS["quickstart"], {name: PRESETS["quickstart"][name] for name in PRESETS["quickstart"]}),
    ],
    ids=["as it is", "changed", "without a preset"],
)
def test_a_model_is_its_preset_and_what_was_changed(preset, options, changes):
    model = tiny.Transformer(**{**PRESETS["quickstart"], "vocabulary_size": 31, "dtype": "mixed_bfloat16", **options})
    assert model_facts(model, preset) == {
        "preset": preset or "none",
        "changes": {"vocabulary_size": 31, **changes},
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "precision": "mixed_bfloat16",
    }


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="unknown preset 'small'"):
        model_facts(tiny.make_model(), "small")


COLUMNS = {
    "loss": [3.0, 2.0],
    "val_perplexity": [9.1234567, 11.0],
    "val_bleu": [7.0],
    "seconds": [10.0, 30.0],
    "tokens_per_second": [50.0, 20.0],
}


def test_a_run_is_its_time_its_tokens_and_its_best():
    expected = {
        "epochs": 2,
        "seconds without validation": 40.0,
        "target tokens": 1100,
        "target tokens a second": 27.5,
        "best val_perplexity": 9.12346,
        "best val_bleu": 7.0,
    }
    assert run_facts(COLUMNS) == expected
    rows = [{name: values[epoch] for name, values in COLUMNS.items() if len(values) > epoch} for epoch in range(2)]
    rows[1]["val_bleu"] = None
    assert run_facts(rows) == expected
    assert run_facts({"loss": [1.0]}) == {"epochs": 1}


def test_a_card_is_made_of_a_real_fit(tmp_path):
    files = tiny.write_pairs(tmp_path, [*tiny.digit_pairs(31), ("1", ""), (" ".join("1" * 90), "2")])
    corpus = parallel_corpus(
        *files, tiny.make_tokenizer(tmp_path / "small"), tokens_per_batch=160, max_length=64, num_shapes=1
    )
    schedule = TransformerSchedule.with_peak(3e-3, 16, warmup_steps=60)
    with tiny.two_replicas().scope():
        inner = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)
        model = tiny.compiled(tiny.make_model(), keras.mixed_precision.LossScaleOptimizer(inner, initial_scale=1.0))
    path = tmp_path / "history.jsonl"
    history = model.fit(corpus, epochs=2, verbose=0, shuffle=False, callbacks=[Throughput(), HistoryFile(path)]).history
    scores = evaluate(["a b c d"], ["a b c d"])
    facts = training_facts(model, corpus.report, history, seed=7, files=files, scores={"test": scores})
    assert facts == training_facts(
        model, corpus.report, read_history(path), seed=7, files=files, scores={"test": scores}
    )
    write_card(tmp_path / "card", "A result", facts)
    read = json.loads((tmp_path / "card" / "result.json").read_text("utf-8"))
    assert read["corpus"]["pairs"] == 33 and read["corpus"]["kept"] == 31
    assert read["corpus"]["dropped"] == {"with an empty side": 1, "with a side of more than 64 ids": 1}
    assert read["corpus"]["files"].keys() == {str(path) for path in files}
    training, report = read["training"], corpus.report
    assert training["updates"] == 2 * report.batches and training["replicas"] == 2 and training["micro-batches"] == 1
    assert training["target tokens an update"] == pytest.approx(report.target_tokens / report.batches, abs=0.05)
    assert training["target tokens"] == 2 * report.target_tokens
    assert training["learning rate"] == {
        "class": "TransformerSchedule",
        "d_model": 16,
        "warmup_steps": 60,
        "scale": schedule.get_config()["scale"],
    }
    assert training["optimizer"] == {"class": "Adam", "beta_1": 0.9, "beta_2": 0.98, "epsilon": 1e-9}
    assert read["seed"] == 7 and read["averaged"] == "no"
    assert read["scores"]["test"] == {
        "BLEU": 100.0,
        "BLEU details": scores.bleu_details,
        "BLEU signature": scores.bleu_signature,
        "chrF": 100.0,
        "chrF signature": scores.chrf_signature,
    }
    lines = (tmp_path / "card" / "RESULT.md").read_text("utf-8").splitlines()
    assert {"- seed: 7", "    - dropped:", "        - with an empty side: 1", "    - preset: none"} <= set(lines)


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_program_in_a_checkout_has_a_revision(tmp_path, monkeypatch):
    program, loose = tmp_path / "train.py", tmp_path / "loose.py"
    program.write_text("1\n")
    loose.write_text("2\n")
    monkeypatch.setattr("sys.argv", [str(program)])
    assert revision() == {}
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert revision() == {"revision": head}
    program.write_text("3\n")
    assert revision() == {"revision": f"{head}, with local changes"}
    monkeypatch.setattr("sys.argv", [str(loose)])
    assert revision() == {}
    monkeypatch.setattr("sys.argv", ["-c"])
    assert revision() == {}
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "")
    assert revision() == {}


def test_a_value_that_was_never_a_number_is_no_best():
    for history in ({"loss": [1.0], "val_loss": [math.nan]}, [{"loss": 1.0, "val_loss": None}]):
        assert run_facts(history) == {"epochs": 1}


@pytest.mark.parametrize("history", [{}, [], {"loss": []}])
def test_a_history_without_an_epoch_is_refused(history):
    with pytest.raises(ValueError, match=r"history has no epoch, .* nothing left to do\. Pass read_history's rows"):
        run_facts(history)


def test_rates_of_only_some_epochs_are_refused():
    rows = [
        {"seconds": 10.0, "tokens_per_second": 50.0},
        {"seconds": 30.0, "tokens_per_second": None},
        {"seconds": 1.0},
    ]
    with pytest.raises(
        ValueError, match="history has tokens_per_second in 1 epochs and seconds in 3: the tokens of the run"
    ):
        run_facts(rows)


def test_a_pipe_has_no_facts(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"files has .*/pipe, which is a pipe and can be read only once"):
        file_facts(tmp_path / "pipe")
