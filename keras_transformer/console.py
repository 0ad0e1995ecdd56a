"""Consoles of rich on which printing never ends the work: not at an old encoding, and not at a closed pipe."""

import errno
import logging
import os
import sys

from rich.console import Console

logger = logging.getLogger("keras_transformer")


class SafeStream:
    """A text stream whose writes never raise.

    A character that the encoding of the stream lacks is written as an escape, for example `\\u2192`. When the stream
    cannot be written at all, for example after `program | head`, a warning says so once, and nothing more is written.

    Args:
        stream: the stream, or None for what `sys.stdout` or `sys.stderr` is at each write.
        stderr: whether None stands for `sys.stderr`.
    """

    def __init__(self, stream=None, stderr=False):
        self.given, self.stderr = stream, stderr
        self.is_broken = False

    @property
    def stream(self):
        stream = self.given
        if stream is None:
            stream = sys.stderr if self.stderr else sys.stdout
        return getattr(stream, "rich_proxied_file", stream)  # a live bar of rich replaces the standard streams

    def write(self, text):
        self._try(self._write, text)
        return len(text)

    def _write(self, text):
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self.stream, "encoding", None) or "ascii"
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self):
        self._try(lambda: self.stream.flush())

    def _try(self, action, *arguments):
        if self.is_broken or self.stream is None:  # a program without a terminal may have no standard streams
            return
        try:
            action(*arguments)
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.is_broken = True
            if getattr(error, "errno", None) == errno.EPIPE:
                self._discard()
            logger.warning("The output can no longer be written (%s). The work goes on without it.", error)

    def _discard(self):
        """Let the rest of the stream's buffer go nowhere. Python would fail to write it when the process ends."""
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
        except (OSError, ValueError, AttributeError):  # a stream without a file
            return

    def __getattr__(self, name):
        if name == "rich_proxied_file":  # rich would write to the result, and not to this stream
            raise AttributeError(name)
        return getattr(self.stream, name)


def safe_console(console=None, *, stderr=False, **options):
    """Return a console on which printing never raises.

    Args:
        console: a `rich.console.Console`, whose stream is replaced by a `SafeStream` of it. None makes a new console.
        stderr: whether a new console prints to the standard error.
        **options: other arguments of a new `Console`.
    """
    if console is None:
        return Console(file=SafeStream(stderr=stderr), **options)
    if not isinstance(console.file, SafeStream):
        console.file = SafeStream(console.file)
    return console


def show(console, text):
    """Print a text of a user as it is: without markup, emoji codes, colors and line breaks of rich.

    Args:
        console: the result of `safe_console`.
        text: str.
    """
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
