"""Whether older versions of TensorFlow give the same strings for an export.

    python tests/support/old_tensorflow.py --tensorflow 2.16 --export saved_models/en_de/1 --sentences test.en

makes a virtual environment for each version in a temporary folder, with the TensorFlow Text of the same version and
nothing else, lets each answer the same sentences through `session_process`, and compares with the environment that this
script runs in. It needs a package index and about 2 GB of temporary space. Without --export it writes and compares tiny
exports, one of each kind of tokenizer. Signatures that take `sentences` alone are called.
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
    """The Python of a new virtual environment with TensorFlow and TensorFlow Text of that minor version."""
    console.print(f"installing TensorFlow {version}")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    wanted = f"tensorflow-text=={version}.*"  # asks for the TensorFlow of its own minor version
    subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
    return python


def answers(python, export, sentences):
    """What the export says under that Python: TensorFlow's version, and outputs by signature."""

    def ask(calls):
        lines = "".join(f"{json.dumps(call)}\n" for call in calls)
        result = subprocess.run(
            [python, PROCESS, export], input=lines, env={"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True
        )
        if result.returncode:
            raise RuntimeError(f"{python} cannot answer with {export}:\n{result.stderr[-2000:]}")
        return [json.loads(line) for line in result.stdout.splitlines()]

    [first] = ask([])
    names = [name for name, found in first["signatures"].items() if list(found["inputs"]) == ["sentences"]]
    _, *found = ask([(name, {"sentences": sentences}) for name in names])
    return first["tensorflow"], dict(zip(names, found, strict=True))


def strings_in(value):
    return [text for one in value for text in strings_in(one)] if isinstance(value, list) else [value]


def compare(found, expected):
    """How many strings differ, of how many, and the largest difference between two scores."""
    differ = total = 0
    largest = 0.0
    for signature, outputs in expected.items():
        for name, value in outputs.items():
            ours, theirs = strings_in(value), strings_in(found[signature][name])
            if name == "scores":
                largest = max([largest, *(abs(a - b) for a, b in zip(ours, theirs, strict=True))])
            elif all(isinstance(one, str) for one in ours):
                total += len(ours)
                differ += sum(a != b for a, b in zip(ours, theirs, strict=True))
    return differ, total, largest


def write_tiny(folder):
    """A process of its own, so that this one never loads TensorFlow: the paths of tiny exports by kind."""
    code = (
        f"import shutil, tiny_exports\n"
        f"for kind in {KINDS}: shutil.copytree(tiny_exports.tiny_export(kind).path, {str(folder)!r} + '/' + kind)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    return [folder / kind for kind in KINDS]


def main(
    tensorflow: Annotated[list[str], typer.Option(help="Versions, such as 2.16.")],
    export: Annotated[list[Path] | None, typer.Option(help="Versions' folders; tiny ones are written if none.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="A file of sentences, one a line.")] = None,
    count: Annotated[int, typer.Option(help="How many of its first lines.")] = 50,
):
    """Compare, print a line for each version and export, and leave with 1 if any string differs."""
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
                        full, found = answers(python, path, lines)
                    except RuntimeError as error:
                        console.print(str(error), markup=False)
                        same = False
                        continue
                    differ, total, largest = compare(found, expected[path])
                    same &= differ == 0
                    console.print(f"TensorFlow {full}, {path}: {differ} of {total} strings differ, ", end="")
                    console.print(f"scores by up to {largest:.1e}; signatures {', '.join(found)}")
    raise typer.Exit(0 if same else 1)


if __name__ == "__main__":
    typer.run(main)
