"""keras-transformer train: from two text files to a trained model."""

import inspect
from pathlib import Path
from typing import Annotated

import typer

from keras_transformer_cli.choices import LengthNormalization, Monitor, Normalization, Precision, Schedule, Subwords
from keras_transformer_cli.config import ConfigOption, SetOption, effective, given_names
from keras_transformer_cli.screen import resumable

EXAMPLE = "keras-transformer train train.en train.de --output runs/en_de"
TRAINING = "Model and training"  # a panel of the help
BY_RECIPE = "by the recipe"  # the default of an option that the recipe gives


def option(panel, help, *names, **more):
    """An option with its help, in one of the panels of `--help`."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def train(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Source sentences, one a line: plain text or .gz.")],
    target: Annotated[str, typer.Argument(help="Their translations, line by line.")],
    output: Annotated[Path, option("Data", "Folder of the run. An interrupted run in it resumes.", "--output", "-o")],
    also: Annotated[
        list[str] | None,
        option("Data", "One more corpus: 'SOURCE TARGET [WEIGHT]'. An epoch takes each of its pairs WEIGHT times."),
    ] = None,
    valid_source: Annotated[
        str | None, option("Data", "Validation sentences. Without them, some are split off.")
    ] = None,
    valid_target: Annotated[str | None, option("Data", "Translations of the validation sentences.")] = None,
    valid_pairs: Annotated[
        int | None, option("Data", "Pairs to split off.", min=1, show_default="a twentieth, at most 2,000")
    ] = None,
    max_length: Annotated[int, option("Data", "Leave out pairs with a side of more tokens than this.", min=2)] = 256,
    tokenizer: Annotated[
        Path | None, option("Tokenizer", "A tokenizer's file, instead of training one.", exists=True)
    ] = None,
    subwords: Annotated[Subwords | None, option("Tokenizer", "Kind of the subwords.", show_default=BY_RECIPE)] = None,
    vocabulary_size: Annotated[
        int | None, option("Tokenizer", "Pieces of the vocabulary.", min=5, show_default=BY_RECIPE)
    ] = None,
    target_vocabulary_size: Annotated[
        int | None,
        option("Tokenizer", "Pieces of a vocabulary of its own for the target. Without it, one is shared.", min=5),
    ] = None,
    normalization: Annotated[
        Normalization, option("Tokenizer", "Unicode normal form of all texts.")
    ] = Normalization.none,
    segmentations: Annotated[
        int, option("Tokenizer", "Segmentations of each pair, drawn at random. Epochs take them in turn.", min=1)
    ] = 1,
    segmentation_alpha: Annotated[
        float | None,
        option(
            "Tokenizer",
            "Dropout of merges (bpe) or matches (wordpiece), exponent of the probabilities (unigram).",
            show_default="0.1, and 0.2 in unigram",
        ),
    ] = None,
    recipe: Annotated[
        str | None, option(TRAINING, "A recipe of the package.", show_default="by the number of pairs")
    ] = None,
    preset: Annotated[str | None, option(TRAINING, "Size of the model.", show_default=BY_RECIPE)] = None,
    model: Annotated[
        list[str] | None,
        option(TRAINING, "Change one argument of Transformer: NAME=VALUE, for example norm=pre."),
    ] = None,
    dropout: Annotated[float | None, option(TRAINING, "Rate.", show_default=BY_RECIPE)] = None,
    label_smoothing: Annotated[float | None, option(TRAINING, "ε of the loss.", show_default=BY_RECIPE)] = None,
    tokens_per_batch: Annotated[
        int | None,
        option(TRAINING, "Padded tokens of a batch, on its longer side.", min=1, show_default=BY_RECIPE),
    ] = None,
    accumulate_steps: Annotated[
        int, option(TRAINING, "Split each batch, to save memory. The update stays the same.", min=1)
    ] = 1,
    epochs: Annotated[int | None, option(TRAINING, "Passes over the corpus.", min=1, show_default=BY_RECIPE)] = None,
    steps: Annotated[
        int | None,
        option(
            TRAINING,
            "Instead of epochs: as many as it takes for so many updates.",
            min=1,
            show_default=BY_RECIPE,
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None, option(TRAINING, "Course of the learning rate.", show_default=BY_RECIPE)
    ] = None,
    peak: Annotated[float | None, option(TRAINING, "Highest learning rate.", show_default=BY_RECIPE)] = None,
    warmup_steps: Annotated[
        int | None,
        option(
            TRAINING,
            "Updates until the highest rate.",
            min=1,
            show_default="by the recipe, at most a tenth of a shorter run",
        ),
    ] = None,
    beta_2: Annotated[float | None, option(TRAINING, "β2 of Adam.", show_default=BY_RECIPE)] = None,
    epsilon: Annotated[float | None, option(TRAINING, "ε of Adam.", show_default=BY_RECIPE)] = None,
    clip_norm: Annotated[
        float | None,
        option(TRAINING, "Longest gradient, over all weights.", show_default="by the recipe; none in most"),
    ] = None,
    average: Annotated[
        int | None,
        option(
            TRAINING, "Average the last weights, those of so many epochs; 1 is none.", min=1, show_default=BY_RECIPE
        ),
    ] = None,
    average_every: Annotated[
        int | None, option(TRAINING, "Average weights of every so many updates instead of epochs.", min=1)
    ] = None,
    beam_size: Annotated[
        int | None, option("Search", "Beam of the scores at the end.", min=1, show_default=BY_RECIPE)
    ] = None,
    length_penalty: Annotated[
        float | None, option("Search", "α of their length penalty.", show_default=BY_RECIPE)
    ] = None,
    length_normalization: Annotated[
        LengthNormalization | None,
        option("Search", "gnmt: the paper's. power: divide by length^α.", show_default=BY_RECIPE),
    ] = None,
    max_extra_length: Annotated[
        int | None, option("Search", "The most tokens more than the source.", min=0, show_default=BY_RECIPE)
    ] = None,
    monitor: Annotated[Monitor, option("Watching", "Keep the epoch with the best value.")] = Monitor.val_perplexity,
    patience: Annotated[
        int | None,
        option(
            "Watching",
            "End after so many epochs without a better value.",
            min=1,
            show_default="by the recipe; never in most",
        ),
    ] = None,
    bleu_every: Annotated[int, option("Watching", "Epochs between two computations of BLEU; 0 is none.", min=0)] = 1,
    bleu_tokenize: Annotated[
        str, option("Watching", "sacreBLEU's tokenizer: 13a for running text, none for tokenized text.")
    ] = "13a",
    samples: Annotated[int, option("Watching", "Validation sentences to show after an epoch.", min=0)] = 3,
    tensorboard: Annotated[bool, option("Watching", "Also write curves for TensorBoard.")] = False,
    every_steps: Annotated[
        int | None, option("Watching", "Updates between two checkpoints.", min=1, show_default="one an epoch")
    ] = None,
    precision: Annotated[
        Precision, option("Machine", "Policy to train in. auto takes bfloat16 where the machine has it.")
    ] = Precision.auto,
    jit: Annotated[bool | None, option("Machine", "Compile by XLA.", show_default="on one GPU")] = None,
    deterministic: Annotated[
        bool | None,
        option(
            "Machine",
            "The same weights to the bit for the same seed, also after a break.",
            show_default="on processors",
        ),
    ] = None,
    seed: Annotated[int, option("Machine", "Of weights, dropout, shuffling and splitting.", min=0)] = 1,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    """Train a model on two aligned text files.

    The folder then holds the model and its tokenizer, curves, a result card, and config.yaml with all options. The same
    command resumes an interrupted run. Every GPU of the machine is used.
    """
    from keras_transformer_cli.training import run_training

    with resumable():
        run_training(effective(context), given_names(context))


def with_the_options_of_train(function, without=()):
    """Give a function with `**options` the other options of `keras-transformer train`, as typer reads them.

    Args:
        function: a command.
        without: the names of the options that it does not take.
    """
    own = dict(inspect.signature(function).parameters)
    del own["options"]
    others = inspect.signature(train).parameters
    merged = {**own, **{name: each for name, each in others.items() if name not in (*own, *without)}}
    ordered = sorted(merged.values(), key=lambda each: each.default is not each.empty)  # required ones come first
    function.__signature__ = inspect.Signature(ordered)
    function.__annotations__ = {each.name: each.annotation for each in ordered}
    return function


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(train)
