"""The training folder, written after each epoch, and the states that a broken run goes on from."""

import logging
import math
from pathlib import Path

import keras

from keras_transformer.files import LAST_FILE, MODEL_FILE, STATES, TOKENIZER_FILE, remove_leftovers, safely_written
from keras_transformer.training.lock import FolderLock
from keras_transformer.training.monitors import sign_of
from keras_transformer.training.resume import STEM, Resumption
from keras_transformer.training.states import states_in
from keras_transformer.training.workers import is_chief

logger = logging.getLogger("keras_transformer")


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, writes the training folder that `Translator.load` reads.

    `model.keras` holds architecture, weights, the optimizer's state and with it the schedule's step; a
    model read with `keras.saving.load_model` trains on from there. With `monitor` it holds the best
    epoch of the run, and `last.keras` the latest. Each file is written beside and moved into place, so
    that a crash or a full disk leaves the one before. One process trains in a folder at a time. Of
    several workers (see `workers_strategy`) the first alone writes and reads. With `corpus` it sends the
    others the state to go on from, so that their folders need hold nothing; if its own holds no state,
    the run begins anew.

    With `corpus`, the run can be broken off at any moment, and the same command goes on with it: at the
    start, every `every_steps` updates and after each epoch, the folder `checkpoints` gets a state of all
    that training depends on, weights, optimizer, random generators, metrics, the best value so far and
    the position in the data. The next `fit` begins at the newest of them. On one device and with
    `tf.config.experimental.enable_op_determinism()` the weights end bit for bit as those of a run that
    was never broken; on JAX, on a processor without more. A state of another model, optimizer, tokenizer,
    data or list of `callbacks` is refused; a schedule and other options of the optimizer may change, but a
    constant learning rate is part of the state. A run that `EarlyStopping` among `callbacks` has ended is
    finished, unless its patience grows. Steps of the epoch that are in the state already pass without
    computing; other callbacks see them with the logs of the state.

    Of an optimizer with `use_ema=True`, the average goes on too; the files hold the weights without it, and the model
    has it when `fit` ends. `SwapEMAWeights(swap_on_epoch=True)` in front of this callback puts the average into the
    files, but leaves the two swapped between epochs: not to be combined with `corpus`.

    Put it behind the other callbacks.

    Args:
        folder: created if missing.
        tokenizer: saved once, before the first model.
        monitor: name of a logged value whose best epoch `model.keras` keeps, such as "val_perplexity"
            or "val_bleu"; an epoch without it, or with NaN, is passed over, and it is said when training ends
            if there was no other. None keeps the latest.
        mode: "min" or "max", which value of it is best; "auto" is "max" where the name ends in
            accuracy, bleu or chrf, and otherwise "min".
        overwrite: whether to replace the files of an earlier run; not with `corpus`.
        corpus: what `parallel_corpus` returned, to make the run resumable; `fit` must take whole epochs
            of it. None writes no states.
        every_steps: updates between two states; None writes them at epochs' ends alone.
        keep: how many states stay, the newest.
        callbacks: other callbacks of this `fit` that count over epochs and are to go on as well: Keras'
            EarlyStopping and ReduceLROnPlateau, `Throughput`, or any with `get_state()`, which JSON can
            hold, and `set_state(state)`.

    Raises:
        FileExistsError: the folder holds one of the files already and `overwrite` is False, unless it
            holds states to go on from.
        ValueError: a bad argument; when `fit` starts, a tokenizer and a model of unlike vocabularies, a
            state of another run, or a worker that trains something else than the first, with the fields
            that differ, or states none of which can be read; after the first epoch, a `monitor` that was
            never logged; the message lists what is.
        TypeError: a `tokenizer` that is none, such as its path.
        BlockingIOError: when `fit` starts, another process trains in the folder. One whose `fit` raised may
            hold it until it fits again or ends.
        OSError: when `fit` starts, a folder that cannot be written in; later a full disk, with the path and the
            free space; what was written before is intact.
    """

    def __init__(
        self,
        folder,
        tokenizer,
        monitor=None,
        overwrite=False,
        *,
        corpus=None,
        every_steps=None,
        keep=3,
        callbacks=(),
        mode="auto",
    ):
        super().__init__()
        for name in ("fingerprint", "save", "vocabulary_size"):
            if not hasattr(tokenizer, name):
                raise TypeError(f"tokenizer must be a Tokenizer, such as Tokenizer.load(path), got {tokenizer!r}.")
        self.folder = Path(folder)
        self.tokenizer = tokenizer
        self.monitor = monitor
        self.sign = sign_of(monitor, mode)
        self.best = None  # before the first value
        self.was_logged = False
        self.resumption = None
        if corpus is not None:
            if overwrite:
                raise ValueError(
                    "overwrite=True would begin anew each time, so that corpus= could not resume. Remove the folder."
                )
            states = self.folder / STATES
            self.resumption = Resumption(states, corpus, tokenizer.fingerprint, every_steps, keep, callbacks)
        elif every_steps is not None or callbacks:
            raise ValueError("every_steps and callbacks need corpus=, whose position is written with them.")
        resumes = self.resumption is not None and states_in(self.folder / STATES, STEM)
        for name in (MODEL_FILE, LAST_FILE, TOKENIZER_FILE):
            if (self.folder / name).exists() and not overwrite and not resumes and is_chief():
                what, advice = "", "pass overwrite=True"
                if corpus is not None:  # which overwrite=True does not go with
                    what, advice = " and no state to go on from", "remove this one"
                raise FileExistsError(
                    f"{self.folder} holds a {name} already{what}. Choose another folder, or {advice}."
                )

    def on_train_begin(self, logs=None):
        self.tokenizer_saved = False
        self.lock = FolderLock(self.folder) if is_chief() else None  # before anything there is touched
        if self.resumption is not None:
            self._go_on()
        if is_chief():
            self._refuse_another_vocabulary()

    def _go_on(self):
        for name in (MODEL_FILE, LAST_FILE, TOKENIZER_FILE) if is_chief() else ():
            remove_leftovers(self.folder, name)
        state = self.resumption.begin(self.model, self.params["epochs"])
        if state is not None:
            self.best = state.get("best", self.best)
            self.was_logged = state.get("was_logged", False)

    def _refuse_another_vocabulary(self):
        """As `Translator.load` would, when all the training is done."""
        size = self.tokenizer.vocabulary_size
        for side in ("vocabulary_size", "target_vocabulary_size"):
            if getattr(self.model, side, size) != size:  # a model of another class has neither
                raise ValueError(
                    f"the tokenizer has {size} pieces, the model's {side} is {getattr(self.model, side)}: what "
                    f"{self.folder} gets could not be loaded. Pass the tokenizer for which the model was made."
                )

    def _facts(self):
        return {"best": self.best, "was_logged": self.was_logged}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.resumption is not None:
            self.resumption.begin_epoch(epoch, self.params["steps"])

    def on_train_batch_end(self, batch, logs=None):
        if self.resumption is not None:
            self.resumption.end_batch(self.epoch, batch, self._facts())

    def _save(self, name):
        if not is_chief():
            return
        if not self.tokenizer_saved:  # with the first model, so that files of an earlier run stay a pair until then
            self.tokenizer.save(self.folder / TOKENIZER_FILE, overwrite=True)
            self.tokenizer_saved = True
        with safely_written(self.folder / name, overwrite=True) as beside:
            self.model.save(beside)

    def on_epoch_end(self, epoch, logs=None):
        self._save_models(logs or {})
        if self.resumption is not None:  # behind the models: a break in between repeats the end of the epoch
            self.resumption.end_epoch(epoch, self._facts())

    def _save_models(self, logs):
        if self.monitor is None:
            self._save(MODEL_FILE)
            return
        self._save(LAST_FILE)  # first, so that a mistyped name costs no training
        self.was_logged |= self.monitor in logs
        if not self.was_logged:
            raise ValueError(f"monitor={self.monitor!r} is not logged. Logged: {', '.join(sorted(logs))}.")
        value = float(logs.get(self.monitor, math.nan))
        if not math.isnan(value) and (self.best is None or self.sign * value > self.sign * self.best):
            self.best = value
            self._save(MODEL_FILE)

    def on_train_end(self, logs=None):
        if self.resumption is not None:
            self.resumption.end()
        if self.lock is not None:
            if self.was_logged and self.best is None:
                logger.warning(
                    "monitor=%r was NaN after every epoch: this run has written no %s. %s is of the latest epoch.",
                    *(self.monitor, self.folder / MODEL_FILE, LAST_FILE),
                )
            self.lock.release()
