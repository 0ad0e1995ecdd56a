"""keras-transformer export: a model as a service, or for another toolkit."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.choices import Format, Storage
from keras_transformer_cli.complaints import called
from keras_transformer_cli.config import ConfigOption, SetOption, given_names, refuse_options
from keras_transformer_cli.models import (
    SEARCH,
    BeamOption,
    EnsembleOption,
    ExtraOption,
    ModelArgument,
    PenaltyOption,
    PrecisionOption,
    ShortlistOption,
    load,
    search_options,
)
from keras_transformer_cli.screen import result, say

EXAMPLE = "keras-transformer export runs/en_de saved_models/en_de/1 --serving"
OF_SAVED_MODELS = ("ensemble", "storage", "max_source_length", "serving", "check")


def export(
    context: typer.Context,
    model: ModelArgument,
    output: Annotated[Path, typer.Argument(help="Folder to write. A server wants NAME/NUMBER.")],
    to: Annotated[
        Format, typer.Option(help="A SavedModel, or a folder for CTranslate2 or Marian.")
    ] = Format.saved_model,
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 4,
    length_penalty: PenaltyOption = 0.6,
    max_extra_length: ExtraOption = 50,
    shortlist: ShortlistOption = None,
    precision: PrecisionOption = "float32",
    storage: Annotated[Storage, typer.Option(help="How a SavedModel stores the weights.")] = Storage.float32,
    max_source_length: Annotated[int, typer.Option(min=2, help="The most tokens of a sentence.")] = 256,
    serving: Annotated[
        bool, typer.Option("--serving", help="Also write what a TensorFlow Serving starts from, in the folders beside.")
    ] = False,
    quantization: Annotated[
        str | None, typer.Option(help="Of a folder for CTranslate2, for example int8.", show_default="float32")
    ] = None,
    check: Annotated[bool, typer.Option(help="Run a SavedModel in a process without this package.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Write a model as a SavedModel that takes strings and gives strings, or for another toolkit."""
    from keras_transformer.inputs.paths import check_target

    check_target(output, "folder", "output", overwrite)
    folders, given = [model, *(ensemble or [])], given_names(context)
    if to is not Format.saved_model:
        others = () if to is Format.ctranslate2 else ("quantization",)
        refuse_options(given, (*OF_SAVED_MODELS, *SEARCH, *others), f"--to {to}")
        export_to_toolkit(to, folders, output, precision, quantization, overwrite)
    else:
        refuse_options(given, ("quantization",), "--to saved_model")
        translator = load(folders, precision, **search_options(context))
        options = {"precision": storage.value, "max_source_length": max_source_length, "check": check}
        with called({"precision": "storage"}):
            translator.export(output, overwrite, serving=serving, **options)
        if serving:
            say(how_to_serve(output))
    result(str(output))


def export_to_toolkit(to, folders, output, precision, quantization, overwrite):
    """Write a folder for CTranslate2, or one of Hugging Face's MarianMTModel."""
    translator = load(folders, precision)
    if to is Format.ctranslate2:
        from keras_transformer.interop import ctranslate2

        ctranslate2.save(translator.model, translator.tokenizer, output, quantization, overwrite=overwrite)
    else:
        from keras_transformer.interop import marian

        marian.save(translator.model, translator.tokenizer, output, overwrite=overwrite)


def how_to_serve(output):
    """What to type to start a server, and to ask it."""
    name = output.resolve().parent.name
    return (
        f"To start a server:  docker compose -f {output.parent / 'docker-compose.yml'} up\n"
        'To ask it:          curl -d \'{"inputs": ["Hello."]}\' '
        f"http://localhost:8501/v1/models/{name}:predict"
    )


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(export)
