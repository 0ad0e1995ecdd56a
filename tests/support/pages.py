"""Runs the ```python blocks of a page of the documentation, with small files and tiny settings in place of large ones.

    python tests/support/pages.py PAGE FOLDER

runs a page in a process of its own, in a folder that `prepare` has filled.
"""

import contextlib
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
DOCS, MARIAN = ROOT / "docs", ROOT / "tests" / "support" / "recorded_marian"
# A fenced block, indented or not: its first line may have options after the language.
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

TINY = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 32}
MOST_PIECES, MOST_EPOCHS, MOST_TOKENS = 310, 1, 512

GERMAN = {
    **{
        "A man": "Ein Mann",
        "A woman": "Eine Frau",
        "A child": "Ein Kind",
        "The dog": "Der Hund",
        "My friend": "Mein Freund",
    },
    **{"sees": "sieht", "likes": "mag", "draws": "malt", "looks for": "sucht", "finds": "findet"},
    **{"a horse": "ein Pferd", "the house": "das Haus", "a red ball": "einen roten Ball", "the sea": "das Meer"},
}


def pairs():
    """100 pairs of sentences, English and German."""
    words = list(GERMAN)
    triples = [(subject, verb, noun) for noun in words[10:] for verb in words[5:10] for subject in words[:5]]
    return [(" ".join(triple) + ".", " ".join(GERMAN[word] for word in triple) + ".") for triple in triples]


def blocks(text, language):
    """The code of the fenced blocks of a language; "" stands for blocks without a language."""
    return [textwrap.dedent(code) for _, kind, code in BLOCK.findall(text) if kind == language]


def write_texts(folder):
    """The files that the pages name: corpora of two languages, for training, validation and tests."""
    english, german = zip(*pairs(), strict=True)
    sides = {
        "en": english,
        "de": german,
        "zh": [line[::-1] for line in german],
        "fr": [line.upper() for line in german],
    }
    for language, lines in sides.items():
        for name, part in (("train", lines), ("valid", lines[::25]), ("test", lines[::20]), ("news", lines[::5])):
            (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in part), encoding="utf-8")


def write_trees(folder):
    """The treebanks that the pages name, of the English sentences."""
    trees, labels = [], "NP VP PP ADJP ADVP SBAR QP PRN WHNP".split()
    for number, (english, _) in enumerate(pairs()):
        *words, last = english.removesuffix(".").split()
        words = " ".join(f"(NN {word})" for word in words)
        trees.append(f"( (S (NP-SBJ {words})\n    ({labels[number % len(labels)]} (VBZ {last}))\n    (. .)))\n")
    for name, part in (("train", trees), ("dev", trees[::20])):
        (folder / f"{name}.mrg").write_text("".join(part), encoding="utf-8")


def write_models(folder):
    """The models that the pages name: `runs/en_de`, as a training leaves it, and a Marian model."""
    from keras_transformer import Tokenizer, Transformer, Translator

    tokenizer = Tokenizer.train([folder / "train.en", folder / "train.de"], MOST_PIECES)
    model = Transformer(vocabulary_size=tokenizer.vocabulary_size, dropout=0.0, **TINY)
    Translator(model, tokenizer).save(folder / "runs" / "en_de")
    shutil.copytree(MARIAN, folder / "opus-mt-en-fr")


def prepare(folder, template, without=()):
    """A copy of the template for one page, without some of its entries."""
    shutil.copytree(template, folder)
    for name in without:
        shutil.rmtree(folder / name)


@contextlib.contextmanager
def stand_ins():
    """Large things become small ones: presets, vocabularies, batches, epochs. No process checks an export."""
    from keras_transformer import Tokenizer, Transformer, Translator, data, presets
    from keras_transformer.backend import int8

    train, fit, export, corpus = Tokenizer.train.__func__, Transformer.fit, Translator.export, data.parallel_corpus

    def small_train(cls, files, vocabulary_size=10_000, *arguments, **options):
        return train(cls, files, min(vocabulary_size, MOST_PIECES), *arguments, **options)

    def small_corpus(*arguments, tokens_per_batch=8192, **options):
        small = {"tokens_per_batch": min(tokens_per_batch, MOST_TOKENS), "num_shapes": 1, "rows_multiple": 2}
        return corpus(*arguments, **{**options, **small})

    def short_fit(self, *arguments, epochs=1, **options):
        return fit(self, *arguments, epochs=min(epochs, MOST_EPOCHS), **options)

    def quick_export(self, path, *arguments, **options):
        return export(self, path, *arguments, **{"check": False, **options})

    small = {name: {**preset, **TINY} for name, preset in presets.PRESETS.items()}
    with (
        mock.patch.dict(presets.PRESETS, small),
        mock.patch.object(int8, "SMALLEST", MOST_PIECES),
        mock.patch.object(Tokenizer, "train", classmethod(small_train)),
        mock.patch.object(data, "parallel_corpus", small_corpus),
        mock.patch.object(Transformer, "fit", short_fit),
        mock.patch.object(Translator, "export", quick_export),
    ):
        yield


def run_page(page):
    """Run the blocks of a page in one namespace, from top to bottom, in the current folder.

    Raises:
        RuntimeError: a block failed. The message has the page and the block, and the cause its error.
    """
    defined = {"__name__": "page"}
    for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python"), 1):
        try:
            exec(compile(code, f"{page.name}, block {number}", "exec"), defined)
        except Exception as error:
            raise RuntimeError(f"{page.relative_to(ROOT)}, block {number}: {error}\n{code}") from error
    return defined


if __name__ == "__main__":
    if os.environ.get("KERAS_BACKEND") == "jax":
        import one_context  # noqa: F401
    os.chdir(sys.argv[2])
    with stand_ins():
        run_page(DOCS / sys.argv[1])
