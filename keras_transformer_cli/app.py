"""The list of commands."""

from importlib.metadata import version

import typer

from keras_transformer_cli import (
    average,
    convert,
    distill,
    doctor,
    evaluate,
    export,
    parse,
    presets,
    quantize,
    score,
    shortlist,
    tokenizer,
    train,
    translate,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, decode and serve the Transformer of “Attention Is All You Need”, from two text files.",
    epilog=f"Start with:  {train.EXAMPLE}",
)


def _print_version(wanted: bool):
    if wanted:
        print(f"keras-transformer {version(doctor.DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def options(
    show_version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version, and end."
    ),
    verbose: bool = typer.Option(
        False,
        "--verbose",
        help="Print TensorFlow's notes, the whole log, and the traceback of an error. May stand anywhere.",
    ),
):
    """The options of all commands. `main` reads --verbose before the parser does."""


for module in (train, distill, shortlist, translate, evaluate, score):
    module.add_to(app)
for module in (average, export, convert, quantize, presets, doctor):
    module.add_to(app)
app.add_typer(parse.app, name="parse")
app.add_typer(tokenizer.app, name="tokenizer")
