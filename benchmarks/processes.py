"""One measurement, one process: no other contender's threads wait for work beside it. And what becomes of it."""

import json
import os
import statistics
import subprocess
import sys
import time


def in_a_process(script, *arguments, python=sys.executable, **environment):
    """What `script --worker ARGUMENTS` prints last, both as JSON.

    Args:
        python: the interpreter.
        **environment: variables to set besides; None takes one away.

    Raises:
        RuntimeError: the process failed; the message ends with what it wrote.
    """
    usual = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    environment = {name: value for name, value in {**os.environ, **usual, **environment}.items() if value is not None}
    command = [python, script, "--worker", json.dumps(arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{arguments} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def median_seconds(call, seconds, fewest=4, most=40):
    """Median seconds of a call after two that warm up, within about `seconds` of all, and what the last gave."""
    times = []
    while len(times) < fewest or (sum(times) < seconds and len(times) < most):
        start = time.perf_counter()
        found = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]), found


def shares(ops, unit, per):
    """{group: its share of all time, and under `unit` its ops / `per`}, the largest first.

    Args:
        ops: (group, time) of each.
    """
    totals, counts = {}, {}
    for group, taken in ops:
        totals[group] = totals.get(group, 0) + taken
        counts[group] = counts.get(group, 0) + 1
    whole = sum(totals.values())
    ordered = sorted(totals.items(), key=lambda item: -item[1])
    return {group: {"share": total / whole, unit: counts[group] / per} for group, total in ordered}


def write(output, name, results, text):
    """`name`.json with the results and `name`.md with the text, which is printed too."""
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (output / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    print(text)
