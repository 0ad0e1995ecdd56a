"""The mean of the last or the best epochs' weights, at the end of training."""

import math
from pathlib import Path

import keras

from keras_transformer.files import AVERAGE_FILE, AVERAGED
from keras_transformer.training.averaging import average
from keras_transformer.training.monitors import sign_of
from keras_transformer.training.states import read_state, states_in, write_state
from keras_transformer.training.workers import is_chief

STEM = "epoch"


class AverageWeights(keras.callbacks.Callback):
    """Writes the mean of the last or the best epochs' weights as `average.keras` when training ends.

    Each epoch's weights lie in the folder `averaged` until others push them out, so that a run that was broken off
    and goes on (`Checkpoint` with `corpus`) ends with the same mean.

    Args:
        folder: the training folder.
        n: int, how many epochs.
        monitor: name of a logged value whose `n` best epochs are taken; an epoch without it is passed over. None takes
            the last `n`.
        mode: "min" or "max", which value of it is best; "auto" is "max" where the name ends in accuracy, bleu or
            chrf, and otherwise "min".

    Raises:
        ValueError: an `n` below 1, another mode; at the end of training, a `monitor` that was never logged.
        OSError: a full disk, with the path and the free space; what was written before is intact.
    """

    def __init__(self, folder, n=5, monitor=None, mode="auto"):
        super().__init__()
        if type(n) is not int or n < 1:
            raise ValueError(f"n must be a whole number of at least 1, got {n!r}.")
        self.folder, self.n, self.monitor = Path(folder), n, monitor
        self.sign = sign_of(monitor, mode)
        self.values = None

    def on_train_begin(self, logs=None):
        self.values = None

    def on_epoch_begin(self, epoch, logs=None):
        if self.values is not None or not is_chief():
            return
        self.values = {}
        for number, path in states_in(self.folder / AVERAGED, STEM).items():
            if number > epoch:  # of a part of the run that comes again, or of an earlier run
                path.unlink()
            else:
                self.values[number] = read_state(path, wanted=lambda name: False)[0]["value"]

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor, math.nan)
        if not is_chief() or (self.monitor is not None and math.isnan(value)):
            return
        arrays = {f"model/{i}": keras.ops.convert_to_numpy(each) for i, each in enumerate(self.model.variables)}
        facts = {"value": float(value), "fingerprint": {"model": self.model.get_config()}}
        (self.folder / AVERAGED).mkdir(parents=True, exist_ok=True)
        write_state(self._path(epoch + 1), facts, arrays)
        self.values[epoch + 1] = float(value)
        for number in sorted(self.values, key=self._rank)[self.n :]:
            self._path(number).unlink()
            del self.values[number]

    def _path(self, number):
        return self.folder / AVERAGED / f"{STEM}-{number:06}.npz"

    def _rank(self, number):
        """Lowest for the epochs to keep: the best, the later of equals."""
        return (0 if self.monitor is None else -self.sign * self.values[number]), -number

    def on_train_end(self, logs=None):
        if not is_chief():
            return
        paths = states_in(self.folder / AVERAGED, STEM).values()
        if not paths:
            if self.values is None:  # no epoch was left to do
                return
            why = "" if self.monitor is None else f"monitor={self.monitor!r} was never logged, or no number: "
            raise ValueError(f"{why}{self.folder / AVERAGED} holds nothing to average.")
        average(paths, self.folder / AVERAGE_FILE, overwrite=True)
