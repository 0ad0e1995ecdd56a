"""Print translations of a few sentences while the model trains."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_transformer.console import safe_console, show
from keras_transformer.inputs.kinds import Texts, check_function, read_sentences
from keras_transformer.inputs.numbers import whole


class SampleTranslations(keras.callbacks.Callback):
    """Prints the translations of a few sentences after an epoch, each with its reference.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import SampleTranslations

        samples = SampleTranslations(list, ["Hello ."], ["Hallo ."])  # list repeats its input; use a Translator
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[samples])
        ```

    Args:
        translate: a function from a list of sentences to a list of translations.
        sentences, references: lists of strings.
        every: print after epochs `every`, 2 `every`, …, counted from 1, and after the last epoch.
        console: a `rich.console.Console`. None prints to the standard output. Printing never ends the training: a
            character that the terminal lacks is printed as an escape, and a closed pipe only stops the printing.

    Raises:
        ValueError: `every` is below 1, or the lists differ in length or hold names of files.
        TypeError: `translate` is no function, or a list is none of strings, for example a path.
    """

    def __init__(
        self,
        translate: Callable[[list[str]], Sequence[str]],
        sentences: Texts,
        references: Texts,
        every: int = 1,
        console: Any = None,
    ) -> None:
        super().__init__()
        check_function("translate", translate)
        self.translate = translate
        self.sentences = read_sentences("sentences", sentences)
        self.references = read_sentences("references", references)
        if len(self.sentences) != len(self.references):
            raise ValueError(
                "sentences and references must have the same length; "
                f"got {len(self.sentences)} and {len(self.references)}."
            )
        every = whole("every", every)
        self.every = every
        self.console = safe_console(console)

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        if number % self.every and number != self.params["epochs"]:
            return
        translations = self.translate(self.sentences)
        for source, reference, translation in zip(self.sentences, self.references, translations, strict=True):
            mark = "=" if translation == reference else "≠"
            show(self.console, f"    {source}\n  → {translation}\n  {mark} {reference}")
