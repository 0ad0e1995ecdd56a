"""A corpus is a file of one sentence a line, or any iterable of sentences: read both in the same way."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_transformer.files import read_lines
from keras_transformer.inputs.kinds import Texts, check_iterable, check_text
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.readers.pipes import is_pipe

Corpora = AnyPath | Texts | Sequence[AnyPath] | Sequence[Texts]

# A string that must be meant as a path, even if there is no such file: no white space, and a "/" or an extension.
_LOOKS_LIKE_A_PATH = re.compile(r"\S*/\S+|\S*[^\s.]\.[A-Za-z]\w{0,9}")
LINE_BREAKS = {"\r": "carriage return", "\n": "line end"}
_SURROGATE = re.compile("[\ud800-\udfff]")


class Corpus(NamedTuple):
    """One corpus that was given.

    Attributes:
        name: what messages call it: the path, or the argument.
        texts: the path of a file, or an iterable of strings, which may be one that can be read only once.
    """

    name: str
    texts: object

    @property
    def is_file(self):
        return isinstance(self.texts, Path)

    @property
    def unit(self):
        """What a message counts."""
        return "lines" if self.is_file else "sentences"

    def place(self, number):
        """Where a text is, for a message: the lines of a file count from 1, and the sentences of a list from 0."""
        return f"{self.name}, line {number + 1}" if self.is_file else f"{self.name}[{number}]"

    def check_texts(self, texts, before, where=""):
        """Refuse the first text that no corpus may have.

        Args:
            texts: a chunk of the corpus.
            before: how many texts came before the chunk.
            where: the files in which a line end has to be written in the place of a carriage return.

        Raises:
            ValueError: a text has a line break inside, or half a surrogate pair. The message names its place.
        """
        for number, text in enumerate(texts, start=before):
            for mark, name in LINE_BREAKS.items():
                if mark in text:
                    end = f", or with a line end{where}" if mark == "\r" and self.is_file else ""
                    self.refuse(number, text, f"a {name} inside the {{unit}}. Replace it with a space{end}.")
            if not text.isascii() and _SURROGATE.search(text):
                self.refuse(number, text, "it has half a surrogate pair, which is not Unicode.")

    def refuse(self, number, text, reason):
        """Raise ValueError for a text, with its place. `reason` may have "{unit}" for what a text is called."""
        unit = self.unit[:-1]
        raise ValueError(f"{self.place(number)}: {reason.format(unit=unit)} The {unit} begins {text[:60]!r}.")

    def read(self):
        """Yield the texts, one at a time.

        Raises:
            TypeError: an item of an iterable is no string. The message names its place.
            ValueError, OSError: as in `read_lines`.
        """
        if self.is_file:
            yield from read_lines(self.texts)
            return
        for number, text in enumerate(self.texts):
            check_text(self.place(number), text)
            yield text


def read_corpora(name, value):
    """The corpora that an argument names: a list of `Corpus`.

    The argument may be:

    - a path, or a list of paths;
    - sentences: a list of strings, a generator, a column of pandas, polars or a dataset of Hugging Face, an array;
    - a list of several corpora, each a path or sentences.

    A list of strings holds paths if its first string is the name of a file, or looks like one (no white space, and a
    "/" or an extension, such as "train.en"). Otherwise it holds sentences.

    Args:
        name: of the argument.
        value: its value.

    Raises:
        TypeError: something else, for example a table instead of a column of it.
        OSError: there is no such file, or a folder.
    """
    if isinstance(value, str | os.PathLike):
        return [Corpus(str(value), check_source(value, argument=name))]
    check_iterable(name, value, "a path, or a list of paths or of sentences")
    if not isinstance(value, list | tuple):
        return [Corpus(name, value)]
    if value and all(isinstance(item, str) for item in value[:1]) and not _is_path(value[0]):
        return [Corpus(name, value)]
    return [_member(f"{name}[{number}]", item) for number, item in enumerate(value)]


def _member(name, item):
    """One corpus of a list of several."""
    if not isinstance(item, str | os.PathLike):
        check_iterable(name, item, "a path, or a list of sentences")
        return Corpus(name, item)
    if not os.path.exists(item):
        raise FileNotFoundError(
            f"{name}={os.fspath(item)!r} does not exist. A list whose first item looks like a path holds paths: "
            "to give sentences that look so, pass iter([...])."
        )
    return Corpus(str(item), check_source(item, argument=name))


def _is_path(text):
    return bool(_LOOKS_LIKE_A_PATH.fullmatch(text)) or (text.strip() != "" and len(text) < 1000 and _exists(text))


def _exists(text):
    return "\0" not in text and os.path.exists(text)


def refuse_shared_pipes(corpora):
    """Raise ValueError if two corpora are the same pipe: a pipe gives each byte to one reader only."""
    pipes = [corpus for corpus in corpora if corpus.is_file and is_pipe(corpus.texts)]
    for number, pipe in enumerate(pipes):
        if any(os.path.samefile(pipe.texts, other.texts) for other in pipes[:number]):
            raise ValueError(f"{pipe.name} is a pipe, and is named twice. Each of its lines can be read only once.")
    iterators = [corpus for corpus in corpora if not corpus.is_file and iter(corpus.texts) is corpus.texts]
    for number, corpus in enumerate(iterators):
        for other in iterators[:number]:
            if corpus.texts is other.texts:
                raise ValueError(f"{corpus.name} and {other.name} are the same iterator, which is read only once.")
