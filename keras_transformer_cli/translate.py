"""keras-transformer translate: a file, a pipe, or what is typed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.config import ConfigOption, SetOption, given_names, refuse_options
from keras_transformer_cli.models import (
    BatchOption,
    BeamOption,
    EnsembleOption,
    ExtraOption,
    ModelArgument,
    PenaltyOption,
    PrecisionOption,
    ShortlistOption,
    search_options,
)
from keras_transformer_cli.screen import resumable

EXAMPLE = "keras-transformer translate runs/en_de news.en --output news.de"


def translate(
    context: typer.Context,
    model: ModelArgument,
    source: Annotated[
        str | None,
        typer.Argument(help="Text, one sentence a line, plain or .gz. Without it: a pipe, or what is typed."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Without it: the standard output.")
    ] = None,
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 4,
    length_penalty: PenaltyOption = 0.6,
    max_extra_length: ExtraOption = 50,
    shortlist: ShortlistOption = None,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    split_sentences: Annotated[bool, typer.Option(help="Translate each sentence of a line by itself.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Also give the score of each translation.")] = False,
    n_best: Annotated[
        int | None, typer.Option(min=1, help="Give so many translations of each line, at most the beam size.")
    ] = None,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Also give the source word of each word, as 0-0 1-2 (Pharaoh).")
    ] = False,
    attention: Annotated[
        Path | None, typer.Option(help="Write a page (.html) to look at the attention of at most 20 lines.")
    ] = None,
    tsv: Annotated[bool, typer.Option("--tsv", help="Lines are columns with tabs; a column is added.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Lines are JSON objects; fields are added.")] = False,
    field: Annotated[
        str | None,
        typer.Option(
            help="Field to translate: a name, or the number of a column. With a name, the first line of a TSV has the "
            "names.",
            show_default="text, or column 1",
        ),
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Lines read before they are translated.")] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Translate text with a training folder or an export.

    Each line of the input gives one line of the output, whatever it holds. A training folder's translation
    of a file of plain lines into a file resumes after a break.
    """
    from keras_transformer_cli.translating import Request, translate_lines, translate_to_file, translate_typed

    request = Request(
        model=[model, *(ensemble or [])],
        precision=precision,
        search=search_options(context),
        batch_size=batch_size,
        split_sentences=split_sentences,
        scores=scores,
        n_best=n_best,
        alignment=alignment,
        attention=attention,
        kind="tsv" if tsv else "jsonl" if jsonl else "plain",
        field=field,
        given=given_names(context),
    )
    if tsv and jsonl:
        raise typer.BadParameter("--tsv and --jsonl cannot go together.")
    request.check()
    if source is None and sys.stdin.isatty() and output is None:
        refuse_options(request.given, ("tsv", "jsonl", "field", "attention"), "lines that are typed")
        translate_typed(request)
    elif output is None:
        translate_lines(request, source, None, window, overwrite)
    elif request.is_plain and source not in (None, "-") and not request.has_export:
        with resumable():
            translate_to_file(request, source, output, window, overwrite)
    else:
        translate_lines(request, source, output, window, overwrite)


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Examples:  {EXAMPLE}   |   cat news.en | keras-transformer translate runs/en_de")(translate)
