"""The training folder, written after each epoch."""

from pathlib import Path

import keras

from keras_transformer.files import LAST_FILE, MODEL_FILE, TOKENIZER_FILE, written_beside
from keras_transformer.training.workers import is_chief

HIGHER_IS_BETTER = ("accuracy", "bleu", "chrf")


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, writes the training folder that `Translator.load` reads.

    `model.keras` holds architecture, weights, the optimizer's state and with it the schedule's step; a
    model read with `keras.saving.load_model` trains on from there. With `monitor` it holds the best
    epoch since this callback was made, and `last.keras` the latest. Each file is written beside and
    moved into place, so that a crash or a full disk leaves the one before. Of several workers (see
    `workers_strategy`) the first alone writes.

    Args:
        folder: created if missing.
        tokenizer: saved once, before the first model.
        monitor: name of a logged value whose best epoch `model.keras` keeps, such as "val_perplexity"
            or "val_bleu"; an epoch without it is passed over. None keeps the latest.
        mode: "min" or "max", which value of it is best; "auto" is "max" where the name ends in
            accuracy, bleu or chrf, and otherwise "min".

    Raises:
        FileExistsError: the folder holds one of the files already and `overwrite` is False.
        ValueError: an unknown mode; after the first epoch, a `monitor` that was never logged, with what is.
    """

    def __init__(self, folder, tokenizer, monitor=None, overwrite=False, mode="auto"):
        super().__init__()
        self.folder = Path(folder)
        self.tokenizer = tokenizer
        self.monitor = monitor
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
        if mode == "auto":
            mode = "max" if (monitor or "").endswith(HIGHER_IS_BETTER) else "min"
        self.sign = 1 if mode == "max" else -1
        self.best = -self.sign * float("inf")
        self.was_logged = False
        for name in (MODEL_FILE, LAST_FILE, TOKENIZER_FILE):
            if (self.folder / name).exists() and not overwrite and is_chief():
                raise FileExistsError(
                    f"{self.folder} holds a {name} already. Choose another folder, or pass overwrite=True."
                )

    def on_train_begin(self, logs=None):
        self.tokenizer_saved = False

    def _save(self, name):
        if not is_chief():
            return
        if not self.tokenizer_saved:  # with the first model, so that files of an earlier run stay a pair until then
            self.tokenizer.save(self.folder / TOKENIZER_FILE, overwrite=True)
            self.tokenizer_saved = True
        with written_beside(self.folder / name, overwrite=True) as beside:
            self.model.save(beside)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is None:
            self._save(MODEL_FILE)
            return
        self._save(LAST_FILE)  # first, so that a mistyped name costs no training
        self.was_logged |= self.monitor in (logs or {})
        if not self.was_logged:
            raise ValueError(f"monitor={self.monitor!r} is not logged. Logged: {', '.join(sorted(logs or {}))}.")
        if self.monitor in logs and self.sign * logs[self.monitor] > self.sign * self.best:
            self.best = logs[self.monitor]
            self._save(MODEL_FILE)
