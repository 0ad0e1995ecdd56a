"""What is trained for: translations, or something else that the same training learns."""

from collections.abc import Callable
from dataclasses import dataclass

SEARCH = ("beam_size", "length_penalty", "length_normalization", "max_extra_length")


def label_smoothed(settings):
    """The loss of the paper."""
    from keras_transformer import LabelSmoothedCrossEntropy

    return LabelSmoothedCrossEntropy(settings["label_smoothing"])


@dataclass(frozen=True)
class Task:
    """How a training differs by what it is for.

    Attributes:
        command: what the user types after `keras-transformer`.
        options: the names of the options that the command has. None: all settings are options.
        prepare: a function of the settings and the folder of the run, before the files are read. It gives the settings
            by which they are read.
        score: a function of a model, the `Data` and the settings, to the scores on the validation data.
        figure: a function of such scores to the number by which the best epoch and the average are compared.
        facts: a function of such scores to a dictionary for the result card.
        more_facts: a function of the settings to a dictionary of more facts for the card.
        loss: a function of the settings to the loss to train with.
    """

    command: str
    prepare: Callable
    score: Callable
    figure: Callable
    facts: Callable
    options: tuple | None = None
    more_facts: Callable = lambda settings: {}
    loss: Callable = label_smoothed


def score_translations(model, data, settings):
    """The `Scores` of the translations of the validation data. The search is that of the settings."""
    from keras_transformer import Translator
    from keras_transformer.evaluate import evaluate

    sources, references = zip(*data.validation, strict=True)
    translator = Translator(model, data.tokenizer, **{name: settings[name] for name in SEARCH})
    return evaluate(translator(sources, progress=True), references, settings["bleu_tokenize"])


def translation_facts(scores):
    """The facts of `Scores`, as in every result card."""
    from keras_transformer.training.facts import score_facts

    return score_facts(scores)


TRANSLATION = Task(
    command="train",
    prepare=lambda settings, output: settings,
    score=score_translations,
    figure=lambda scores: scores.bleu,
    facts=translation_facts,
)
