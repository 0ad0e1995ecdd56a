"""Installs the wheel under several versions of Python, and runs the main job and chosen tests with each.

    python tests/support/pythons.py python3.11 python3.12 python3.13

makes a virtual environment for each Python in a temporary folder, and installs the wheel there with what the chosen
tests need. From an empty folder, so that only the wheel can be imported, it runs a short quickstart (all of it with
--full) and the tests. It prints a line for each Python. The exit code is 1 if anything failed. Each environment takes
about 3 GB and is removed afterwards. It needs a package index, and no package beyond Python's own.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORT = ["--num-pairs", "2000", "--epochs", "1"]
# One file or folder for each storey, and every example of a docstring.
CHOSEN = [
    "house/test_docstrings.py",
    "layers/test_attention.py",
    "model/test_model.py",
    "text/test_text.py",
    "data/test_data.py",
    "training/test_checkpoint.py",
    "translation/test_translate.py",
    "export/test_export.py",
    "interop/test_keras_hub.py",
]
NEEDED = ["pytest", "pytest-xdist", "huggingface_hub", "safetensors", "pandas"]


def run(command, folder, log):
    """Run a command in a folder, with its output in a log file. Return whether it succeeded, and the seconds."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.monotonic()
    with open(log, "a", encoding="utf-8") as stream:
        done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, stdout=stream, stderr=stream)
    return done.returncode == 0, round(time.monotonic() - start)


def build_wheel(python, folder, log):
    """Build the wheel from a copy of the packages, so that nothing is written beside them. Return its path."""
    source = folder / "source"
    source.mkdir()
    for path in [
        *ROOT.glob("keras_transformer*"),
        *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")),
    ]:
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    succeeded, _ = run([python, "-m", "pip", "wheel", "--no-deps", "-w", folder, source], folder, log)
    if not succeeded:
        raise RuntimeError(f"no wheel could be built, see {log}")
    return next(folder.glob("*.whl"))


def try_python(python, folder, log, full):
    """Yield (what was done, whether it succeeded, seconds) for one Python; ends after the first failure to install."""
    environment = folder / "environment"
    succeeded, seconds = run([python, "-m", "venv", environment], folder, log)
    python = environment / "bin" / "python"
    if succeeded:
        wheel = build_wheel(python, folder, log)
        install = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            f"{wheel}[examples,parsing,plots,serving,tensorboard]",
            *NEEDED,
        ]
        succeeded, seconds = run(install, folder, log)
    yield "installation", succeeded, seconds
    if not succeeded:
        return
    empty = folder / "empty"
    empty.mkdir()
    outside = "import sys, keras_transformer as k; sys.exit(sys.prefix not in k.__file__)"
    yield "import of the wheel", *run([python, "-c", outside], empty, log)
    yield "quickstart", *run([python, ROOT / "examples" / "quickstart.py", *([] if full else SHORT)], empty, log)
    tests = [ROOT / "tests" / name for name in CHOSEN]
    options = ["-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider", "-q"]
    yield "tests", *run([python, "-m", "pytest", *options, *tests], empty, log)


def version_of(python):
    """The full version that a Python reports."""
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="+", help="names or paths, for example python3.12")
    parser.add_argument("--full", action="store_true", help="run the whole quickstart, about 3 minutes on two cores")
    parser.add_argument("--logs", type=Path, default=Path("runs/pythons"), help="folder of a log file for each Python")
    arguments = parser.parse_args()
    arguments.logs.mkdir(parents=True, exist_ok=True)
    all_succeeded = True
    for python in arguments.pythons:
        version = version_of(python)
        log = (arguments.logs / f"{version}.log").resolve()
        log.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for what, succeeded, seconds in try_python(python, Path(folder), log, arguments.full):
                all_succeeded &= succeeded
                print(
                    f"Python {version}, {what}: {'passed' if succeeded else f'FAILED, see {log}'}, {seconds} s",
                    flush=True,
                )
    sys.exit(not all_succeeded)


if __name__ == "__main__":
    main()
