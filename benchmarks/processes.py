"""Each measurement runs in its own process, so that threads of other contenders cannot disturb it.

A script ends with `run_script(main, measure)`. Its `main` calls `in_a_process(__file__, ...)`, which runs `measure`
in a new process of the same script.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

MIB = 2**20


def run_script(main, measure):
    """Run the command line of a script, or one measurement if `in_a_process` started this process.

    Args:
        main: the command line, a function for `typer.run`.
        measure: a function that takes the arguments of `in_a_process`. They come through JSON, so tuples become lists.
            Its result must fit into JSON.
    """
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(measure(*json.loads(sys.argv[2]))))
    else:
        typer.run(main)


def in_a_process(script, *arguments, python=sys.executable, **environment):
    """Run the `measure` of a script in a new process and return its result.

    Args:
        script: the path of a file that ends with `run_script`.
        *arguments: the arguments of `measure`; they must fit into JSON.
        python: the interpreter.
        **environment: environment variables to set; None removes a variable.

    Raises:
        RuntimeError: the process failed. The message ends with its last error output.
    """
    defaults = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    variables = {**os.environ, **defaults, **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [python, script, "--worker", json.dumps(arguments)]
    process = subprocess.run(command, env=variables, capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"{arguments} failed:\n{process.stderr[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def in_rounds(cases, measure, rounds=1):
    """Measure every case once in each round, with a progress bar.

    The rounds spread a disturbance of the machine over all cases.

    Args:
        cases: a list.
        measure: a function of one case.
        rounds: how often each case is measured.

    Returns:
        One list for each case, in order: the results of all rounds.
    """
    results = [[] for _ in cases]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(cases) * rounds)
        for _ in range(rounds):
            for case, of_case in zip(cases, results, strict=True):
                of_case.append(measure(case))
                bar.advance(task)
    return results


def memory(field, process="self"):
    """Return the resident memory of a process in bytes, from Linux's /proc.

    Args:
        field: "VmRSS" for the present memory, "VmHWM" for its peak.
        process: a process id; "self" is this process.
    """
    # The peak of `resource.getrusage` is no use: a process inherits it from its parent.
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes) * 1024


def reset_peak():
    """Make the peak of this process's memory, "VmHWM", its present memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
