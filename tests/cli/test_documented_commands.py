"""The commands in the documents exist and have the options that they are shown with."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from keras_transformer_cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text):
    """The command lines of keras-transformer in the code blocks of a document."""
    blocks = re.findall(r"^```(?:console|bash|)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        for part in re.split(r"[|>]|&&", line.removeprefix("$ ")):
            if part.strip().startswith("keras-transformer "):
                yield part.strip()


def problem(line):
    """What is wrong with a command line, or None."""
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if getattr(command, "commands", None) and words and not words[0].startswith("-"):
        return f"no command {words[0]!r}"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--verbose"}
    wrong = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {wrong[0]}" if wrong else None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_have_the_options_that_are_shown(path):
    lines = list(commands(path.read_text(encoding="utf-8")))
    assert [(line, problem(line)) for line in lines if problem(line)] == []


def test_readme_shows_the_five_commands():
    shown = [line.split()[1] for line in commands((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert shown == ["train", "translate", "evaluate", "export"]  # the fifth starts the server


def test_what_does_not_exist_is_found():
    assert problem("keras-transformer train a b --outputs c") == "no option --outputs"
    assert problem("keras-transformer trian a b") == "no command 'trian'"
    assert problem("keras-transformer tokenizer show a 'b c'") is None
    assert list(commands("```console\n$ cat x | keras-transformer translate y > z\n```\nkeras-transformer no\n")) == [
        "keras-transformer translate y"
    ]
