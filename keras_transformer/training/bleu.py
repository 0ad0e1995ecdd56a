"""BLEU and chrF of the validation set in the logs of `fit`, for early stopping and for the choice of the best epoch."""

from collections.abc import Callable, Sequence

import keras

from keras_transformer.evaluate import evaluate
from keras_transformer.evaluate.metrics import bleu_metric
from keras_transformer.evaluate.references import reference_streams
from keras_transformer.inputs.kinds import Texts, check_function, check_iterable, read_sentences
from keras_transformer.inputs.numbers import whole


class ValidationBLEU(keras.callbacks.Callback):
    """Translates the validation set after an epoch and adds `val_bleu` and `val_chrf`, from 0 to 100, to the logs.

    Put it before the callbacks that read these values. A `Translator` that is made once over the trained model
    compiles its search once, and reads the current weights at each call. It decodes on one device, also under a
    strategy.

    With `every`, epochs are counted from 1. Epochs `every`, 2 `every`, … and the last one are evaluated. The first
    epoch of each `fit` is evaluated too, because `Checkpoint(monitor="val_bleu")` then looks for a monitor that is
    never logged. The logs of other epochs lack the two values, as with Keras' `validation_freq`: `EarlyStopping`
    does not count these epochs, so that its patience counts evaluations, and `Checkpoint` keeps its best model.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_transformer.training import ValidationBLEU

        bleu = ValidationBLEU(list, ["a b c d"], ["a b c d"])  # list repeats its input; use a Translator
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[bleu]).history
        assert round(history["val_bleu"][0]) == round(bleu.scores.bleu) == 100
        ```

    Args:
        translate: a function from a list of sentences to a list of translations.
        sources: a list of strings.
        references: a list of strings, one for each source, or several as `keras_transformer.evaluate.evaluate` takes
            them.
        every: the number of epochs from one evaluation to the next.
        tokenize: the name of sacreBLEU's tokenizer, see `keras_transformer.evaluate.evaluate`.

    Attributes:
        scores: the latest `Scores`, which hold the signatures; None before the first evaluation.

    Raises:
        ValueError: `every` is below 1, or the lists are empty, differ in length or hold names of files.
        TypeError: `translate` is no function, or a list is none of strings, for example a path.
    """

    adds_to_logs = ("val_bleu", "val_chrf")  # `fit` checks that they are there for the callbacks that watch them

    def __init__(
        self,
        translate: Callable[[list[str]], Sequence[str]],
        sources: Texts,
        references: Texts | Sequence[Texts],
        every: int = 1,
        tokenize: str = "13a",
    ) -> None:
        super().__init__()
        check_function("translate", translate)
        self.translate = translate
        self.sources = read_sentences("sources", sources)
        check_iterable("references", references)
        self.references = list(references)
        reference_streams(self.references, len(self.sources), "sources")
        every = whole("every", every)
        bleu_metric(tokenize)
        self.every, self.tokenize = every, tokenize
        self.scores = None

    def on_train_begin(self, logs=None):
        self.has_evaluated = False

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        if self.has_evaluated and number % self.every and number != self.params["epochs"]:
            return
        self.scores = evaluate(self.translate(self.sources), self.references, self.tokenize)
        logs["val_bleu"], logs["val_chrf"] = self.scores.bleu, self.scores.chrf
        self.has_evaluated = True
