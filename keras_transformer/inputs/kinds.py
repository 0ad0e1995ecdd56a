"""Checks of the kind of an argument. Each error is one line that names the argument, the place in it and the rule."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Protocol


class ListOfTexts(Protocol):
    """A list, a tuple or a column of strings, for type checkers. One string is none: it contains only strings."""

    def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, value: object, /) -> Any: ...


Texts = ListOfTexts | Iterator[str]

SHOWN = 60  # characters of a value in a message


class SentenceError(ValueError):
    """Something is wrong with one sentence: `number` is its place in the list, `rule` says what is wrong.

    Args:
        number: from 0.
        rule: what follows the name of the place in a message.
        name: of the place, with "{}" for the number.
    """

    def __init__(self, number, rule, name="sentence {}"):
        super().__init__(f"{name.format(number)} {rule}")
        self.number, self.rule = number, rule


def shown(value):
    """A value for a message, in one line and not too long: `'text' (str)`."""
    text = " ".join(repr(value).split())
    return f"{text[:SHOWN]}{'...' if len(text) > SHOWN else ''} ({type(value).__name__})"


def columns_of(value):
    """The names of the columns, if a value is a table (a DataFrame, an Arrow table, a dataset of Hugging Face)."""
    for attribute in ("column_names", "columns"):  # an Arrow table has data in `columns`
        if isinstance(columns := getattr(value, attribute, None), Iterable):
            return list(columns)
    return None


def check_iterable(name, value, kind="a list of strings"):
    """Raise TypeError if an argument is not a list, or another ordered iterable, of texts.

    Args:
        name: of the argument.
        value: its value.
        kind: what it must be, for the message.
    """
    must = f"{name} must be {kind}"
    if isinstance(value, str):
        raise TypeError(f"{must}, got one string: write [{value[:SHOWN]!r}].")
    if isinstance(value, os.PathLike):
        raise TypeError(f"{must}, got the path {os.fspath(value)!r}. Read its lines first.")
    if isinstance(value, bytes | bytearray | Mapping | Set) or not isinstance(value, Iterable):
        raise TypeError(f"{must}, got {shown(value)}.")
    if (columns := columns_of(value)) is not None:
        names = ", ".join(map(str, columns[:10]))
        raise TypeError(f"{must}, got a table ({type(value).__name__}) with the columns {names}. Give one column.")
    if getattr(value, "shape", None) == ():  # an array or tensor without an axis
        raise TypeError(f"{must}, got {shown(value)} without an axis.")


def check_text(name, value):
    """Raise TypeError if a value is not a string."""
    if not isinstance(value, str):
        hint = " Decode it first." if isinstance(value, bytes) else ""
        if hasattr(value, "numpy"):  # a tensor of TensorFlow
            hint = " Decode it first: text.numpy().decode()."
        raise TypeError(f"{name} must be a string, got {shown(value)}.{hint}")


def read_texts(name, texts, kind="a list of strings"):
    """The list of strings that an argument is. Any ordered iterable of strings will do; it is read once.

    Args:
        name: of the argument.
        texts: its value.
        kind: what it must be, for the message.

    Raises:
        TypeError: something else, or an item that is no string. The message names the argument and the place, from 0.
    """
    check_iterable(name, texts, kind)
    texts = list(texts)
    for number, text in enumerate(texts):
        check_text(f"{name}[{number}]", text)
    return texts


def refuse_paths(name, texts):
    """Raise ValueError if all texts are the names of files: whoever gives these means their lines."""
    if are_paths(texts):
        raise ValueError(f"{name}[0]={texts[0]!r} is the name of a file. Give the file's lines, a list of strings.")


class FileLines(list):
    """Lines that were read from a file. They are texts, even if each of them is the name of a file."""


def read_sentences(name, texts):
    """`read_texts` that refuses the names of files, except in `FileLines`."""
    sentences = read_texts(name, texts)
    if not isinstance(texts, FileLines):
        refuse_paths(name, sentences)
    return sentences


def are_paths(texts):
    """Whether all texts are the names of files.

    A word that happens to be the name of a file, without an extension or a folder, does not count as one.
    """
    return bool(texts) and all(re.search(r"[./]", text) and _is_file(text) for text in texts)


def _is_file(text):
    return len(text) < 1000 and "\0" not in text and os.path.isfile(text)


def check_function(name, value):
    """Raise TypeError if a value cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, for example a Translator, got {shown(value)}.")
