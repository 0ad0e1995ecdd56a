"""The data of a training: files, tokenizer, datasets."""

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from keras_transformer_cli.complaints import called
from keras_transformer_cli.models import load_tokenizer
from keras_transformer_cli.screen import say
from keras_transformer_cli.settings import DATA_FOLDER

MOST_SEEN = 0.1  # of the validation sentences: short ones may stand in any file
ROWS_MULTIPLE = 8  # of `parallel_corpus`; --accumulate-steps also divides the rows of each batch


@dataclass
class Files:
    """The files that a training reads: lists of source paths and target paths, and the weights of the corpora."""

    source: list = field(default_factory=list)
    target: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    valid: tuple | None = None


@dataclass
class Data:
    """What is trained on and validated on."""

    files: Files
    tokenizer: object
    train: object
    valid: object
    validation: list  # the pairs of `valid`, as strings


def read_files(settings):
    """The files that the settings name, checked.

    Raises:
        ValueError: `also` is not of the form 'SOURCE TARGET [WEIGHT]', a weight is not above 0, or only one validation
            file is given.
        OSError: a file cannot be read.
    """
    from keras_transformer.inputs.numbers import positive

    files = Files([settings["source"]], [settings["target"]], [1.0])
    for entry in settings["also"] or []:
        try:
            words = shlex.split(entry)
            source, target, weight = words if len(words) == 3 else (*words, 1.0)
            weight = float(weight)
        except ValueError as error:
            raise ValueError(f"also={entry!r} must be 'SOURCE TARGET' or 'SOURCE TARGET WEIGHT'.") from error
        files.weights.append(positive(f"the weight of also={entry!r}", weight))
        files.source.append(source)
        files.target.append(target)
    valid = settings["valid_source"], settings["valid_target"]
    if (valid[0] is None) != (valid[1] is None):
        missing = "valid_target" if valid[1] is None else "valid_source"
        raise ValueError(f"{missing} is missing: validation needs both sides. Without both, pairs are split off.")
    files.valid = None if valid[0] is None else valid
    if files.valid and settings["valid_pairs"]:
        raise ValueError("valid_pairs is the number of pairs to split off, and validation files are given. Drop one.")
    for side in ("source", "target"):
        for number, path in enumerate(getattr(files, side)):
            check_readable(path, side if number == 0 else f"also[{number - 1}]")
    for name, path in zip(("valid_source", "valid_target"), files.valid or (), strict=False):
        check_readable(path, name)
    return files


def check_readable(path, name):
    """Refuse what is no file, and a pipe: a training reads its files several times."""
    from keras_transformer.inputs.paths import check_source
    from keras_transformer.readers.pipes import is_pipe

    if is_pipe(check_source(path, argument=name)):
        raise ValueError(f"{name}={str(path)!r} is a pipe, and a training reads its files several times. Give a file.")


def count_pairs(files):
    """The number of sentence pairs, by the source side; a half for a weight of 0.5."""
    from keras_transformer.files import read_lines

    counts = [sum(1 for _ in read_lines(path)) for path in files.source]
    return max(1, round(sum(count * weight for count, weight in zip(counts, files.weights, strict=True))))


