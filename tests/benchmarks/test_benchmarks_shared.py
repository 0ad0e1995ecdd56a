"""The modules that all benchmarks share: processes, timing and results."""

import json
import sys

import decode_trained
import keras
import numpy as np
import processes
import pytest
import results
import timing
import typer
from typer.testing import CliRunner

SCRIPT = """
import os, sys
from processes import run_script

def measure(numbers, name):
    if name == "fail":
        raise ValueError("no such name")
    print("not the result")
    return {"sum": sum(numbers), "name": os.environ.get(name), "backend": os.environ["KERAS_BACKEND"]}

def main(word: str):
    print(f"main got {word}")

run_script(main, measure)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", processes.__file__.rpartition("/")[0])
    return str(path)


def test_a_measurement_runs_in_a_process(script, monkeypatch):
    monkeypatch.setenv("COLOR", "red")
    assert processes.in_a_process(script, (1, 2), "COLOR") == {"sum": 3, "name": "red", "backend": "tensorflow"}
    result = processes.in_a_process(script, [], "COLOR", COLOR=None, KERAS_BACKEND="jax")
    assert result == {"sum": 0, "name": None, "backend": "jax"}
    with pytest.raises(RuntimeError, match=r"(?s)\(\[\], 'fail'\) failed:.*ValueError: no such name"):
        processes.in_a_process(script, [], "fail")


def test_without_a_measurement_the_command_line_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py", "word"])
    with pytest.raises(SystemExit) as ended:
        processes.run_script(lambda word: print(f"main got {word}"), None)
    assert ended.value.code == 0
    assert capsys.readouterr().out == "main got word\n"


def test_an_option_that_is_missing_is_named(tmp_path):
    app = typer.Typer()
    app.command()(decode_trained.main)
    given = ["--output", str(tmp_path), "--model", str(tmp_path)]
    result = CliRunner().invoke(app, given, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 2 and "Missing option '--source'" in result.stderr


def test_a_round_measures_every_case():
    calls = []

    def measure(case):
        calls.append(case)
        return f"{case}{len(calls)}"

    assert processes.in_rounds("abc", measure, rounds=2) == [["a1", "a4"], ["b2", "b5"], ["c3", "c6"]]
    assert "".join(calls) == "abcabc"
    assert processes.in_rounds("ab", measure, rounds=0) == [[], []]


def test_memory_is_this_process():
    present, peak = processes.memory("VmRSS"), processes.memory("VmHWM")
    assert 50 * processes.MIB < present <= peak
    with pytest.raises(ValueError, match="not enough values"):
        processes.memory("VmNothing")


@pytest.mark.parametrize(
    ("seconds", "timed_calls"),
    [(0.0, 2), (2.5, 3), (4.0, 4), (100.0, 7)],  # the fewest; until the time is over; the most
)
def test_calls_are_repeated(monkeypatch, seconds, timed_calls):
    """Each call takes one second of a clock that only calls move."""
    clock = [10.0]

    def call():
        clock[0] += 1
        return clock[0] - 10

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing, "cpu_seconds", lambda: 2 * clock[0])
    timings = timing.repeat(call, seconds, warm_up=3, fewest=2, most=7)
    assert timings.seconds == [1.0] * timed_calls and timings.cpu_seconds == [2.0] * timed_calls
    assert timings.values == [float(number + 1) for number in range(3 + timed_calls)]


def test_the_median_leaves_out_the_warm_up():
    assert timing.Timings([3.0, 1.0, 8.0], [], []).median == 3.0
    assert timing.medians([{"a": 1, "b": 5}, {"a": 2, "b": 3}, {"a": 7, "b": 4}]) == {"a": 2, "b": 4}
    seconds, value = timing.timed(divmod, 7, 2)
    assert seconds >= 0 and value == (3, 1)


def test_each_epoch_is_timed(monkeypatch):
    ticks = iter([1.0, 3.0, 10.0, 15.0])
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    timer, seconds = timing.epoch_timer()
    monkeypatch.setattr(timing, "time", type("Clock", (), {"perf_counter": lambda: next(ticks)}))
    model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=2, callbacks=[timer], verbose=0)
    assert seconds == [2.0, 5.0]


def test_shares_are_of_the_whole_time():
    ops = [("a", 1.0), ("b", 5.0), ("a", 2.0)]
    assert timing.shares(ops, "ops", 2) == {"b": {"share": 0.625, "ops": 0.5}, "a": {"share": 0.375, "ops": 1.0}}
    assert list(timing.shares(ops, "ops", 2)) == ["b", "a"]


def test_results_are_written_and_printed(tmp_path, capsys):
    text = results.markdown_table(("a", "b"), [(1, "x"), ("", 2.5)])
    assert text == "| a | b |\n|---|---|\n| 1 | x |\n|  | 2.5 |"
    for value in (1, 2):  # an older result is replaced
        results.write_results(tmp_path / "new" / "folder", "speed", {"value": value}, text)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["speed.json", "speed.md"]
    assert json.loads((tmp_path / "new" / "folder" / "speed.json").read_text()) == {"value": 2}
    assert (tmp_path / "new" / "folder" / "speed.md").read_text() == f"{text}\n"
    assert capsys.readouterr().out == f"{text}\n" * 2
