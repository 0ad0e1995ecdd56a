"""Sentences a second of bulk translation with one and with two local workers, and what is lost when one is killed.

    python benchmarks/bulk.py --export saved_models/en_de/1 --source test.en --output benchmarks/results/bulk

runs `examples/bulk/bulk_translate.py` on --copies of a file in processes of Beam's local runner. The seconds count from
the start of the program to its end, so each run also loads the export. Then it starts two workers again, and kills one
by SIGKILL after the first parts are there. Beam's local runner does not notice this, so it ends the run and starts the
same command again. The output must be that of the run without a break, byte for byte. It needs the extra `bulk`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from results import markdown_table, write_results

PROGRAM = Path(__file__).parents[1] / "examples" / "bulk" / "bulk_translate.py"
WORKER = b"sdk_worker_main"  # in the command line of Beam's worker processes


def start(export, source, output, workers, rows_per_shard):
    """Start the program in a process group of its own."""
    options = {"--export": export, "--input": source, "--output": output, "--rows-per-shard": rows_per_shard}
    options["--direct_num_workers"] = workers
    command = [sys.executable, PROGRAM, *(part for pair in options.items() for part in pair)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(list(map(str, command)), env=environment, start_new_session=True, **streams)


def finished(run):
    """The last line of a run that must succeed."""
    printed, _ = run.communicate()
    if run.returncode:
        raise RuntimeError(f"the run failed with exit code {run.returncode}.")
    return printed.strip().splitlines()[-1]


def translations(output):
    """The bytes of all parts, in order."""
    return b"".join(path.read_bytes() for path in sorted(Path(output).glob("part-*")))


def workers_of(group):
    """The ids of the worker processes in a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group and WORKER in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (ProcessLookupError, FileNotFoundError, PermissionError):  # it has ended
            continue
    return sorted(found)


def kill_one(run, output, limit):
    """Kill one worker after the first part is there, and end the run if it has not ended `limit` seconds later.

    Returns:
        How many parts there are then, and whether the run ended by itself.
    """
    while not list(Path(output).glob("part-*")):
        if run.poll() is not None:
            raise RuntimeError("the run ended before a worker could be killed: give more --copies.")
        time.sleep(0.1)
    os.kill(workers_of(run.pid)[-1], signal.SIGKILL)
    try:
        run.wait(limit)
        alone = True
    except subprocess.TimeoutExpired:
        alone = False
    if workers_of(run.pid) or not alone:
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    return len(list(Path(output).glob("part-*"))), alone


def main(
    export: Annotated[Path, typer.Option(help="Folder of one version of an export.")],
    source: Annotated[Path, typer.Option(help="Sentences, one a line.")],
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("benchmarks/results/bulk"),
    copies: Annotated[int, typer.Option(help="How many times the file is translated.")] = 10,
    rows_per_shard: Annotated[int, typer.Option(help="Rows of a shard.")] = 200,
    limit: Annotated[int, typer.Option(help="Seconds that a run with a killed worker gets.")] = 60,
):
    """Measure, kill, compare; write a table and a JSON file."""
    rows, results = [], {}
    with tempfile.TemporaryDirectory() as folder:
        corpus, folder = Path(folder) / "corpus.txt", Path(folder)
        corpus.write_bytes(source.read_bytes() * copies)
        count = corpus.read_bytes().count(b"\n")
        for workers in (1, 2):
            begun = time.perf_counter()
            finished(start(export, corpus, folder / f"out{workers}", workers, rows_per_shard))
            seconds = time.perf_counter() - begun
            results[f"workers_{workers}"] = {"seconds": seconds, "sentences_a_second": count / seconds}
            rows.append([workers, f"{seconds:.1f}", f"{count / seconds:.1f}"])
        run = start(export, corpus, folder / "killed", 2, rows_per_shard)
        parts, alone = kill_one(run, folder / "killed", limit)
        line = finished(start(export, corpus, folder / "killed", 2, rows_per_shard))
        same = translations(folder / "killed") == translations(folder / "out1") == translations(folder / "out2")
        shutil.rmtree(folder / "killed")
    results["killed"] = {"parts_before": parts, "ended_alone": alone, "second_run": line, "same_bytes": same}
    table = markdown_table(["workers", "seconds", "sentences a second"], rows)
    table += f"\n\nAfter a kill: {parts} parts were done, then {line}. The same bytes: {same}."
    write_results(output, "bulk", {"sentences": count, "copies": copies, **results}, table)
    raise typer.Exit(0 if same else 1)


if __name__ == "__main__":
    typer.run(main)
