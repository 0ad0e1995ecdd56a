"""The card of a result: what is needed to repeat it."""

import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from keras_transformer.files import written_beside

PACKAGES = ("keras", "tensorflow", "tensorflow-text", "sentencepiece", "sacrebleu", "numpy")


def provenance():
    """What else a result depends on: command, machine and versions, as a dictionary of strings."""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores, "
        f"devices {', '.join(keras.distribution.list_devices())}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {installed(name)}" for name in PACKAGES),
    }


def installed(package):
    """The version of a distribution, or that none of this name is there, as with a nightly TensorFlow."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "under another name"


def result_card(title, facts):
    """What is needed to repeat a result, as Markdown: `provenance` and `facts`.

    Args:
        title: a line.
        facts: a dictionary of names to values; a nested one becomes a nested list.
    """
    lines = [f"# {title}", ""]
    for name, value in {**provenance(), **facts}.items():
        if isinstance(value, dict):
            lines += [f"- {name}:", *(f"    - {key}: {inner}" for key, inner in value.items())]
        else:
            lines.append(f"- {name}: {value}")
    return "\n".join(lines) + "\n"


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
