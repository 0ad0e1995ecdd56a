"""The end of a training: choose between the best epoch and the average, score, draw, and write the result card."""

import os
import shutil

RESULT_FILE, BEST_FILE = "RESULT.md", "best_epoch.keras"


def finish(model, data, settings, output, task):
    """Put the better model into `model.keras`, and write curves and the result card.

    If the average of the last epochs has better scores on the validation data than the best epoch, it becomes
    `model.keras`, and the best epoch is kept as `best_epoch.keras`. The `Task` says how they are scored.

    Returns:
        The card, as Markdown.
    """
    from keras_transformer.training import read_history, training_facts, write_card

    if (output / BEST_FILE).exists():  # this end was interrupted before
        os.replace(output / BEST_FILE, output / "model.keras")
    scores = candidate_scores(data, settings, output, task)
    averaged = "average" in scores and task.figure(scores["average"]) > task.figure(scores["best epoch"])
    if averaged:
        use_average(output)
    history = read_history(output / "history.jsonl")
    draw(history, output)
    paths = [*data.files.source, *data.files.target, *(data.files.valid or ())]
    facts = training_facts(
        model,
        data.train.report,
        history,
        preset=settings["preset"],
        seed=settings["seed"],
        files=paths,
        averaged=averaged_weights(settings) if averaged else "no",
    )
    if scores:
        facts["scores"] = {f"validation, {name}": task.facts(value) for name, value in scores.items()}
    facts |= task.more_facts(settings)
    facts["kept"] = "the average" if averaged else f"the epoch of the best {settings['monitor']}"
    return write_card(output, output.resolve().name, facts)


def averaged_weights(settings):
    """What the average is of, in words."""
    if settings["average_every"]:
        return f"the last {settings['average']} of the weights after every {settings['average_every']} updates"
    return f"the last {settings['average']} epochs"


def candidate_scores(data, settings, output, task):
    """The scores of the best epoch and of the average on the validation data, in float32.

    Another backend than TensorFlow does not translate, and gives no scores.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return {}
    from keras_transformer.translation import load_model

    files = {"best epoch": output / "model.keras", "average": output / "average.keras"}
    return {
        name: task.score(load_model(file, "float32"), data, settings) for name, file in files.items() if file.exists()
    }


def use_average(output):
    """Make the average `model.keras`, and keep the best epoch. A crash in between leaves a model that translates."""
    from keras_transformer.files import written_beside

    for old, new in (("model.keras", BEST_FILE), ("average.keras", "model.keras")):
        with written_beside(output / new, overwrite=True, kind="file") as beside:
            shutil.copyfile(output / old, beside)


def draw(history, output):
    """Draw the curves, if matplotlib is installed."""
    from keras_transformer_cli.screen import say

    try:
        from keras_transformer import plots
    except ImportError as error:
        say(f"No curves are drawn: {error}")
        return
    plots.training_curves(history, output)
