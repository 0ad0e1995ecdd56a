"""The card of a result: what is needed to repeat it."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from keras_transformer.files import written_beside

PACKAGES = ("keras", "tensorflow", "tensorflow-text", "sentencepiece", "sacrebleu", "numpy")


def provenance():
    """What else a result depends on, as a dictionary of strings: command, machine, versions, the program's revision."""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores, "
        f"devices {', '.join(keras.distribution.list_devices())}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {installed(name)}" for name in PACKAGES),
        **revision(),
    }


def installed(package):
    """The version of a distribution, or that none of this name is there, as with a nightly TensorFlow."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "under another name"


def revision():
    """{"revision": …} of the git checkout that tracks the program; {} where there is none, or no git."""
    program = Path(sys.argv[0])
    if not program.is_file() or shutil.which("git") is None:
        return {}

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=program.resolve().parent, capture_output=True, text=True)

    head, tracked = git("rev-parse", "HEAD"), git("ls-files", "--error-unmatch", program.resolve().name)
    if head.returncode or tracked.returncode:
        return {}
    changed = git("status", "--porcelain", "--untracked-files=no").stdout
    return {"revision": head.stdout.strip() + (", with local changes" if changed else "")}


def result_card(title, facts):
    """What is needed to repeat a result, as Markdown: `provenance` and `facts`.

    Args:
        title: a line.
        facts: a dictionary of names to values; a nested one becomes a nested list. See `training_facts`.
    """
    return "\n".join([f"# {title}", "", *listed({**provenance(), **facts})]) + "\n"


def listed(facts, indent=""):
    """The lines of a Markdown list."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield f"{indent}- {name}:"
            yield from listed(value, f"{indent}    ")
        else:
            yield f"{indent}- {name}: {'none' if value in (None, {}) else value}"


def write_card(folder, title, facts):
    """Write `result_card` as `RESULT.md` and the same as `result.json` into `folder`; return the card.

    Raises:
        TypeError: a fact that JSON cannot hold; nothing is written then.
    """
    card = result_card(title, facts)
    data = json.dumps({"title": title, **provenance(), **facts}, indent=2, ensure_ascii=False) + "\n"
    for name, text in (("RESULT.md", card), ("result.json", data)):
        with written_beside(Path(folder) / name, overwrite=True) as beside:
            beside.write_text(text, encoding="utf-8")
    return card
