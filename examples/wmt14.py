"""The paper's experiments on WMT 2014: corpora, training, the two test sets, both BLEUs, export.

`wmt14_en_de.py` and `wmt14_en_fr.py` are the programs. The training is that of `keras-transformer train`.
"""

import shlex
import shutil
import tarfile
from pathlib import Path

import keras

from keras_transformer import Translator
from keras_transformer.console import safe_console, show
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.files import written_beside
from keras_transformer.training import write_card
from keras_transformer.training.facts import score_facts
from keras_transformer_cli.app import app
from keras_transformer_cli.evaluating import write_texts

# {language: {name: (address, the two files in the archive)}}: what the task gave to train on.
CORPORA = {
    "de": {
        "europarl": (
            "https://www.statmt.org/europarl/v7/de-en.tgz",
            ("europarl-v7.de-en.en", "europarl-v7.de-en.de"),
        ),
        "commoncrawl": (
            "https://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
            ("commoncrawl.de-en.en", "commoncrawl.de-en.de"),
        ),
        "news-commentary": (
            "https://www.statmt.org/wmt14/training-parallel-nc-v9.tgz",
            ("training/news-commentary-v9.de-en.en", "training/news-commentary-v9.de-en.de"),
        ),
    },
    "fr": {
        "europarl": (
            "https://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",
            ("training/europarl-v7.fr-en.en", "training/europarl-v7.fr-en.fr"),
        ),
        "commoncrawl": (
            "https://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
            ("commoncrawl.fr-en.en", "commoncrawl.fr-en.fr"),
        ),
        "un": (
            "https://www.statmt.org/wmt13/training-parallel-un.tgz",
            ("un/undoc.2000.fr-en.en", "un/undoc.2000.fr-en.fr"),
        ),
        "news-commentary": (
            "https://www.statmt.org/wmt14/training-parallel-nc-v9.tgz",
            ("training/news-commentary-v9.fr-en.en", "training/news-commentary-v9.fr-en.fr"),
        ),
        "giga": (
            "https://www.statmt.org/wmt10/training-giga-fren.tar",
            ("giga-fren.release2.fixed.en.gz", "giga-fren.release2.fixed.fr.gz"),
        ),
    },
}
# {name: the test set of sacreBLEU, which downloads it}
TEST_SETS = {"newstest2013": "wmt13", "newstest2014": "wmt14/full"}


def training_files(language, data=None, corpora=CORPORA):
    """The files to train on: a list of (English path, path of the other language).

    Args:
        language: "de" or "fr".
        data: a folder with the unpacked files. None downloads the archives, each once, into Keras' folder.
        corpora: see `CORPORA`.

    Raises:
        FileNotFoundError: the folder lacks a file. The message has the address of the archive.
    """
    if data is not None:
        names = [(address, names) for address, names in corpora[language].values()]
        return [tuple(in_folder(data, name, address) for name in pair) for address, pair in names]
    return [tuple(unpacked(address, name) for name in pair) for address, pair in corpora[language].values()]


def in_folder(data, name, address):
    """The path of a file in a folder, with or without the folders of its archive."""
    for path in (Path(data) / name, Path(data) / Path(name).name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"no {Path(name).name} in {data}. It is in {address}; without --data it is downloaded.")


def unpacked(address, name):
    """The path of a file of an archive, which is downloaded and unpacked once."""
    folder = "datasets/wmt14"
    archive = Path(keras.utils.get_file(address.rsplit("/", 1)[1], address, cache_subdir=folder))
    path = archive.parent / Path(name).name
    if not path.exists():
        with tarfile.open(archive) as tar, written_beside(path, kind="file") as beside, beside.open("wb") as out:
            shutil.copyfileobj(tar.extractfile(name), out)
    return path


def test_files(language, data=None):
    """{test set: (English path, path of the other language)}.

    Args:
        language: "de" or "fr".
        data: a folder with files such as newstest2013.en. None lets sacreBLEU download the sets.
    """
    if data is not None:
        address = "sacreBLEU's sets wmt13 and wmt14/full"
        return {
            name: tuple(in_folder(data, f"{name}.{side}", address) for side in ("en", language)) for name in TEST_SETS
        }
    from sacrebleu.utils import get_reference_files, get_source_file

    pair = f"en-{language}"
    return {
        name: (get_source_file(known, pair), get_reference_files(known, pair)[0]) for name, known in TEST_SETS.items()
    }


def train(pairs, validation, recipe, output, options):
    """Train as `keras-transformer train` does. A run that was interrupted goes on.

    Args:
        pairs: of `training_files`.
        validation: two paths.
        recipe: the name of a recipe.
        output: the folder of the run.
        options: a list of more options of the command.

    Raises:
        SystemExit: the training was interrupted, or an option is wrong.
    """
    first, *others = pairs
    also = [word for pair in others for word in ("--also", shlex.join(map(str, pair)))]
    valid = ["--valid-source", str(validation[0]), "--valid-target", str(validation[1])]
    command = [*map(str, first), *also, *valid, "--recipe", recipe, "--output", str(output), *options]
    try:
        app(["train", *command], prog_name="keras-transformer")
    except SystemExit as end:  # also of a success
        if end.code:
            raise


def scores_of(translator, tests, language, output):
    """Translate the test sets, and write the translations into the folder of the run.

    Returns:
        {test set: `Scores`, sacreBLEU's own and the paper's BLEU}.
    """
    scores = {}
    for name, paths in tests.items():
        sentences, references = zip(*read_pairs(*paths), strict=True)
        translations = translator(sentences, progress=True)
        write_texts(output / f"{name}.{language}", translations, overwrite=True)
        scores[name] = evaluate(translations, references, more=["paper_bleu"], language=language)
    return scores


def run(language, recipe, output, data, options):
    """The whole experiment. A training or an export that is there already is not repeated.

    Args:
        language: "de" or "fr".
        recipe: the name of a recipe.
        output: the folder of the run.
        data: a folder with the corpora, or None.
        options: a list of more options of `keras-transformer train`.
    """
    console = safe_console()
    tests = test_files(language, data)
    train(training_files(language, data), tests["newstest2013"], recipe, output, options)
    translator = Translator.load(output, dtype="float32")
    scores = scores_of(translator, tests, language, output)
    if not (output / "saved_model" / "1").exists():
        translator.export(output / "saved_model" / "1")
    title = f"WMT 2014 en-{language}, recipe {recipe}"
    facts = {"scores": {name: score_facts(each) for name, each in scores.items()}}
    show(console, write_card(output / "test", title, facts))
