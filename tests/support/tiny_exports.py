"""Exports of small translators for tests that only read them. A process writes each of them once."""

import atexit
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import tiny

from keras_transformer import Tokenizer, Translator

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7", "zwölf Ärzte", "👩‍👩‍👧 2", "5 " * 20, "\u2028", "2\n7"]


class Export(NamedTuple):
    """The folder of an export, and the translator that wrote it."""

    path: Path
    translator: Translator


def without_checks(patch):
    """Let exports not check themselves in another process, which tests/export tests. `patch` is a `MonkeyPatch`."""
    export = Translator.export
    patch.setattr(Translator, "export", lambda self, path, **options: export(self, path, check=False, **options))


@functools.cache
def _folder(kind):
    folder = tempfile.TemporaryDirectory(prefix=f"export_{kind}_")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def tiny_translator(kind):
    """A translator with one encoder layer and one decoder layer, untrained. `kind` is the tokenizer's model."""
    size = {"unigram": 277, **tiny.VOCABULARY_SIZES}[kind]
    tokenizer = Tokenizer.train(tiny.write_pairs(_folder(kind) / "corpus", tiny.digit_pairs(60)), size, kind)
    keras.utils.set_random_seed(0)
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    return Translator(model, tokenizer, beam_size=2, max_extra_length=4)


@functools.cache
def tiny_export(kind):
    """The `Export` of `tiny_translator(kind)`.

    The export checks itself in a clean process for "unigram" only: other tests have exports of the other kinds checked.
    """
    path = _folder(kind) / kind / "1"
    tiny_translator(kind).export(path, check=kind == "unigram")
    return Export(path, tiny_translator(kind))
