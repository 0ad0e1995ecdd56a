"""Write the card of a result: the facts that are needed to repeat it."""

import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

from keras_transformer.files import json_text, written_beside
from keras_transformer.inputs.paths import AnyPath, check_target

PACKAGES = ("keras", "tensorflow", "tensorflow-text", "sentencepiece", "sacrebleu", "numpy")


def provenance() -> dict[str, Any]:
    """Return the command, machine, versions and program's revision of a result, as a dictionary of strings."""
    return {
        "command": command(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores, "
        f"devices {', '.join(keras.distribution.list_devices())}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {installed_version(name)}" for name in PACKAGES),
        **revision(),
    }


def command():
    """Return what was typed to start this program: a script, or a command that pip installed."""
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" or not program.is_file()  # pip writes commands without an extension
    return shlex.join(["python", *sys.argv] if is_script else [program.name, *sys.argv[1:]])


def installed_version(package):
    """Return the version of a package, or a text if none has this name: a nightly TensorFlow has another one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "under another name"


def revision():
    """Return {"revision": …} of the git checkout that tracks the program; {} without a checkout or without git."""
    program = Path(sys.argv[0])
    if not program.is_file() or shutil.which("git") is None:
        return {}

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=program.resolve().parent, capture_output=True, text=True)

    head, tracked = git("rev-parse", "HEAD"), git("ls-files", "--error-unmatch", program.resolve().name)
    if head.returncode or tracked.returncode:
        return {}
    changes = git("status", "--porcelain", "--untracked-files=no").stdout
    return {"revision": head.stdout.strip() + (", with local changes" if changes else "")}


def result_card(title: str, facts: Mapping[str, Any]) -> str:
    """Return the card of a result as Markdown: `provenance` and `facts`.

    Args:
        title: one line of text.
        facts: a dictionary of names to values. A nested dictionary becomes a nested list. See `training_facts`.
    """
    return "\n".join([f"# {title}", "", *_markdown_list({**provenance(), **facts})]) + "\n"


def _markdown_list(facts, indent=""):
    """Yield the lines of a Markdown list."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield f"{indent}- {name}:"
            yield from _markdown_list(value, f"{indent}    ")
        else:
            yield f"{indent}- {name}: {'none' if value in (None, {}) else value}"


def write_card(folder: AnyPath, title: str, facts: Mapping[str, Any]) -> None:
    """Write a card as `RESULT.md`, and the same facts as `result.json`. Older files of these names are replaced.

    Example:
        ```python
        from keras_transformer.training import write_card

        card = write_card("run", "A result", {"seed": 1, "scores": {"BLEU": 38.5}})
        print(card)
        ```

    Args:
        folder: the folder of the two files.
        title, facts: see `result_card`.

    Returns:
        The card as Markdown.

    Raises:
        TypeError: JSON cannot hold a fact. Nothing is written then.
        OSError: `folder` is a file, or cannot be written in, or the disk is full. Older files are intact.
    """
    card = result_card(title, facts)
    data = json_text({"title": title, **provenance(), **facts}, indent=2, ensure_ascii=False) + "\n"
    folder = check_target(folder, "folder", "folder", inside=True)
    with contextlib.ExitStack() as both:  # both are written before one is replaced
        for name, text in (("RESULT.md", card), ("result.json", data)):
            beside = both.enter_context(written_beside(folder / name, overwrite=True, kind="file"))
            # An argument of the command that is no Unicode, for example the name of a file, is written as an escape.
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return card
