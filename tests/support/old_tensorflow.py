"""Checks whether older versions of TensorFlow give the same strings for an export.

    python tests/support/old_tensorflow.py --tensorflow 2.16 --export saved_models/en_de/1 --sentences test.en

makes a virtual environment for each version in a temporary folder, with TensorFlow Text of the same version and nothing
else. Each environment answers the same sentences through `session_process`. The answers are compared with those of the
environment that runs this script. That needs a package index and about 2 GB of temporary space. Without --export, the
script writes and compares tiny exports, one for each kind of tokenizer. It calls the signatures whose only input is
`sentences`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

PROCESS = Path(__file__).with_name("session_process.py")
KINDS = ("bpe", "wordpiece", "unigram")
console = Console()


def make_environment(folder, version):
    """Make a virtual environment with TensorFlow and TensorFlow Text of a minor version. Return its Python."""
    console.print(f"installing TensorFlow {version}")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    requirement = f"tensorflow-text=={version}.*"  # it requires TensorFlow of the same minor version
    subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    return python


def answers(python, export, sentences):
    """Run the export under a Python. Return the version of its TensorFlow, and the outputs by signature."""

    def ask(calls):
        lines = "".join(f"{json.dumps(call)}\n" for call in calls)
        result = subprocess.run(
            [python, PROCESS, export], input=lines, env={"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True
        )
        if result.returncode:
            raise RuntimeError(f"{python} cannot answer with {export}:\n{result.stderr[-2000:]}")
        return [json.loads(line) for line in result.stdout.splitlines()]

    [first] = ask([])
    names = [name for name, described in first["signatures"].items() if list(described["inputs"]) == ["sentences"]]
    _, *outputs = ask([(name, {"sentences": sentences}) for name in names])
    return first["tensorflow"], dict(zip(names, outputs, strict=True))


def values_in(nested):
    """Return the values of nested lists as one list."""
    return [value for element in nested for value in values_in(element)] if isinstance(nested, list) else [nested]


def compare(answered, expected):
    """Return how many strings differ, how many there are, and the largest difference of two scores."""
    differ = total = 0
    largest = 0.0
    for signature, outputs in expected.items():
        for name, value in outputs.items():
            ours, theirs = values_in(value), values_in(answered[signature][name])
            if name == "scores":
                largest = max([largest, *(abs(a - b) for a, b in zip(ours, theirs, strict=True))])
            elif all(isinstance(text, str) for text in ours):
                total += len(ours)
                differ += sum(a != b for a, b in zip(ours, theirs, strict=True))
    return differ, total, largest


def write_tiny(folder):
    """Write tiny exports, one for each kind of tokenizer, and return their paths.

    Another process writes them, so that this one never loads TensorFlow.
    """
    code = (
        f"import shutil, tiny_exports\n"
        f"for kind in {KINDS}: shutil.copytree(tiny_exports.tiny_export(kind).path, {str(folder)!r} + '/' + kind)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    return [folder / kind for kind in KINDS]


def main(
    tensorflow: Annotated[list[str], typer.Option(help="Minor versions, for example 2.16.")],
    export: Annotated[list[Path] | None, typer.Option(help="Versions' folders; tiny exports if none.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="A file of sentences, one a line.")] = None,
    count: Annotated[int, typer.Option(help="How many of its first lines are used.")] = 50,
):
    """Compare, and print a line for each version and export. The exit code is 1 if any string differs."""
    lines = ["3 1 4 1 5", "", "zwölf Ärzte", "👩‍👩‍👧 2", " ", "1 2 3 4 5 6 7"]
    if sentences is not None:
        lines = sentences.read_text(encoding="utf-8").splitlines()[:count]
    same = True
    with tempfile.TemporaryDirectory() as folder:
        exports = export or write_tiny(Path(folder))
        expected = {path: answers(sys.executable, path, lines)[1] for path in exports}
        for version in tensorflow:
            with tempfile.TemporaryDirectory() as environment:
                python = make_environment(Path(environment), version)
                for path in exports:
                    try:
                        full_version, answered = answers(python, path, lines)
                    except RuntimeError as error:
                        console.print(str(error), markup=False)
                        same = False
                        continue
                    differ, total, largest = compare(answered, expected[path])
                    same &= differ == 0
                    console.print(f"TensorFlow {full_version}, {path}: {differ} of {total} strings differ, ", end="")
                    console.print(f"scores by up to {largest:.1e}; signatures {', '.join(answered)}")
    raise typer.Exit(0 if same else 1)


if __name__ == "__main__":
    typer.run(main)
