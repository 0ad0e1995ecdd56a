"""keras-transformer shortlist: learn which pieces a search chooses among."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.config import ConfigOption, SetOption
from keras_transformer_cli.models import load_tokenizer
from keras_transformer_cli.screen import result, say

EXAMPLE = "keras-transformer shortlist runs/en_de train.en train.de --output runs/en_de_shortlist.npz"


def shortlist(
    model: Annotated[Path, typer.Argument(help="Training folder, or a tokenizer's file.", exists=True)],
    source: Annotated[str, typer.Argument(help="Source sentences of the training, one a line: plain text or .gz.")],
    target: Annotated[str, typer.Argument(help="Their translations, line by line.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.npz).")],
    per_piece: Annotated[int, typer.Option(min=1, help="The most translations of a source piece.")] = 30,
    common: Annotated[int, typer.Option(min=1, help="Frequent pieces that every sentence may have.")] = 1000,
    max_pairs: Annotated[int, typer.Option(min=1, help="Learn from so many pairs at most.")] = 100_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Learn a shortlist of the vocabulary, with which small decoders are faster.

    The file is for --shortlist of translate, evaluate and export: a sentence then chooses among the likeliest
    translations of its pieces, and the pieces that are frequent.
    """
    from keras_transformer import parallel_corpus
    from keras_transformer.inputs.paths import check_source, check_target
    from keras_transformer.translation import Shortlist

    check_target(output, "file", "output", overwrite)
    for name, path in (("source", source), ("target", target)):
        check_source(path, argument=name)
    corpus = parallel_corpus(source, target, load_tokenizer(model))
    learned = Shortlist.learn(corpus, per_piece=per_piece, common=common, max_pairs=max_pairs)
    learned.save(output, overwrite)
    say(str(learned))
    result(str(output))


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(shortlist)
