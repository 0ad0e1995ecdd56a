"""keras-transformer tokenizer: learn subwords, and see how a text is cut."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.choices import Normalization, Subwords
from keras_transformer_cli.complaints import called
from keras_transformer_cli.config import ConfigOption, SetOption
from keras_transformer_cli.models import load_tokenizer
from keras_transformer_cli.screen import result, say

app = typer.Typer(no_args_is_help=True, help="Learn subwords from text, or see how a text is cut.")


@app.command(epilog="Example:  keras-transformer tokenizer train train.en train.de --output joint.model")
def train(
    files: Annotated[list[str], typer.Argument(help="Text, one sentence a line: plain or .gz.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The tokenizer's file.")],
    vocabulary_size: Annotated[int, typer.Option(min=5, help="Number of pieces.")] = 10_000,
    subwords: Annotated[Subwords, typer.Option(help="Kind of the subwords.")] = Subwords.bpe,
    normalization: Annotated[
        Normalization, typer.Option(help="Unicode normal form of all texts.")
    ] = Normalization.none,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Learn a vocabulary from text files."""
    from keras_transformer import Tokenizer
    from keras_transformer.inputs.paths import check_source, check_target

    for number, path in enumerate(files):
        check_source(path, argument=f"files[{number}]")
    check_target(output, "file", "output", overwrite)
    with called({"model": "subwords"}):
        tokenizer = Tokenizer.train(files, vocabulary_size, subwords.value, normalization.value)
    tokenizer.save(output, overwrite)
    say(f"{tokenizer.vocabulary_size:,} pieces of {subwords}")
    result(str(output))


@app.command(epilog="Example:  keras-transformer tokenizer show runs/en_de 'A man rides a horse.'")
def show(
    tokenizer: Annotated[Path, typer.Argument(help="A tokenizer's file, or a training folder.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts. Without them: the lines of a pipe.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print numbers instead of pieces.")] = False,
    target: Annotated[bool, typer.Option("--target", help="The texts are of the target.")] = False,
):
    """Print the pieces of texts, one text a line, with spaces between the pieces."""
    from keras_transformer.inputs.tokenizers import side_of

    side = "target" if target else "source"
    loaded = load_tokenizer(tokenizer)
    part = side_of(loaded, side)
    for text in texts or (line.removesuffix("\n").removesuffix("\r") for line in sys.stdin):
        found = loaded.encode(text, side)
        result(" ".join(map(str, found if ids else part.pieces(found))))
