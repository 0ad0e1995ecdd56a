"""keras-transformer distill: a student learns from a teacher's translations."""

from typing import Annotated

import typer

from keras_transformer_cli.choices import Keep
from keras_transformer_cli.config import effective, given_names
from keras_transformer_cli.models import EnsembleOption
from keras_transformer_cli.screen import resumable
from keras_transformer_cli.train import option, with_the_options_of_train

EXAMPLE = "keras-transformer distill runs/teacher train.en train.de --output runs/student --preset multi30k_tiny"
TEACHER = "Teacher"  # a panel of the help


def distill(
    context: typer.Context,
    teacher: Annotated[str, typer.Argument(help="Training folder of the teacher, or an address: hf://user/model.")],
    source: Annotated[str, typer.Argument(help="Source sentences, one a line: plain text or .gz.")],
    target: Annotated[str, typer.Argument(help="Their translations, line by line.")],
    ensemble: EnsembleOption = None,
    keep: Annotated[
        Keep,
        option(TEACHER, "Of the teacher's beam: the best translation, or the one that is closest to the given one."),
    ] = Keep.best,
    mixture: Annotated[bool, option(TEACHER, "Also learn from the given translations.")] = True,
    teacher_beam_size: Annotated[int, option(TEACHER, "Hypotheses that it keeps for each sentence.", min=1)] = 4,
    teacher_length_penalty: Annotated[float, option(TEACHER, "α of its length penalty.")] = 0.6,
    teacher_batch_size: Annotated[int, option(TEACHER, "Sentences that it decodes at a time.", min=1)] = 64,
    word_level: Annotated[
        float,
        option(TEACHER, "Weight of a loss by its probabilities of each piece: 0 (none) to 1 (nothing else).", max=1),
    ] = 0.0,
    teacher_precision: Annotated[
        str, option(TEACHER, "Policy to compute in: float32, mixed_bfloat16, or int8_from_float32.")
    ] = "float32",
    **options,
):
    """Train a student on the translations of a teacher (sequence-level knowledge distillation).

    With --word-level it learns the teacher's probabilities of each piece, too (word-level knowledge distillation).

    The teacher translates the source, and the student learns from these translations and from the given ones. Its
    tokenizer is the teacher's, unless --tokenizer or --vocabulary-size says otherwise. The same command resumes, also
    in the middle of the teacher's work. The result card names the teacher.
    """
    from keras_transformer_cli.distilling import run_distillation

    with resumable():
        run_distillation(effective(context), given_names(context))


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(with_the_options_of_train(distill))
