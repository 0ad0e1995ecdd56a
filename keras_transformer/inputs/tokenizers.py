"""A model's tokenizer: one for both sides, or a pair of one for the source and one for the target, and its files."""

import os
from pathlib import Path
from typing import Any, Protocol

from keras_transformer.inputs.kinds import shown


class AnyTokenizer(Protocol):
    """What every room may ask of a `Tokenizer`, of a `TokenizerPair` or of another tokenizer, for type checkers."""

    def tokenize(self, strings: Any, side: str = ...) -> Any: ...


TOKENIZER_FILE = "tokenizer.model"
PAIR_FILES = {"source": "source_tokenizer.model", "target": "target_tokenizer.model"}  # in its place, of a pair
TOKENIZER_FILES = (TOKENIZER_FILE, *PAIR_FILES.values())  # all names
# The sides of a pair of texts, and the argument of a model that is the number of pieces of a side.
SIZE_ARGUMENTS = {"source": "vocabulary_size", "target": "target_vocabulary_size"}
SIDES = tuple(SIZE_ARGUMENTS)
NOT_TOGETHER = "they were not trained together."


def side_of(tokenizer, side):
    """The tokenizer of one vocabulary that knows the pieces of a side, "source" or "target".

    A `TokenizerPair` has one for each side. Any other tokenizer has a `vocabulary_size` and knows both.
    """
    return tokenizer if hasattr(tokenizer, "vocabulary_size") else getattr(tokenizer, side, tokenizer)


def is_pair(tokenizer):
    """Whether a tokenizer is a pair of one for each side."""
    return any(side_of(tokenizer, side) is not tokenizer for side in SIDES)


def vocabulary_sizes(tokenizer):
    """How many pieces a tokenizer has for each side: {"source": int, "target": int}."""
    return {side: side_of(tokenizer, side).vocabulary_size for side in SIDES}


def has_one_vocabulary(tokenizer):
    """Whether an id is the same piece on both sides: not in a pair of different tokenizers."""
    source, target = (side_of(tokenizer, side) for side in SIDES)
    return source is target or source.fingerprint == target.fingerprint


def check_tokenizer(tokenizer, order, needs=("vocabulary_size", "tokenize")):
    """Raise TypeError if a value is no tokenizer.

    Args:
        tokenizer: the value of the argument `tokenizer`.
        order: the call in its right order, for the message.
        needs: the attributes that a tokenizer of one vocabulary must have.
    """
    parts = [side_of(tokenizer, side) for side in SIDES]
    if all(hasattr(part, name) for part in parts for name in needs) and not isinstance(tokenizer, type):
        return
    hint = ""
    if isinstance(tokenizer, str | os.PathLike):
        hint = " Read a file with Tokenizer.load(path)."
    elif isinstance(tokenizer, list | tuple | dict):
        hint = " Two tokenizers are TokenizerPair(source, target)."
    raise TypeError(f"tokenizer must be a Tokenizer, got {shown(tokenizer)}.{hint} The order is {order}.")


def check_sizes(model, tokenizer, reason=NOT_TOGETHER):
    """Raise ValueError if a tokenizer cannot be that of a model, in one line.

    Args:
        model: a `Transformer`. A model of another class, without `vocabulary_size`, may have any tokenizer.
        tokenizer: a `Tokenizer` or a `TokenizerPair`.
        reason: what follows from it, a sentence for the message.
    """
    ours = vocabulary_sizes(tokenizer)
    theirs = {side: getattr(model, argument, ours[side]) for side, argument in SIZE_ARGUMENTS.items()}
    for side, argument in SIZE_ARGUMENTS.items():
        if ours[side] != theirs[side]:
            kind, hint = f"{side} pieces" if is_pair(tokenizer) else "pieces", ""
            if ours["source"] == theirs["target"] and ours["target"] == theirs["source"]:
                hint = " Source and target seem to be exchanged."
            elif not is_pair(tokenizer) and theirs["source"] != theirs["target"]:
                hint = " The model has two vocabularies: give TokenizerPair(source, target)."
            if not hint and reason == NOT_TOGETHER:
                hint = " Take the tokenizer of the folder where the model was trained."
            raise ValueError(
                f"the tokenizer has {ours[side]} {kind}, the model's {argument} is {theirs[side]}: {reason}{hint}"
            )
    if getattr(model, "has_one_vocabulary", False) and not has_one_vocabulary(tokenizer):
        raise ValueError(
            "the TokenizerPair has two vocabularies, and the model has tie_embeddings='all', one matrix for the pieces "
            f"of both: {reason} Make the model with tie_embeddings='target' or 'none'."
        )


def save_tokenizer(tokenizer, folder, overwrite=False):
    """Write the file of a `Tokenizer`, or the two files of a `TokenizerPair`, into a folder.

    Raises:
        FileExistsError: the folder holds a file of a tokenizer and `overwrite` is False.
    """
    folder = Path(folder)
    files = {TOKENIZER_FILE: tokenizer}
    if is_pair(tokenizer):
        files = {name: side_of(tokenizer, side) for side, name in PAIR_FILES.items()}
    there = [name for name in TOKENIZER_FILES if (folder / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{folder / there[0]} exists already. Choose another folder, or pass overwrite=True to replace it."
        )
    for name, part in files.items():
        part.save(folder / name, overwrite=overwrite)
    for name in there:
        if name not in files:
            (folder / name).unlink()


def tokenizer_files(folder):
    """The files of the tokenizer that a folder holds: one path, or two of a pair, the source's first.

    Raises:
        FileNotFoundError: there is none, or only one of a pair.
        ValueError: there are a tokenizer and a pair, or a part of a pair.
    """
    one, pair = Path(folder) / TOKENIZER_FILE, [Path(folder) / name for name in PAIR_FILES.values()]
    there = [path for path in (one, *pair) if path.exists()]
    if there in ([one], pair):
        return there
    if one in there:
        raise ValueError(
            f"{folder} holds {one.name} and {there[1].name}, of two different runs. Remove what does not belong to the "
            "model."
        )
    if there:
        [missing] = [path for path in pair if path not in there]
        raise FileNotFoundError(f"{missing} does not exist: {there[0].name} is half of a TokenizerPair.")
    raise FileNotFoundError(f"{one} does not exist: {_why_it_is_needed(one.parent)}")


def _why_it_is_needed(folder):
    """What a tokenizer's file that is not there is missing for, and what to do."""
    if (folder / "model.keras").exists():
        return "the tokenizer of model.keras is missing. Copy it from the folder where this model was trained."
    names = " and ".join(PAIR_FILES.values())
    return f"the folder holds no tokenizer, neither {TOKENIZER_FILE} nor {names}. Give the folder of a training."
