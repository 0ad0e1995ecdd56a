"""Write the training folder after each epoch, and the states from which an interrupted run resumes."""

import logging
import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_transformer.files import (
    LAST_FILE,
    MODEL_FILE,
    STATES_FOLDER,
    remove_leftovers,
    written_beside,
)
from keras_transformer.inputs.paths import AnyPath, checked_path
from keras_transformer.inputs.tokenizers import (
    SIDES,
    TOKENIZER_FILES,
    AnyTokenizer,
    check_sizes,
    save_tokenizer,
    side_of,
)
from keras_transformer.training.lock import FolderLock
from keras_transformer.training.monitors import check_same_monitor, sign_of
from keras_transformer.training.nan import check_weights
from keras_transformer.training.resume import STEM, Resumption
from keras_transformer.training.states import states_in
from keras_transformer.training.workers import is_chief

FILES = (MODEL_FILE, LAST_FILE, *TOKENIZER_FILES)

logger = logging.getLogger("keras_transformer")


class Checkpoint(keras.callbacks.Callback):
    """Writes the training folder, which `Translator.load` reads, after each epoch. Put it after the other callbacks.

    `model.keras` holds the architecture, the weights, and the optimizer's state with the step of the schedule. Read it
    with `keras.saving.load_model` to train on. With `monitor`, it holds the best epoch of the run, and `last.keras`
    the latest one. Each file is written to a temporary path and then moved, so that a crash or a full disk leaves the
    older file. Only one process trains in a folder at a time. Of several workers (see `workers_strategy`) only the
    first writes and reads the folder.

    With `corpus`, the run may be interrupted at any moment, and the same command resumes it. The folder `checkpoints`
    gets a state at the start, every `every_steps` updates and after each epoch. A state holds everything that training
    depends on: weights, optimizer, random generators, metrics, the best value so far and the position in the data. The
    next `fit` begins at the newest state. It skips the steps of the epoch that are in the state: they compute nothing,
    and other callbacks see them with the logs of the state. The first worker sends the state to the others; if its
    folder holds no state, the run starts from the beginning.

    On one device and with `tf.config.experimental.enable_op_determinism()`, the weights end bit for bit as those of a
    run without a break. On JAX, on a CPU, that needs no option.

    A state of another model, optimizer, tokenizer, corpus or list of `callbacks` is refused. A schedule and other
    options of the optimizer may change, but a constant learning rate is part of the state. A run that `EarlyStopping`
    among `callbacks` has ended stays finished, unless its patience grows.

    With an optimizer of `use_ema=True`, the moving average resumes too. The files hold the weights without it, and the
    model has it when `fit` ends. `SwapEMAWeights(swap_on_epoch=True)` before this callback puts the average into the
    files. It leaves the two swapped between epochs, so do not combine it with `corpus`.

    Example:
        ```python
        from pathlib import Path
        import keras_transformer.training

        Path("digits.txt").write_text("3 1 4\\n1 5 9\\n")
        tokenizer = keras_transformer.Tokenizer.train("digits.txt", 15, "wordpiece")
        data = keras_transformer.parallel_corpus("digits.txt", "digits.txt", tokenizer)
        model = keras_transformer.Transformer.from_preset("quickstart", vocabulary_size=15)
        model.compile("adam", keras_transformer.LabelSmoothedCrossEntropy(0.1))
        model.fit(data, shuffle=False, callbacks=[keras_transformer.training.Checkpoint("run", tokenizer, corpus=data)])
        ```

    Args:
        folder: the training folder, created if missing.
        tokenizer: the `Tokenizer` or the `TokenizerPair` of the model. It is saved once, before the first model.
        monitor: the name of a logged value, for example "val_perplexity" or "val_bleu", whose best epoch `model.keras`
            holds. An epoch without the value, or with NaN, is never the best. If there is no other epoch, a warning
            says so when training ends. None keeps the latest epoch.
        overwrite: whether to replace the files of an earlier run. Not together with `corpus`.
        corpus: the result of `parallel_corpus`, to make the run resumable. `fit` must take whole epochs of it. None
            writes no states.
        every_steps: the number of updates between two states. None writes states after epochs only.
        keep: how many of the newest states to keep.
        callbacks: other callbacks of this `fit` that count over epochs and must resume too: Keras' `EarlyStopping` and
            `ReduceLROnPlateau`, `Throughput`, or any with `get_state()`, whose result JSON can hold, and
            `set_state(state)`.
        mode: "min" or "max", the best value of `monitor`. "auto" means "max" if the name ends in accuracy, bleu or
            chrf, otherwise "min".

    Raises:
        FileExistsError: the folder already holds one of the files, `overwrite` is False, and there is no state to
            resume from.
        TypeError: `tokenizer` is no tokenizer, for example its path.
        ValueError: an argument is wrong, or `corpus` has another tokenizer. When `fit` starts: the tokenizer and the
            model have different vocabularies; the state is of another run, or a worker trains something else than the
            first (the message names the fields); the state has another `monitor` or `mode`, or other variables than the
            model (the message names them); or none of the states can be read. After the first epoch: `monitor` was not
            logged (the message lists what was), and `fit` does not know that a later epoch will log it.
        FloatingPointError: an update has made weights NaN or infinite. They are not written.
        BlockingIOError: when `fit` starts, another process trains in the folder. A process whose `fit` raised may
            hold the folder until it fits again or ends.
        OSError: when `fit` starts, the folder cannot be written in. Later: a file cannot be written, for example on a
            full disk (the message names the path and the free space). Older files are intact.
    """

    adds_to_logs = ()  # and so `fit` checks the monitor

    def __init__(
        self,
        folder: AnyPath,
        tokenizer: AnyTokenizer,
        monitor: str | None = None,
        overwrite: bool = False,
        *,
        corpus: Any = None,
        every_steps: int | None = None,
        keep: int = 3,
        callbacks: Sequence[Any] = (),
        mode: str = "auto",
    ) -> None:
        super().__init__()
        for name in ("fingerprint", "save", "vocabulary_size"):
            if not all(hasattr(side_of(tokenizer, side), name) for side in SIDES):
                raise TypeError(f"tokenizer must be a Tokenizer, for example Tokenizer.load(path), got {tokenizer!r}.")
        self.folder = Path(checked_path(folder, "folder"))
        self.tokenizer = tokenizer
        self.monitor = monitor
        self.sign = sign_of(monitor, mode)
        self.best = None  # before the first value
        self.was_logged = False
        self.is_known = False  # `fit` sets it where some epoch logs the monitor
        self.last_model = None  # a weak reference to the model of the last `fit`
        self.resumption, self.counting = None, list(callbacks)
        if corpus is not None:
            if overwrite:
                raise ValueError(
                    "overwrite=True would start from the beginning each time, and corpus= could not resume. Remove the "
                    "folder."
                )
            states = self.folder / STATES_FOLDER
            self.resumption = Resumption(states, corpus, tokenizer.fingerprint, every_steps, keep, self.counting)
        elif every_steps is not None or self.counting:
            raise ValueError("every_steps and callbacks need corpus=, whose position is written with them.")
        if not overwrite and is_chief():
            self._check_folder()

    def _check_folder(self):
        """Refuse the files of an earlier run, unless this run resumes it.

        Raises:
            FileExistsError: see the class.
        """
        has_states = bool(states_in(self.folder / STATES_FOLDER, STEM))
        reason, advice = (
            "",
            "pass overwrite=True. Only a run that had corpus= can be resumed",
        )
        if self.resumption is not None:  # with it, overwrite=True is refused
            if has_states:
                return
            reason, advice = " and no state to resume from", "remove this one"
        elif has_states:
            reason, advice = " and states of a run", "pass overwrite=True. To resume it, pass corpus="
        for name in FILES:
            if (self.folder / name).exists():
                raise FileExistsError(
                    f"{self.folder} holds a {name} already{reason}. Choose another folder, or {advice}."
                )

    def on_train_begin(self, logs=None):
        self.tokenizer_saved, self.saved_epoch = False, None
        self.lock = FolderLock(self.folder) if is_chief() else None  # before this process touches any file there
        if self.last_model is None or self.last_model() is not self.model:  # another model's best value says nothing
            self.best, self.was_logged, self.last_model = None, False, weakref.ref(self.model)
        if self.resumption is not None:
            self._resume()
        if is_chief():
            self._check_vocabulary()

    def _resume(self):
        for name in FILES if is_chief() else ():
            remove_leftovers(self.folder, name)
        state = self.resumption.begin(self.model, self.params["epochs"])
        if state is not None:
            check_same_monitor(self, state, self.folder)
            self.best = state.get("best", self.best)
            self.was_logged = state.get("was_logged", False)

    def _check_vocabulary(self):
        """Refuse before training what `Translator.load` would refuse after it.

        Raises:
            ValueError: see the class.
        """
        check_sizes(
            self.model,
            self.tokenizer,
            f"the model in {self.folder} could not be loaded. Pass the tokenizer for which the model was made.",
        )

    def _facts(self):
        return {"best": self.best, "was_logged": self.was_logged, "monitor": self.monitor, "sign": self.sign}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.resumption is not None:
            self.resumption.begin_epoch(epoch, self.params["steps"])

    def on_train_batch_end(self, batch, logs=None):
        if self.resumption is not None:
            self.resumption.end_batch(self.epoch, batch, self._facts())

    def on_epoch_end(self, epoch, logs=None):
        check_weights(self.model, self.folder)
        self._save_models(logs or {})
        self.saved_epoch = epoch + 1
        if self.resumption is not None:  # after the models: a break in between repeats the end of the epoch
            self.resumption.end_epoch(epoch, self._facts())

    def _save_models(self, logs):
        if self.monitor is None:
            self._save(MODEL_FILE)
            return
        self._save(LAST_FILE)  # before the check, so that a misspelled monitor loses no training
        self.was_logged |= self.monitor in logs
        if not (self.was_logged or self.is_known):
            raise ValueError(f"monitor={self.monitor!r} is not logged. Logged: {', '.join(sorted(logs))}.")
        value = float(logs.get(self.monitor, math.nan))
        if not math.isnan(value) and (self.best is None or self.sign * value > self.sign * self.best):
            self.best = value
            self._save(MODEL_FILE)

    def _save(self, name):
        if not is_chief():
            return
        if not self.tokenizer_saved:  # with the first model: until then, the files of an earlier run stay a pair
            save_tokenizer(self.tokenizer, self.folder, overwrite=True)
            self.tokenizer_saved = True
        with written_beside(self.folder / name, overwrite=True, kind="file") as beside:
            self.model.save(beside)

    def on_interrupt(self, error):
        """Say what is saved and how to go on, if the user interrupted `fit`."""
        if isinstance(error, KeyboardInterrupt) and is_chief():
            logger.warning("Training was interrupted. %s", self._how_to_go_on())

    def _how_to_go_on(self):
        if self.resumption is not None and (newest := self.resumption.newest) is not None:
            return f"The newest state is {newest}. Start the same command again to resume from it."
        if self.saved_epoch is None:
            return f"Nothing was saved in {self.folder} yet. Start the same command again."
        latest = self.folder / (MODEL_FILE if self.monitor is None else LAST_FILE)
        return (
            f"{latest} is of epoch {self.saved_epoch}. Read it with keras.saving.load_model to train on. A run with "
            "Checkpoint(corpus=...) resumes by itself."
        )

    def on_train_end(self, logs=None):
        if self.resumption is not None:
            self.resumption.end()
        if self.lock is not None:
            if self.saved_epoch is not None and self.monitor is not None and not self.was_logged:
                logger.warning(
                    "monitor=%r is in the logs of no epoch: this run has written no %s. %s is of the latest epoch.",
                    *(self.monitor, self.folder / MODEL_FILE, LAST_FILE),
                )
            if self.was_logged and self.best is None:
                logger.warning(
                    "monitor=%r was NaN after every epoch: this run has written no %s. %s is of the latest epoch.",
                    *(self.monitor, self.folder / MODEL_FILE, LAST_FILE),
                )
            self.lock.release()
