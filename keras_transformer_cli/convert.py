"""keras-transformer import: a model of another toolkit becomes a training folder."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.screen import result, say

EXAMPLE = "keras-transformer import opus-mt-en-de --output runs/opus_en_de"


def import_model(
    folder: Annotated[
        str, typer.Argument(help="Folder of a MarianMTModel, or its address: hf://Helsinki-NLP/opus-mt-en-de.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The training folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
):
    """Read a Marian or OPUS-MT model, and write it as a training folder, to translate, fine-tune and export."""
    from keras_transformer import Translator
    from keras_transformer.inputs.paths import check_target
    from keras_transformer.interop import marian

    check_target(output, "folder", "output", overwrite)
    model, tokenizer = marian.load(folder)
    Translator(model, tokenizer).save(output, overwrite)
    say(f"{model.count_params():,} parameters, {tokenizer.vocabulary_size:,} pieces")
    result(str(output))


def add_to(app):
    """Add the command to the application."""
    app.command("import", epilog=f"Example:  {EXAMPLE}")(import_model)
