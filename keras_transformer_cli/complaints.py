"""What the user reads when a command fails: one line, in the words of the command line."""

import contextlib
import re

STANDARD_INPUT = "the standard input"  # what messages call it
# What the messages of the library say in Python, and how it is typed here.
SPOKEN = (
    (re.compile(r"^\[Errno -?\d+\] "), ""),
    (re.compile(r"\bpass overwrite=True\b"), "give --overwrite"),
    (re.compile(r"^dtype="), "precision="),
    (re.compile(r"\bGive dtype='(\w+)'"), r"Give --precision \1"),
    (re.compile(r"\bChoose another folder\b"), "Choose another --output"),
)
# The rules of typer's parser, by the kind of its error.
RULES = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}


def is_of_memory(error):
    """Whether an error says that the memory is full: Python's own, or TensorFlow's, which may not be imported."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def in_one_line(error):
    """The message of an error of the library."""
    if is_of_memory(error):
        what = re.search(r"OOM when allocating tensor with shape\S+", str(error))
        return (
            f"the memory is full{f' ({what[0]})' if what else ''}. Take less at a time: a smaller --batch-size, or in "
            "a training a smaller --tokens-per-batch, or --accumulate-steps."
        )
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, spoken in SPOKEN:
        text = pattern.sub(spoken, text)
    return text


@contextlib.contextmanager
def called(names):
    """A block in whose errors arguments of the library have the names of the options that they come from.

    Args:
        names: {argument: option}, for example {"folder[1]": "ensemble"}.

    Raises:
        ValueError: in place of an error that names one of the arguments.
    """
    try:
        yield
    except (OSError, TypeError, ValueError) as error:
        text = str(error)
        for argument, option in names.items():
            text = re.sub(rf"(?<![\w.]){re.escape(argument)}(?==)", option, text)
        if text == str(error):
            raise
        raise ValueError(text) from error


@contextlib.contextmanager
def placed(place, numbers=None):
    """A block in whose errors a sentence is named by its place in the input.

    Args:
        place: a function from the number of a sentence in the input, from 0, to the name of its place.
        numbers: these numbers, for each sentence of the block. None if the block has all sentences.

    Raises:
        ValueError: in place of an error that has the number of a sentence in the block.
    """
    from keras_transformer.inputs.kinds import SentenceError

    try:
        yield
    except SentenceError as error:
        number = error.number if numbers is None else numbers[error.number]
        raise ValueError(f"{place(number)} {error.rule}") from error


def lines_of(name):
    """The places in a file, for `placed`: its lines."""
    return lambda number: f"{name}, line {number + 1},"


def wrong_options(error):
    """The message of options or arguments that typer refuses: the option, its value and the rule, then where to look.

    Args:
        error: a `typer.BadParameter`, or another of typer's usage errors.
    """
    text = " ".join(_wrong_option(error).split())
    command = "keras-transformer" if error.ctx is None else error.ctx.command_path
    return f"{text}{'' if text.endswith(('.', '?')) else '.'} See {command} --help"


def _wrong_option(error):
    parameter = getattr(error, "param", None)
    if not hasattr(error, "param") or not error.message:  # an unknown option, or a missing one
        return error.format_message()
    if parameter is None:
        return error.message
    name = max((*parameter.opts, *parameter.secondary_opts), key=len)
    found = getattr(error.__cause__, "errors", lambda: [])()
    if not found:
        return error.message if error.param_hint else f"{name}: {error.message}"
    first, place = found[0], ""
    source = error.ctx.get_parameter_source(parameter.name) if error.ctx else None
    if source is not None and source.name == "DEFAULT_MAP":
        name, place = parameter.name, " in the configuration"
    if rule := RULES.get(first["type"]):
        return f"{name}={first['input']!r}{place} must be {rule.format(**first.get('ctx', {}))}"
    reason = error.message.removeprefix("Value error, ").removeprefix(repr(first["input"])).lstrip()
    return f"{name}={first['input']!r}{place}{'' if reason.startswith('is ') else ':'} {reason}"
