"""keras-transformer score: how likely a model finds given translations."""

from typing import Annotated

import typer

from keras_transformer_cli.complaints import lines_of, placed
from keras_transformer_cli.config import ConfigOption, SetOption
from keras_transformer_cli.models import (
    BatchOption,
    EnsembleOption,
    ModelArgument,
    PenaltyOption,
    PrecisionOption,
    load,
)
from keras_transformer_cli.screen import result, say

EXAMPLE = "keras-transformer score runs/en_de test.en test.de"


def score(
    model: ModelArgument,
    source: Annotated[str, typer.Argument(help="Source sentences, one a line.")],
    target: Annotated[str, typer.Argument(help="Translations to score, line by line.")],
    ensemble: EnsembleOption = None,
    length_penalty: PenaltyOption = 0.6,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    tokens: Annotated[bool, typer.Option("--tokens", help="Also print each piece with its log-probability.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Print two numbers for each pair: the score by which the search ranks, and log P(translation | sentence).

    The columns are separated by tabs. The perplexity of the whole file is printed on the standard error.
    """
    import math

    from keras_transformer.data import read_pairs
    from keras_transformer.inputs.paths import check_source

    for name, path in (("source", source), ("target", target)):
        check_source(path, argument=name)
    sources, targets = map(list, zip(*read_pairs(source, target), strict=True))
    translator = load([model, *(ensemble or [])], precision, length_penalty=length_penalty)
    with placed(lines_of(source)):
        scores = translator.score(sources, targets, batch_size, progress=True)
    for each in scores:
        columns = [f"{each.score:.6g}", f"{each.log_probability:.6g}"]
        if tokens:
            pairs = zip(each.tokens, each.token_log_probabilities, strict=True)
            columns.append(" ".join(f"{piece}:{value:.4g}" for piece, value in pairs))
        result("\t".join(columns))
    total, count = sum(each.log_probability for each in scores), sum(len(each.tokens) for each in scores)
    perplexity = math.exp(-total / count) if count and math.isfinite(total) else math.inf
    say(f"perplexity {perplexity:.4f} of {count:,} tokens in {len(scores):,} pairs")


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(score)
