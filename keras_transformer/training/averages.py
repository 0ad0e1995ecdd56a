"""Average the weights of the last or the best epochs when training ends."""

import math
from pathlib import Path

import keras

from keras_transformer.files import AVERAGE_FILE, AVERAGED_FOLDER
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath, check_target, checked_path
from keras_transformer.training.averaging import average
from keras_transformer.training.monitors import sign_of
from keras_transformer.training.states import read_state, states_in, write_state
from keras_transformer.training.workers import is_chief

STEM = "epoch"  # epoch-000003.npz holds the weights after the third epoch


class AverageWeights(keras.callbacks.Callback):
    """Writes the mean of the last or the best epochs' weights as `average.keras` when training ends.

    The folder `averaged` holds the weights of the epochs that are averaged so far. So a run that resumes (`Checkpoint`
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
        n: int, how many epochs to average.
        monitor: the name of a logged value. The `n` epochs with its best values are averaged, and an epoch without the
            value is left out. None averages the last `n` epochs.
        mode: "min" or "max", the best value of `monitor`. "auto" means "max" if the name ends in accuracy, bleu or
            chrf, otherwise "min".

    Raises:
        ValueError: `n` is below 1, or `mode` is unknown. At the end of training: `monitor` was never logged.
        OSError: when `fit` starts, the folder cannot be written in. Later: a file cannot be written, for example on a
            full disk. The message names the path and the free space. Older files are intact.
    """

    adds_to_logs = ()  # and so `fit` checks the monitor

    def __init__(self, folder: AnyPath, n: int = 5, monitor: str | None = None, mode: str = "auto") -> None:
        super().__init__()
        self.folder, self.n, self.monitor = Path(checked_path(folder, "folder")), whole("n", n), monitor
        self.sign = sign_of(monitor, mode)
        self.values = None  # {epoch, counted from 1: value of the monitor}, once the first epoch begins

    def on_train_begin(self, logs=None):
        self.values = None
        if is_chief():
            check_target(self.folder / AVERAGED_FOLDER, "folder", "folder")
            check_target(self.folder / AVERAGE_FILE, "file", "folder")

    def on_epoch_begin(self, epoch, logs=None):
        if self.values is not None or not is_chief():
            return
        self.values = {}
        for number, path in states_in(self.folder / AVERAGED_FOLDER, STEM).items():
            if number > epoch:  # this fit repeats the epoch, or the file is of an earlier run
                path.unlink()
            else:
                self.values[number] = read_state(path, wanted=lambda name: False)[0]["value"]

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor, math.nan)
        if not is_chief() or (self.monitor is not None and math.isnan(value)):
            return
        variables = self.model.variables
        arrays = {f"model/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
        facts = {
            "value": float(value),
            "fingerprint": {"model": self.model.get_config()},
            "paths": {"model": [variable.path for variable in variables]},
        }
        (self.folder / AVERAGED_FOLDER).mkdir(parents=True, exist_ok=True)
        write_state(self._path(epoch + 1), facts, arrays)
        self.values[epoch + 1] = float(value)
        for number in sorted(self.values, key=self._rank)[self.n :]:
            self._path(number).unlink()
            del self.values[number]

    def _path(self, number):
        return self.folder / AVERAGED_FOLDER / f"{STEM}-{number:06}.npz"

    def _rank(self, number):
        """A sort key that puts better epochs first, and the later one of equally good epochs."""
        return (0 if self.monitor is None else -self.sign * self.values[number]), -number

    def on_train_end(self, logs=None):
        if not is_chief():
            return
        paths = states_in(self.folder / AVERAGED_FOLDER, STEM).values()
        if not paths:
            if self.values is None:  # this fit had no epoch left to train
                return
            reason = "" if self.monitor is None else f"monitor={self.monitor!r} was never logged, or no number: "
            raise ValueError(f"{reason}{self.folder / AVERAGED_FOLDER} holds nothing to average.")
        average(paths, self.folder / AVERAGE_FILE, overwrite=True)
