"""Validation BLEU and chrF among the logs: what to stop early by, and which epoch to keep."""

import keras

from keras_transformer.evaluate import evaluate


class ValidationBLEU(keras.callbacks.Callback):
    """Translates the validation set after an epoch; adds `val_bleu` and `val_chrf`, from 0 to 100, to its logs.

    Put it before the callbacks that read them:

        greedy = Translator(model, tokenizer, beam_size=1)
        callbacks = [
            ValidationBLEU(greedy, sources, references),
            TrainingProgress(),
            Checkpoint(folder, tokenizer, monitor="val_bleu"),
            keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=5),
        ]

    A `Translator` made once over the model that is trained compiles its search once, and reads the weights
    anew at each call. It decodes on one device, also under a strategy.

    With `every`, the first epoch and then each `every`-th after it are evaluated, and the first of each `fit`
    and the last in any case. The logs of the others have no such values, as with Keras' `validation_freq`:
    `EarlyStopping` says so in a warning and does not count them, so that its patience is in evaluations, and
    `Checkpoint` keeps what it has.

    Args:
        translate: a function from a list of sentences to a list of translations.
        sources, references: lists of strings, one reference each.
        every: epochs from one evaluation to the next.
        tokenize: sacreBLEU's tokenizer, see `keras_transformer.evaluate.evaluate`.

    Attributes:
        scores: the latest `Scores`, which hold the signatures; None before the first.

    Raises:
        ValueError: `every` below 1; lists of unlike length, or empty.
    """

    def __init__(self, translate, sources, references, every=1, tokenize="13a"):
        super().__init__()
        self.translate = translate
        self.sources, self.references = list(sources), list(references)
        if len(self.sources) != len(self.references) or not self.sources:
            raise ValueError(
                "sources and references must be of one length, at least 1; "
                f"got {len(self.sources)} and {len(self.references)}."
            )
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.every, self.tokenize = every, tokenize
        self.scores = None

    def on_train_begin(self, logs=None):
        self.evaluated = False

    def on_epoch_end(self, epoch, logs=None):
        if self.evaluated and epoch % self.every and epoch + 1 != self.params["epochs"]:
            return
        self.scores = evaluate(self.translate(self.sources), self.references, self.tokenize)
        logs["val_bleu"], logs["val_chrf"] = self.scores.bleu, self.scores.chrf
        self.evaluated = True
