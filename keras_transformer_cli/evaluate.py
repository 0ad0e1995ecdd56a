"""keras-transformer evaluate: scores of a model or of translations, and whether a difference was luck."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.complaints import lines_of, placed
from keras_transformer_cli.config import ConfigOption, SetOption, given_names, refuse_options
from keras_transformer_cli.models import (
    SEARCH,
    BatchOption,
    BeamOption,
    EnsembleOption,
    ExtraOption,
    PenaltyOption,
    PrecisionOption,
    ShortlistOption,
    load_shortlist,
    search_options,
)

EXAMPLE = "keras-transformer evaluate runs/en_de test.en test.de"
COMPARISON = f"{EXAMPLE} --against runs/other"
FOR_TRANSLATING = ("ensemble", *SEARCH, "batch_size", "precision", "output", "overwrite")


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Training folder or export; with --translated, a file of translations.")],
    source: Annotated[str, typer.Argument(help="Source sentences; with --translated, the references.")],
    references: Annotated[
        list[str] | None, typer.Argument(help="Reference translations. Several files: several references.")
    ] = None,
    translated: Annotated[
        bool, typer.Option("--translated", help="Score a file of translations: FILE REFERENCE [REFERENCE …].")
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with it: a training folder, an export or a file of translations. May be given several times."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples that --against draws from the sentences.")] = 1000,
    more: Annotated[
        list[str] | None, typer.Option(help="One more metric: chrf++, ter, or paper_bleu. May be given several times.")
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the translations, for paper_bleu.")] = "de",
    tokenize: Annotated[
        str, typer.Option(help="sacreBLEU's tokenizer: 13a for running text, none for tokenized text.")
    ] = "13a",
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 4,
    length_penalty: PenaltyOption = 0.6,
    max_extra_length: ExtraOption = 50,
    shortlist: ShortlistOption = None,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the translations of MODEL.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Translate a test set, and score the translations with BLEU and chrF by sacreBLEU.

    With --against, each other system is compared with MODEL by paired bootstrap resampling, as sacrebleu --paired-bs
    does it: a small p says that the difference was not luck.
    """
    from keras_transformer.evaluate.comparison import checked_samples, compare_streams
    from keras_transformer.evaluate.metrics import metrics
    from keras_transformer.evaluate.scores import score_streams
    from keras_transformer.inputs.paths import check_target, refuse_own_input
    from keras_transformer_cli import evaluating
    from keras_transformer_cli.translating import Request

    chosen, samples = metrics(tokenize, more or [], language), checked_samples(samples)
    given = given_names(context)
    if "samples" in given and not against:
        raise typer.BadParameter("--samples has no meaning without --against: nothing is compared.")
    if translated:
        refuse_options(given, FOR_TRANSLATING, "--translated: nothing is translated")
        paths, sentences, request = [source, *(references or [])], None, None
        systems = {model: evaluating.read_texts(model, "translations")}
        streams = evaluating.read_references(paths, len(systems[model]), model)
    else:
        if not references:
            raise typer.BadParameter("a reference is missing. Give: MODEL SOURCE REFERENCE.", param_hint="REFERENCES")
        paths, sentences = references, evaluating.read_texts(source, "source")
        streams = evaluating.read_references(paths, len(sentences), source)
        folders = [model, *(ensemble or [])]
        search = search_options(context)
        if shortlist is not None:
            search["shortlist"] = load_shortlist(shortlist)  # once, for all systems
        request = Request(model=folders, precision=precision, search=search, batch_size=batch_size, given=given)
        evaluating.check_model(request, "model")
        systems = {model: request}
    systems |= evaluating.read_rivals(against or [], model, request, paths[0], len(streams[0]))
    if output is not None:
        check_target(output, "file", "output", overwrite)
        refuse_own_input(output, [source, *paths, *(against or [])])
    with placed(lines_of(source)):
        translations = evaluating.translate_all(systems, sentences, output, overwrite)
    if against:
        evaluating.print_comparison(compare_streams(translations, streams, chosen, samples), as_json)
    else:
        evaluating.print_scores(score_streams(translations[model], streams, chosen), as_json)


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Examples:  {EXAMPLE}   |   {COMPARISON}")(evaluate)
