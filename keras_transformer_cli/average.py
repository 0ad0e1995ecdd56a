"""keras-transformer average: the mean of several checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.complaints import called
from keras_transformer_cli.config import given_names, refuse_options
from keras_transformer_cli.models import load_tokenizer
from keras_transformer_cli.screen import result

EXAMPLE = "keras-transformer average runs/en_de/averaged/*.npz --output runs/mean"


def average(
    context: typer.Context,
    checkpoints: Annotated[list[Path], typer.Argument(help="Files .keras or .npz that a training wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A new training folder, or a file .keras for the model alone.")
    ],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The tokenizer: its file, or a folder that holds it.", show_default="that of the first checkpoint"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
):
    """Write the mean of the weights of several checkpoints. It often translates better than each of them."""
    from keras_transformer.inputs.paths import check_target
    from keras_transformer.training import average as mean

    check_target(output, "file" if output.suffix == ".keras" else "folder", "output", overwrite)
    with called({f"paths[{place}]": f"checkpoints[{place}]" for place in range(len(checkpoints))}):
        if output.suffix == ".keras":
            refuse_options(given_names(context), ("tokenizer",), "an --output that ends in .keras")
            mean(checkpoints, output, overwrite)
        else:
            write_folder(mean, checkpoints, output, tokenizer, overwrite)
    result(str(output))


def write_folder(mean, checkpoints, output, tokenizer, overwrite):
    """Write a folder with the mean and the tokenizer."""
    from keras_transformer.files import MODEL_FILE, written_beside
    from keras_transformer.inputs.tokenizers import TOKENIZER_FILES, save_tokenizer

    pieces = load_tokenizer(tokenizer) if tokenizer else common_tokenizer(checkpoints)
    with written_beside(output, overwrite, {MODEL_FILE, *TOKENIZER_FILES}) as beside:
        beside.mkdir()
        mean(checkpoints, beside / MODEL_FILE)
        save_tokenizer(pieces, beside)


def common_tokenizer(checkpoints):
    """The tokenizer beside the checkpoints.

    Raises:
        FileNotFoundError: the first one has none.
        ValueError: another one has another: a mean of such models would be none of either.
    """
    first = tokenizer_folder(checkpoints[0])
    tokenizer = load_tokenizer(first)
    for checkpoint in checkpoints[1:]:
        try:
            folder = tokenizer_folder(checkpoint)
        except FileNotFoundError:
            continue
        if folder != first and load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
            raise ValueError(
                f"{checkpoints[0]} and {checkpoint} have different tokenizers, so their models have no mean. Give "
                "checkpoints of one training, or --tokenizer if one file is a mistake."
            )
    return tokenizer


def tokenizer_folder(checkpoint):
    """The folder that holds a checkpoint and a tokenizer: that of the file, or the one above.

    Raises:
        FileNotFoundError: there is no tokenizer.
    """
    from keras_transformer.inputs.tokenizers import tokenizer_files

    for folder in (checkpoint.parent, checkpoint.parent.parent):
        try:
            tokenizer_files(folder)
        except FileNotFoundError:
            continue
        return folder
    raise FileNotFoundError(f"no tokenizer is in the folder of {checkpoint}. Give it with --tokenizer.")


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(average)
