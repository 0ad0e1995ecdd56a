"""keras-transformer parse: train a parser, parse sentences, score trees, export."""

from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.choices import Leaves
from keras_transformer_cli.config import ConfigOption, SetOption, effective, given_names, refuse_options
from keras_transformer_cli.models import SEARCH, BatchOption, BeamOption, EnsembleOption, PenaltyOption, PrecisionOption
from keras_transformer_cli.screen import resumable
from keras_transformer_cli.train import TRAINING, option, with_the_options_of_train

EXAMPLE = "keras-transformer parse train train.mrg dev.mrg --output runs/parser"
SENTENCES_EXAMPLE = "keras-transformer parse sentences runs/parser 'The mice run .' --draw"
SCORE_EXAMPLE = "keras-transformer parse score runs/parser dev.mrg"
EXPORT_EXAMPLE = "keras-transformer parse export runs/parser saved_models/parser/1 --serving"

app = typer.Typer(no_args_is_help=True, help="Parse English into constituency trees (section 6.3 of the paper).")

ParserArgument = Annotated[str, typer.Argument(help="Folder of `parse train`, or an address: hf://user/model.")]
ExtraOption = Annotated[int, typer.Option(min=0, help="A tree has at most so many tokens more than its sentence.")]
ConstraintOption = Annotated[bool, typer.Option(help="Let the search make only trees. Otherwise trees are repaired.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]
# The options of `train` that mean nothing for trees, or that are others here.
OF_TEXTS = ("source", "target", "also", "valid_source", "valid_target", "valid_pairs", "tokenizer", "normalization")
OF_TEXTS += ("target_vocabulary_size", "segmentations", "segmentation_alpha", "monitor", "bleu_every", "bleu_tokenize")


def train(
    context: typer.Context,
    trees: Annotated[str, typer.Argument(help="Trees in brackets to learn from, as in the Penn Treebank.")],
    dev: Annotated[str, typer.Argument(help="Trees to choose and to score by.")],
    leaves: Annotated[
        Leaves,
        option("Data", "What stands for a word in the tree's tokens: XX as in the paper, its tag, or the word itself."),
    ] = Leaves.words,
    max_length: Annotated[int, option("Data", "Leave out sentences or trees of more tokens than this.", min=2)] = 400,
    recipe: Annotated[str, option(TRAINING, "A recipe of the package.")] = "parsing_small",
    **options,
):
    """Train a parser on trees.

    The folder then holds the model and its tokenizers, curves, a result card with the scores on DEV, and config.yaml
    with all options. The same command resumes an interrupted run.
    """
    from keras_transformer_cli.parse_training import run_parser_training

    with resumable():
        run_parser_training(effective(context), given_names(context))


app.command("train", epilog=f"Example:  {EXAMPLE}")(with_the_options_of_train(train, OF_TEXTS))


@app.command(epilog=f"Examples:  {SENTENCES_EXAMPLE}   |   cat text | keras-transformer parse sentences runs/parser")
def sentences(
    context: typer.Context,
    model: ParserArgument,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Sentences. Without them: the lines of a pipe, or what is typed.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Without it: the standard output.")
    ] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw each tree instead of printing its brackets.")] = False,
    svg: Annotated[Path | None, typer.Option(help="New folder for pictures: a file for each sentence.")] = None,
    split_words: Annotated[
        bool, typer.Option("--split-words", help="Split running text into words, as the Penn Treebank does.")
    ] = False,
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 21,
    length_penalty: PenaltyOption = 0.3,
    max_extra_length: ExtraOption = 300,
    constrained: ConstraintOption = True,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    overwrite: OverwriteOption = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Parse sentences, one a line, with spaces between the words. Each line gives one tree in brackets."""
    from keras_transformer_cli.parsing import load_parser, parse_lines, read_sentences

    lines, place_of = read_sentences(texts, output, svg, overwrite)
    options = {"draw": draw, "split_words": split_words, "batch_size": batch_size}
    parse_lines(load_parser(context), lines, place_of, output, svg, overwrite, **options)


@app.command(epilog=f"Examples:  {SCORE_EXAMPLE}   |   keras-transformer parse score made.mrg dev.mrg --parsed")
def score(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Folder of `parse train`; with --parsed, a file of trees.")],
    trees: Annotated[Path, typer.Argument(help="The right trees.")],
    parsed: Annotated[bool, typer.Option("--parsed", help="MODEL is a file of trees that a parser made.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the trees of MODEL.")] = None,
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 21,
    length_penalty: PenaltyOption = 0.3,
    max_extra_length: ExtraOption = 300,
    constrained: ConstraintOption = True,
    batch_size: BatchOption = 64,
    precision: PrecisionOption = "float32",
    overwrite: OverwriteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Parse the sentences of trees, and score the result as EVALB does: labeled F1 and more."""
    from keras_transformer_cli.parsing import load_parser, score_parser, score_trees

    if parsed:
        of_parsing = ("output", "ensemble", *SEARCH, "constrained", "batch_size", "precision", "overwrite")
        refuse_options(given_names(context), of_parsing, "--parsed: nothing is parsed")
        score_trees(model, trees, as_json)
    else:
        score_parser(lambda: load_parser(context), trees, output, overwrite, batch_size, as_json)


@app.command(epilog=f"Example:  {EXPORT_EXAMPLE}")
def export(
    context: typer.Context,
    model: ParserArgument,
    output: Annotated[Path, typer.Argument(help="Folder to write. A server wants NAME/NUMBER.")],
    ensemble: EnsembleOption = None,
    beam_size: BeamOption = 21,
    length_penalty: PenaltyOption = 0.3,
    max_extra_length: ExtraOption = 300,
    precision: PrecisionOption = "float32",
    max_source_length: Annotated[int, typer.Option(min=2, help="The most tokens of a sentence.")] = 256,
    serving: Annotated[
        bool, typer.Option("--serving", help="Also write what a TensorFlow Serving starts from, in the folders beside.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Run the export in a process without this package.")] = True,
    overwrite: OverwriteOption = False,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Write a parser as a SavedModel from sentences to trees in brackets, with the constraint inside."""
    from keras_transformer.inputs.paths import check_target
    from keras_transformer_cli.export import how_to_serve
    from keras_transformer_cli.parsing import load_parser
    from keras_transformer_cli.screen import result, say

    check_target(output, "folder", "output", overwrite)
    options = {"serving": serving, "max_source_length": max_source_length, "check": check}
    load_parser(context).export(output, overwrite, **options)
    if serving:
        say(how_to_serve(output))
    result(str(output))
