"""What the commands print: results on the standard output, everything else on the standard error."""

import contextlib
import shlex
import sys


def say(text):
    """Print a line for the user on the standard error."""
    from keras_transformer.console import show

    show(error_console(), text)


def error_console():
    """A console of rich on the standard error, on which printing never fails."""
    from keras_transformer.console import safe_console

    return safe_console(stderr=True)


def result(text):
    """Print a result on the standard output."""
    sys.stdout.write(f"{text}\n")


def command_line():
    """What the user typed, to type it again."""
    return shlex.join(["keras-transformer", *sys.argv[1:]])


@contextlib.contextmanager
def resumable():
    """In the block, Ctrl-C says what to type to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"Interrupted. To go on, type the same command again:\n    {command_line()}", file=sys.stderr)
        raise
