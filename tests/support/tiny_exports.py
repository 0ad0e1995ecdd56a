"""Exports of small translators for tests that only read them. A process writes each of them once."""

import atexit
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import tiny

from keras_transformer import Tokenizer, Translator

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7", "zwölf Ärzte", "👩‍👩‍👧 2", "5 " * 20, "\u2028", "2\n7"]


class Export(NamedTuple):
    """The folder of an export, and the translator that wrote it."""

    path: Path
    translator: Translator


@functools.cache
def tiny_export(kind):
    """The `Export` of a model with one encoder layer and one decoder layer. `kind` is the tokenizer's model.

    The export checks itself in a clean process for "unigram" only: other tests have exports of the other kinds checked.
    """
    folder = tempfile.TemporaryDirectory(prefix=f"export_{kind}_")
    atexit.register(folder.cleanup)
    path = Path(folder.name)
    size = {"unigram": 277, **tiny.VOCABULARY_SIZES}[kind]
    tokenizer = Tokenizer.train(tiny.write_pairs(path / "corpus", tiny.digit_pairs(60)), size, kind)
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    translator = Translator(model, tokenizer, beam_size=2, max_extra_length=4)
    translator.export(path / kind / "1", check=kind == "unigram")
    return Export(path / kind / "1", translator)
