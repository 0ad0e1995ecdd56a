"""Read the model that a command names: a training folder, several of them, or an export."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.complaints import called

ModelArgument = Annotated[
    str, typer.Argument(help="Training folder, for example runs/en_de, or an address: hf://user/model.")
]
EnsembleOption = Annotated[
    list[str] | None, typer.Option(help="One more training folder: the models translate together.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(help="Policy to compute in: float32, mixed_bfloat16, or int8_from_float32 for 8-bit integers."),
]
BeamOption = Annotated[int, typer.Option(min=1, help="Hypotheses kept for each sentence; 1 is greedy search.")]
PenaltyOption = Annotated[float, typer.Option(help="α of the length penalty.")]
ExtraOption = Annotated[int, typer.Option(help="A translation has at most so many tokens more than its source.")]
ShortlistOption = Annotated[
    Path | None, typer.Option(help="Choose among the pieces of a shortlist: a file of keras-transformer shortlist.")
]
SEARCH = ("beam_size", "length_penalty", "max_extra_length", "shortlist")  # what these options are called in Python
BatchOption = Annotated[int, typer.Option(min=1, help="Sentences decoded at a time.")]


def is_export(path):
    """Whether a path is the folder of a SavedModel."""
    return (Path(path) / "saved_model.pb").is_file()


def search_options(context):
    """The options of the search, as those of a `Translator`: {name: value}."""
    return {name: context.params[name] for name in SEARCH}


def refuse_export(folder):
    """Raise ValueError if a folder is an export."""
    if is_export(folder):
        raise ValueError(f"{folder} is an export. This needs the training folder that it was made from.")


def load(folders, precision="float32", **options):
    """The `Translator` of a training folder, or of several: an ensemble.

    Raises:
        ValueError: a folder is an export; or options of the search are given, and it is a parser's.
    """
    for folder in folders:
        refuse_export(folder)
    from keras_transformer import Translator

    if isinstance(options.get("shortlist"), Path):
        options["shortlist"] = load_shortlist(options["shortlist"])
    alone = len(folders) == 1
    names = {"folder" if alone else f"folder[{place}]": name for place, name in enumerate(arguments(folders))}
    with called(names):
        translator = Translator.load(folders[0] if alone else folders, dtype=precision, **options)
    if "beam_size" in options:
        refuse_parser(folders[0], translator.tokenizer)
    return translator


def refuse_parser(folder, tokenizer):
    """Raise ValueError if a folder's tokenizer is that of a parser."""
    if is_of_trees(tokenizer):
        raise ValueError(
            f"{folder} is a parser, and this would search without its constraint. keras-transformer parse has "
            "commands for it: sentences, score and export."
        )


def is_of_trees(tokenizer):
    """Whether a tokenizer is that of a parser."""
    from keras_transformer.parsing import TreeConstraint

    try:
        TreeConstraint(tokenizer)
    except (TypeError, ValueError):  # it needs brackets as pieces, each with a label that opens and closes
        return False
    return True


def load_shortlist(path):
    """The `Shortlist` of the option --shortlist."""
    from keras_transformer.translation import Shortlist

    with called({"path": "shortlist"}):
        return Shortlist.load(path)


def arguments(folders):
    """What the folders are called on the command line: the first is MODEL, the others are of --ensemble."""
    return ["model", *["ensemble"] * (len(folders) - 1)]


def load_tokenizer(path):
    """The `Tokenizer` or `TokenizerPair` of a tokenizer's file, or of a folder that holds one."""
    from keras_transformer import Tokenizer
    from keras_transformer.inputs.paths import check_source
    from keras_transformer.text.pair import read_tokenizer

    return read_tokenizer(path) if path.is_dir() else Tokenizer.load(check_source(path, argument="tokenizer"))
