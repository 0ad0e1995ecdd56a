"""Start the command: a quiet start, one line for each error, and exit codes that scripts can trust."""

import contextlib
import gc
import logging
import os
import sys
import traceback

from keras_transformer_cli.quiet import quiet_startup

# Errors that a user can mend. Their message is enough.
USER_ERRORS = (OSError, ValueError, TypeError, RuntimeError, ArithmeticError, ImportError)


def main():
    """Run the command of this process' arguments, and end the process.

    Exit codes: 0 is success, 1 an error, 2 wrong options, and 130 an interruption by Ctrl-C.
    """
    verbose = "--verbose" in sys.argv[1:]
    gc.set_threshold(10_000, 10, 10)  # a tenth of the start goes into searches for garbage
    try:
        if not verbose and not _only_asks(sys.argv[1:]):
            quiet_startup()
        _log_to_stderr(verbose)
        code = _run([argument for argument in sys.argv[1:] if argument != "--verbose"], verbose)
    except KeyboardInterrupt:
        code = 130
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    if "tensorflow" in sys.modules:  # the end of its threads takes time, and has nothing left to do
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def _only_asks(arguments):
    """Whether the command only prints its help or completes a word: it needs no second process."""
    return not arguments or bool({"-h", "--help", "--version"} & set(arguments)) or "_TYPER_COMPLETE_ARGS" in os.environ


def _run(arguments, verbose):
    """The exit code of the command."""
    import typer

    from keras_transformer_cli.app import app
    from keras_transformer_cli.complaints import in_one_line, is_of_memory, wrong_options

    wrong_usage = typer.BadParameter.__base__  # typer does not export it
    try:
        code = app(arguments, prog_name="keras-transformer", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    except wrong_usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            print(f"Error: {wrong_options(error)}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if not isinstance(error, USER_ERRORS) and not is_of_memory(error):
            raise
        if verbose:
            traceback.print_exc()
        print(f"Error: {in_one_line(error)}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else int(code is not None)


class _Lines(logging.Handler):
    """Prints the log on the standard error. Each warning says that it is one."""

    def emit(self, record):
        from keras_transformer_cli.screen import say

        text = record.getMessage()
        say(text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}")


def _log_to_stderr(verbose):
    logger = logging.getLogger("keras_transformer")
    logger.addHandler(_Lines())
    logger.propagate = False
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of retracing, which each shape needs once
