"""Printing never ends the work: whatever the encoding of the terminal, and whether or not anybody reads."""

import io
import subprocess
import sys

import pytest
import tiny
from rich.console import Console

from keras_transformer.console import SafeStream, safe_console, show

TEXT = "“Straße” → 日本 [/b] \udc80"


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding, newline="")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "latin-1"])
def test_a_character_that_the_encoding_lacks_becomes_an_escape(encoding):
    file = stream(encoding)
    show(safe_console(Console(file=file, width=20)), TEXT)
    assert file.buffer.getvalue().decode(encoding) == TEXT.encode(encoding, "backslashreplace").decode(encoding) + "\n"


class Full(io.StringIO):
    """A stream that takes ten characters."""

    def write(self, text):
        if self.tell() + len(text) > 10:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_stream_that_fails_is_given_up_with_one_warning(caplog):
    console = safe_console(Console(file=Full()))
    for text in ("one", "too long for it", "two"):
        show(console, text)
    assert console.file.getvalue() == "one\n"
    [message] = caplog.messages
    assert message == (
        "The output can no longer be written ([Errno 28] No space left on device). The work goes on without it."
    )


def test_a_closed_stream_and_a_missing_one_are_no_error(monkeypatch, caplog):
    file = stream("utf-8")
    console = safe_console(Console(file=file))
    file.close()
    show(console, "lost")
    assert len(caplog.messages) == 1
    monkeypatch.setattr(sys, "stdout", None)  # a program without a terminal
    show(safe_console(), "lost")


def test_a_console_is_wrapped_once_and_follows_the_standard_output(capsys):
    console = safe_console()
    assert safe_console(console) is console and isinstance(console.file, SafeStream)
    assert not isinstance(console.file.stream, SafeStream)
    show(console, "[bold]as it is[/bold] :smile:")
    show(safe_console(stderr=True), "an error")
    assert capsys.readouterr() == ("[bold]as it is[/bold] :smile:\n", "an error\n")


PROGRAM = """
import logging, sys
from keras_transformer.console import safe_console, show
from rich.progress import Progress, TextColumn
console = safe_console(force_terminal=True, width=12)
for _ in range(3):
    show(console, "x" * 100_000 + " → 日本")
with Progress(TextColumn("a long text → that is cut off"), console=console) as bar:
    bar.add_task("")
print("alive", file=sys.stderr)
"""


def test_a_reader_that_has_gone_and_a_narrow_terminal_without_unicode_do_not_end_a_program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = f"{sys.executable} -X utf8=0 {tmp_path / 'program.py'} | head -c 1"
    environment = {"PYTHONPATH": tiny.PYTHONPATH, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    script = f"set -o pipefail; {command}"
    run = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("The output can no longer be written ([Errno 32] Broken pipe)") == 1
    assert run.stderr.splitlines()[-1] == "alive" and "Traceback" not in run.stderr
