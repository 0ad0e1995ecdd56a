"""Average the last weights, or those of the best epochs, when training ends."""

import math
from pathlib import Path

import keras

from keras_transformer.files import AVERAGE_FILE, AVERAGED_FOLDER
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath, check_target, checked_path
from keras_transformer.training.averaging import average
from keras_transformer.training.monitors import check_same_monitor, sign_of
from keras_transformer.training.nan import check_weights
from keras_transformer.training.snapshots import fill_variables
from keras_transformer.training.states import read_state, states_in, write_state
from keras_transformer.training.workers import is_chief

STEM = "epoch"  # epoch-000003.npz holds the weights after the third epoch
STEP_STEM = "step"  # step-004167.npz holds those after update 4,167


class AverageWeights(keras.callbacks.Callback):
    """Writes the mean of the last weights, or of the best epochs' weights, as `average.keras` when training ends.

    The paper averages the last 5 checkpoints, written every 10 minutes, or the last 20 of a big model (section 6.1):
    `AverageWeights(folder, 5, every_steps=1389)`, for its 100,000 updates took 12 hours. The folder `averaged` holds
    the weights that are averaged so far. So a run that resumes (`Checkpoint`
    with `corpus`) ends with the same mean as one without a break.

    Example:
        ```python
        import numpy as np
        import keras_transformer as kt
        from keras_transformer.training import AverageWeights

        model = kt.Transformer.from_preset("quickstart", vocabulary_size=15, num_encoder_layers=1, num_decoder_layers=1)
        model.compile("adam", kt.LabelSmoothedCrossEntropy(0.1))
        ids = np.ones((2, 3), "int32")
        callbacks = [AverageWeights("run", n=2)]  # writes run/average.keras
        model.fit({"source": ids, "target": ids}, ids, epochs=3, verbose=0, callbacks=callbacks)
        ```

    Args:
        folder: the training folder.
        n: int, how many weights to average.
        monitor: the name of a logged value. The `n` epochs with its best values are averaged, and an epoch without the
            value is left out. None averages the last `n` weights.
        mode: "min" or "max", the best value of `monitor`. "auto" means "max" if the name ends in accuracy, bleu or
            chrf, otherwise "min".
        every_steps: int, the number of updates between two weights that are averaged. None takes the weights after
            each epoch.

    Raises:
        ValueError: `n` or `every_steps` is below 1, `mode` is unknown, or both `monitor` and `every_steps` are given.
            When training starts: the folder has epochs of a run with another `monitor` or `mode`, or training ends
            before `every_steps` updates. At the end of training: `monitor` was never logged.
        FloatingPointError: an update has made weights NaN or infinite. They are not written.
        OSError: when `fit` starts, the folder cannot be written in. Later: a file cannot be written, for example on a
            full disk. The message names the path and the free space. Older files are intact.
    """

    adds_to_logs = ()  # and so `fit` checks the monitor

    def __init__(
        self,
        folder: AnyPath,
        n: int = 5,
        monitor: str | None = None,
        mode: str = "auto",
        every_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.n, self.monitor = Path(checked_path(folder, "folder")), whole("n", n), monitor
        self.sign = sign_of(monitor, mode)
        self.every_steps = None if every_steps is None else whole("every_steps", every_steps)
        if monitor is not None and every_steps is not None:
            raise ValueError(
                f"monitor={monitor!r} has a value after each epoch, so every_steps={every_steps} has none. Drop one."
            )
        self.stem = STEM if every_steps is None else STEP_STEM
        self.values = None  # {epoch or update, counted from 1: value of the monitor}, once the first epoch begins
        self.step, self.batch = 0, -1  # the updates after this batch of the epoch

    def on_train_begin(self, logs=None):
        self.values = None
        if is_chief():
            check_target(self.folder / AVERAGED_FOLDER, "folder", "folder", inside=True)
            check_target(self.folder / AVERAGE_FILE, "file", "folder")

    def on_epoch_begin(self, epoch, logs=None):
        if self.every_steps is not None:
            self.step, self.batch = self._updates(), -1
        if self.values is not None or not is_chief():
            return
        self._read(epoch if self.every_steps is None else self.step)
        self._check_every_steps(epoch)

    def _read(self, done):
        """Read the values of what is kept up to an epoch or an update, and remove what is later."""
        self.values = {}
        for number, path in states_in(self.folder / AVERAGED_FOLDER, self.stem).items():
            if number > done:  # this fit repeats it, or the file is of an earlier run
                path.unlink()
            else:
                facts = read_state(path, wanted=lambda name: False)[0]
                check_same_monitor(self, facts, self.folder)
                self.values[number] = facts["value"]

    def _check_every_steps(self, epoch):
        """Refuse, before the first step, to end a run with nothing to average."""
        if self.every_steps is None or self.params.get("steps") is None:
            return
        last = self.step + self.params["steps"] * (self.params["epochs"] - epoch)
        if last < self.every_steps:
            raise ValueError(
                f"AverageWeights: every_steps={self.every_steps}, and training ends after {last} updates, with nothing "
                "to average. Lower every_steps."
            )

    def on_train_batch_end(self, batch, logs=None):
        if self.every_steps is None or not is_chief():
            return
        before, possible = self.step, self.step + batch - self.batch
        if possible // self.every_steps == before // self.every_steps:
            return  # the updates are counted on the device: to read them at each batch would wait for it
        self.step, self.batch = self._updates(), batch
        if self.step // self.every_steps > before // self.every_steps:  # no update was skipped
            self._keep(self.step, math.nan)

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor, math.nan)
        if self.every_steps is None and is_chief() and (self.monitor is None or not math.isnan(value)):
            self._keep(epoch + 1, value)

    def _updates(self):
        fill_variables(self.model)
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))  # of one replica, if there are several

    def _keep(self, number, value):
        """Write the weights after an epoch or an update, and delete those that are no longer to be averaged."""
        check_weights(self.model, self.folder)
        variables = self.model.variables
        arrays = {f"model/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
        facts = {
            "value": float(value),
            "monitor": self.monitor,
            "sign": self.sign,
            "fingerprint": {"model": self.model.get_config()},
            "paths": {"model": [variable.path for variable in variables]},
        }
        (self.folder / AVERAGED_FOLDER).mkdir(parents=True, exist_ok=True)
        write_state(self._path(number), facts, arrays)
        self.values[number] = float(value)
        self._remove_others()

    def _remove_others(self):
        for number in sorted(self.values, key=self._rank)[self.n :]:
            self._path(number).unlink()
            del self.values[number]

    def _path(self, number):
        return self.folder / AVERAGED_FOLDER / f"{self.stem}-{number:06}.npz"

    def _rank(self, number):
        """A sort key that puts better epochs first, and the later one of equally good epochs."""
        return (0 if self.monitor is None else -self.sign * self.values[number]), -number

    def on_train_end(self, logs=None):
        if not is_chief():
            return
        was_finished = self.values is None  # this fit had no epoch left to train
        if was_finished:
            self._read(math.inf)
            self._remove_others()  # `n` may be smaller now
        paths = states_in(self.folder / AVERAGED_FOLDER, self.stem).values()
        if not paths:
            if was_finished:
                return
            reason = "" if self.monitor is None else f"monitor={self.monitor!r} was never logged, or no number: "
            raise ValueError(f"{reason}{self.folder / AVERAGED_FOLDER} holds nothing to average.")
        average(paths, self.folder / AVERAGE_FILE, overwrite=True)
