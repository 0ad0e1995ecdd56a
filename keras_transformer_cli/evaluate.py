"""keras-transformer evaluate: BLEU and chrF of a model, or of translations."""

import json
from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.config import ConfigOption, SetOption, given_names, refuse_options
from keras_transformer_cli.models import (
    SEARCH,
    BatchOption,
    BeamOption,
    EnsembleOption,
    ExtraOption,
    PenaltyOption,
    PrecisionOption,
    load,
    search_options,
)
from keras_transformer_cli.screen import result

EXAMPLE = "keras-transformer evaluate runs/en_de test.en test.de"
OF_MODELS = ("ensemble", *SEARCH, "batch_size", "precision", "output", "overwrite")  # mean nothing with --translated


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Training folder, or a file of translations with --translated.")],
    source: Annotated[str, typer.Argument(help="Source sentences; with --translated, the references.")],
    references: Annotated[
        list[str] | None, typer.Argument(help="Reference translations. Several files: several references.")
    ] = None,
    translated: Annotated[
        bool, typer.Option("--translated", help="Score a file of translations: FILE REFERENCE [REFERENCE …].")
    ] = False,
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 4,
    length_penalty: PenaltyOption = 0.6,
    max_extra_length: ExtraOption = 50,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    tokenize: Annotated[
        str, typer.Option(help="sacreBLEU's tokenizer: 13a for running text, none for tokenized text.")
    ] = "13a",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the translations.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Translate a test set, and compare the translations with references: BLEU and chrF by sacreBLEU."""
    from keras_transformer.evaluate import bleu_metric
    from keras_transformer.inputs.paths import check_target

    bleu_metric(tokenize)  # what it lacks is found before the work
    if translated:
        refuse_options(given_names(context), OF_MODELS, "--translated")
        translations, reference_files = read_texts(model, "model"), [source, *(references or [])]
        columns = read_columns(reference_files, len(translations), model)
    else:
        if not references:
            raise typer.BadParameter("a reference is missing. Give: MODEL SOURCE REFERENCE.", param_hint="REFERENCES")
        sentences = read_texts(source, "source")
        columns = read_columns(references, len(sentences), source)
        if output is not None:
            check_target(output, "file", "output", overwrite)
        folders = [model, *(ensemble or [])]
        translator = load(folders, precision, **search_options(context))
        translations = translator(sentences, batch_size=batch_size, progress=True)
        if output is not None:
            write_texts(output, translations, overwrite)
    print_scores(translations, columns, tokenize, as_json)


def read_texts(path, argument):
    """The lines of a file.

    Raises:
        ValueError: it has none.
    """
    from keras_transformer.files import read_lines
    from keras_transformer.inputs.paths import check_source

    lines = list(read_lines(check_source(path, argument=argument)))
    if not lines:
        raise ValueError(f"{argument}={path!r} has no lines. Give a file with a sentence a line.")
    return lines


def read_columns(paths, count, other):
    """The references of each sentence, a list for each.

    Raises:
        ValueError: a file has another number of lines. The message names both files.
    """
    streams = [read_texts(path, f"references[{number}]") for number, path in enumerate(paths)]
    for path, stream in zip(paths, streams, strict=True):
        if len(stream) != count:
            raise ValueError(
                f"{other} has {count:,} lines and {path} has {len(stream):,}: they must be aligned line by line."
            )
    return [list(row) for row in zip(*streams, strict=True)]


def write_texts(path, texts, overwrite):
    """Write a text a line."""
    from keras_transformer.files import written_beside
    from keras_transformer.translation.whole_file import one_line

    with written_beside(path, overwrite, kind="file", argument="output") as beside:
        beside.write_text("".join(f"{one_line(text)}\n" for text in texts), encoding="utf-8")


def print_scores(translations, references, tokenize, as_json):
    """Print the scores, as lines or as JSON."""
    from keras_transformer.evaluate import evaluate as score

    scores = score(translations, references, tokenize)
    if as_json:
        from dataclasses import asdict

        result(json.dumps(asdict(scores), indent=2))
    else:
        result(str(scores))


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(evaluate)