def make_data(files, settings, output, exact_size, replicas=1):
    """Split off validation pairs if there are none, train the tokenizer if there is none, and read the corpora.

    Args:
        files: `Files`.
        settings: of the run.
        output: the folder of the run.
        exact_size: whether a new tokenizer must have exactly the pieces that the settings say, and not fewer.
        replicas: how many devices share a batch.
    """
    from keras_transformer import parallel_corpus
    from keras_transformer.data import read_pairs, split_corpus

    source, target, valid = list(files.source), list(files.target), files.valid
    if valid is None:
        folder = output / DATA_FOLDER
        parts = split_corpus(source[0], target[0], folder, settings["valid_pairs"], settings["seed"])
        source[0], target[0] = map(str, parts["train"])
        valid = parts["valid"]
    validation = read_pairs(*valid)
    if files.valid is None:
        say(f"Validation: {len(validation):,} pairs split off {files.source[0]}, in {output / DATA_FOLDER}")
    tell_of_seen(validation, source, files)
    tokenizer = make_tokenizer(source, target, settings, output / DATA_FOLDER, exact_size)
    options = {"tokens_per_batch": settings["tokens_per_batch"], "max_length": settings["max_length"]}
    rows = {"rows_multiple": math.lcm(ROWS_MULTIPLE, parts_of_a_batch(settings, replicas))}
    drawn = {name: settings[name] for name in ("segmentations", "segmentation_alpha", "seed")}
    train = parallel_corpus(source, target, tokenizer, weights=files.weights, **options, **rows, **drawn)
    check_rows(train.report, settings, replicas)
    say(f"Corpus: {train.report}")
    held_out = parallel_corpus(*valid, tokenizer, shuffle=False, **options)
    return Data(files, tokenizer, train, held_out, validation)


def tell_of_seen(validation, source, files):
    """Say how many validation sentences are trained on. Their scores say little about new sentences.

    Args:
        validation: pairs of strings.
        source: the paths of the training sources.
        files: `Files`, which the user gave.
    """
    from keras_transformer.files import read_lines

    sources = {text.strip() for text, _ in validation}
    seen = sources.intersection(line.strip() for path in source for line in read_lines(path))
    if not seen:
        return
    remedy = ""
    if files.valid is None:
        remedy = " Take them out of the files of --also, or give --valid-source and --valid-target."
    elif len(seen) > MOST_SEEN * len(sources):
        remedy = " Take them out of the training files."
    warning = "Warning: " if remedy else ""
    say(f"{warning}{len(seen):,} of {len(sources):,} validation sources are also training sources.{remedy}")


def parts_of_a_batch(settings, replicas):
    """In how many parts of as many rows the batches must be divided: 1, where each replica has one micro-batch."""
    steps = settings["accumulate_steps"]
    return 1 if steps == 1 else steps * replicas


def check_rows(report, settings, replicas=1):
    """Refuse to split batches that have too few rows.

    Raises:
        ValueError: `accumulate_steps` does not divide the rows of a batch, or those of a replica.
    """
    steps = settings["accumulate_steps"]
    if uneven := [shape.rows for shape in report.shapes if shape.rows % parts_of_a_batch(settings, replicas)]:
        devices = f" on {replicas} devices" if replicas > 1 else ""
        raise ValueError(
            f"accumulate_steps={steps}{devices} does not divide {uneven[0]}, the rows of a batch. Batches are small: "
            f"tokens_per_batch={settings['tokens_per_batch']}. Raise it, or split into fewer steps."
        )


def make_tokenizer(source, target, settings, folder, exact_size):
    """The tokenizer that is given, or a new one. It is saved in `folder`."""
    from keras_transformer import TokenizerPair
    from keras_transformer.inputs.tokenizers import save_tokenizer

    if settings["tokenizer"]:
        tokenizer = load_tokenizer(Path(settings["tokenizer"]))
    elif settings["target_vocabulary_size"]:
        sizes = settings["vocabulary_size"], settings["target_vocabulary_size"]
        parts = zip(("vocabulary_size", "target_vocabulary_size"), (source, target), sizes, strict=True)
        tokenizer = TokenizerPair(*(learn(texts, size, settings, exact_size, name) for name, texts, size in parts))
    else:
        tokenizer = learn([*source, *target], settings["vocabulary_size"], settings, exact_size)
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder, overwrite=True)
    return tokenizer


def learn(texts, size, settings, exact_size, option="vocabulary_size"):
    """A new tokenizer, always the same for the same texts. `option` is what its size is called."""
    from keras_transformer import Tokenizer

    kind = settings["subwords"]
    say(f"Learning {size:,} pieces from {', '.join(texts)} …")
    limit = {} if exact_size or kind == "wordpiece" else {"hard_vocab_limit": False}
    with called({"vocabulary_size": option, "model": "subwords"}):
        return Tokenizer.train(texts, size, kind, normalization=settings["normalization"], **limit)
