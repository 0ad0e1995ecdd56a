"""The training of a student: the teacher's translations, and the mixture that the student learns from."""

import shlex
from dataclasses import replace

from keras_transformer_cli.models import load, refuse_export
from keras_transformer_cli.screen import say
from keras_transformer_cli.settings import DATA_FOLDER
from keras_transformer_cli.tasks import TRANSLATION
from keras_transformer_cli.training import run_training
from keras_transformer_cli.training_data import read_files


def run_distillation(given, explicit):
    """Train with the options of `distill`, and print the result card.

    Args:
        given: {name: value} of all options.
        explicit: the names of those that the user gave.
    """
    from keras_transformer.inputs.numbers import share
    from keras_transformer.translation.loading import training_folder

    for folder in (given["teacher"], *(given["ensemble"] or [])):
        refuse_export(folder)
    folder = training_folder(given["teacher"], "teacher")
    learns_one = given["tokenizer"] is None and {"vocabulary_size", "target_vocabulary_size"} & set(explicit)
    has_another = given["tokenizer"] not in (None, str(folder))
    if share("word_level", given["word_level"]) > 0 and (learns_one or has_another):
        raise ValueError(
            f"word_level={given['word_level']} needs the teacher's tokenizer: its probabilities are of its own pieces. "
            f"Leave out {'tokenizer' if has_another else 'vocabulary_size'}."
        )
    if not learns_one and not has_another:
        given = given | {"tokenizer": str(folder)}
    task = replace(
        TRANSLATION,
        command="distill",
        prepare=taught,
        more_facts=teacher_facts,
        options=tuple(given),
        loss=student_loss,
    )
    run_training(given, explicit, task)


def taught(settings, output):
    """Let the teacher translate the source, and mix its translations with the given ones.

    Validation pairs are split off before, so that the teacher's translations have none of them.

    Returns:
        The settings, with the files to learn from.
    """
    from keras_transformer.data import split_corpus
    from keras_transformer.translation import distill

    files, folder = read_files(settings), output / DATA_FOLDER
    source, target = files.source[0], files.target[0]
    folder.mkdir(parents=True, exist_ok=True)
    changes = {"valid_pairs": None}
    if files.valid is None:
        parts = split_corpus(source, target, folder, settings["valid_pairs"], settings["seed"])
        source, target = parts["train"]
        changes |= dict(zip(("valid_source", "valid_target"), map(str, parts["valid"]), strict=True))
    search = {name: settings[f"teacher_{name}"] for name in ("beam_size", "length_penalty")}
    teacher = load_teacher(settings, **search)
    say(f"The teacher translates {source}, unless it has done so: {folder}")
    options = {"keep": settings["keep"], "batch_size": settings["teacher_batch_size"]}
    _, (translations,) = distill(teacher, source, target, folder, mixture=False, **options)
    if settings["mixture"]:
        changes |= {"also": [*(settings["also"] or []), shlex.join([str(source), str(translations)])]}
    else:
        target = translations
    return settings | changes | {"source": str(source), "target": str(target)}


def load_teacher(settings, **search):
    """The teacher, or the ensemble of teachers, as a `Translator`."""
    return load([settings["teacher"], *(settings["ensemble"] or [])], settings["teacher_precision"], **search)


def student_loss(settings):
    """The loss of the paper, or with the teacher's probabilities."""
    if not settings["word_level"]:
        return TRANSLATION.loss(settings)
    from keras_transformer.losses import WordLevelDistillation

    teachers = load_teacher(settings).models
    return WordLevelDistillation(teachers, settings["word_level"], settings["label_smoothing"])


def teacher_facts(settings):
    """What the result card says of the teacher."""
    names = ("teacher", "ensemble", "keep", "mixture", "teacher_beam_size", "teacher_length_penalty", "word_level")
    return {"teacher": {name: settings[name] for name in names if settings[name] not in (None, [])}}
