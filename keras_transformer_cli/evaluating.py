"""Systems that are scored and compared: models that translate, and files of translations."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from keras_transformer_cli.answers import check_export, exported_answers
from keras_transformer_cli.models import arguments, is_export, load, load_tokenizer, refuse_parser
from keras_transformer_cli.screen import result, say
from keras_transformer_cli.translating import Request

WIDEST = 10_000  # characters of a table that is measured


def read_texts(path, argument):
    """The lines of a file."""
    from keras_transformer.files import read_lines
    from keras_transformer.inputs.kinds import FileLines
    from keras_transformer.inputs.paths import check_source

    return FileLines(read_lines(check_source(path, argument=argument)))


def read_references(paths, count, other):
    """The lines of each file of references.

    Args:
        paths: the files.
        count: how many lines each must have.
        other: the file that has as many, for messages.

    Raises:
        ValueError: a file has another number of lines. The message names both files and both numbers.
    """
    streams = [read_texts(path, "references") for path in paths]
    for path, stream in zip(paths, streams, strict=True):
        check_aligned(other, count, path, len(stream))
    return streams


def check_aligned(one, lines_of_one, other, lines_of_other):
    """Raise ValueError if two files have different numbers of lines, or none."""
    if lines_of_one != lines_of_other:
        raise ValueError(
            f"{one} has {lines_of_one:,} lines and {other} has {lines_of_other:,}: they must be aligned. "
            "Line n of one belongs to line n of the other."
        )
    if not lines_of_one:
        raise ValueError(f"{one} and {other} are empty. There is nothing to score.")


def read_rivals(names, first, request, reference, count):
    """What the first system is compared with: {name: its translations, or the `Request` that makes them}.

    Args:
        names: training folders, exports and files of translations.
        first: the name of the first system.
        request: the `Request` of the first system; None if nothing is translated.
        reference, count: a file of references, and how many lines it has.

    Raises:
        ValueError, OSError: a system is there twice, is missing, or has another number of lines; or a model is there
            and nothing to translate.
    """
    rivals = {}
    for name in names:
        if name == first or name in rivals:
            raise ValueError(f"against={name!r} is there twice. Give each system once.")
        path = Path(name)
        if path.exists() and not path.is_dir():
            rivals[name] = read_texts(name, "against")
            check_aligned(name, len(rivals[name]), reference, count)
        elif request is None:
            if path.is_dir():
                raise ValueError(
                    f"against={name!r} is a folder, and with --translated there are no sentences to translate. Give a "
                    "file of translations, or: MODEL SOURCE REFERENCE --against TRANSLATIONS."
                )
            read_texts(name, "against")  # it says what is missing
        else:
            rivals[name] = replace(request, model=[name])
            check_model(rivals[name], "against")
    return rivals


def check_model(request, argument):
    """Refuse a model that is not there, or that cannot do what is asked for, before any model works."""
    from keras_transformer.translation.loading import training_folder

    if request.has_export:
        check_export(request)
    else:
        named = zip(request.model, arguments(request.model), strict=True)
        first, *_ = [training_folder(folder, argument if name == "model" else name) for folder, name in named]
        tokenizer = load_tokenizer(first)
        refuse_parser(first, tokenizer)
        if (shortlist := request.search["shortlist"]) is not None:
            shortlist.check_fits(tokenizer, request.search["beam_size"])


def translations_of(request, sentences):
    """The translations of sentences by the model of a `Request`."""
    if is_export(request.model[0]):
        return [found[0].text for found in exported_answers(request)(sentences)]
    translator = load(request.model, request.precision, **request.search)
    return translator(sentences, batch_size=request.batch_size, progress=True)


def translate_all(systems, sentences, output, overwrite):
    """{name: translations}: those that are there, and those that the models make now.

    Args:
        systems: {name: translations or a `Request`}.
        sentences: what the models translate.
        output: a file for the translations of the first system, written before the next one works; or None.
        overwrite: whether the file may be there already.
    """
    found = {}
    for name, system in systems.items():
        if isinstance(system, Request):
            if len(systems) > 1:
                say(f"{name} translates {len(sentences):,} sentences.")
            system = translations_of(system, sentences)
        found[name] = system
        if output is not None and len(found) == 1:
            write_texts(output, system, overwrite)
    return found


def write_texts(path, texts, overwrite):
    """Write a text a line."""
    from keras_transformer.files import written_beside
    from keras_transformer.translation.whole_file import one_line

    with written_beside(path, overwrite, kind="file", argument="output") as beside:
        beside.write_text("".join(f"{one_line(text)}\n" for text in texts), encoding="utf-8")


def print_scores(scores, as_json):
    """Print the `Scores` of one system, as lines or as JSON."""
    if as_json:
        result(json.dumps({name: value for name, value in asdict(scores).items() if value is not None}, indent=2))
    else:
        result(str(scores))


def print_comparison(comparison, as_json):
    """Print a `Comparison`: as JSON, as a table on a terminal that is wide enough, otherwise as lines."""
    if as_json:
        result(json.dumps(asdict(comparison), indent=2))
    elif not (sys.stdout.isatty() and printed_as_table(comparison)):
        result(str(comparison))


def printed_as_table(comparison):
    """Print a row for each system and a column for each metric, and the signatures below, if the terminal has room.

    Returns:
        Whether it has room.
    """
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from keras_transformer.console import safe_console, show
    from keras_transformer.evaluate.metrics import TITLES

    console, table = safe_console(), Table()
    table.add_column("system")
    for metric in comparison.scores:
        table.add_column(TITLES[metric], justify="right")
    for name in next(iter(comparison.scores.values())):
        cells = [Text(str(scores[name]).replace(", ", "\n")) for scores in comparison.scores.values()]
        table.add_row(Text(name), *cells, end_section=True)
    if Measurement.get(console, console.options.update(width=WIDEST), table).maximum > console.width:
        return False
    console.print(table)
    show(console, comparison.legend)
    for metric, signature in comparison.signatures.items():
        show(console, f"{TITLES[metric]}: {signature}")
    return True
