"""What the model makes of a few sentences while it learns."""

import keras
from rich.console import Console


class SampleTranslations(keras.callbacks.Callback):
    """Prints what the model makes of a few sentences after an epoch.

    Args:
        translate: a function from a list of sentences to a list of translations.
        sentences, references: lists of strings.
        every: epochs between samples; the last epoch is always shown.

    Raises:
        ValueError: `every` below 1, or lists of unlike length.
    """

    def __init__(self, translate, sentences, references, every=1, console=None):
        super().__init__()
        self.translate = translate
        self.sentences = list(sentences)
        self.references = list(references)
        if len(self.sentences) != len(self.references):
            raise ValueError(
                f"sentences and references must be of one length; got {len(self.sentences)} and {len(self.references)}."
            )
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.every = every
        self.console = console or Console()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        translations = self.translate(self.sentences)
        for source, reference, translation in zip(self.sentences, self.references, translations, strict=True):
            mark = "=" if translation == reference else "≠"
            self.console.print(
                f"    {source}\n  → {translation}\n  {mark} {reference}", markup=False, highlight=False, soft_wrap=True
            )
