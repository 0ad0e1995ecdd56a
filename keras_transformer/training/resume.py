"""Resume an interrupted run: write states of it at some updates, and restore the newest one."""

import inspect
import json
import logging

import numpy as np

from keras_transformer.backend.compat import start_at_epoch
from keras_transformer.files import explained_disk_errors, json_text, remove_leftovers
from keras_transformer.inputs.numbers import whole
from keras_transformer.training.counters import (
    check_callbacks,
    check_counters,
    has_ended_run,
    read_counters,
    restore_counters,
)
from keras_transformer.training.nan import check_weights
from keras_transformer.training.skipping import skip_steps, stop_skipping
from keras_transformer.training.snapshots import restore_snapshot, take_snapshot
from keras_transformer.training.states import differences, read_state, states_in, write_state
from keras_transformer.training.sums import updates
from keras_transformer.training.variables import canonical_paths
from keras_transformer.training.workers import Workers, broadcast, is_chief, strategy_scope

STEM = "step"  # step-000000500.npz is the state after 500 updates

logger = logging.getLogger("keras_transformer")


class Resumption:
    """Writes and restores the states of a run. `Checkpoint` calls it from the hooks of `fit`.

    A state holds the variables of the model (with its random generators) and of the optimizer, the position in the
    data, the counters of the callbacks, and a fingerprint of model, optimizer, tokenizer and data. A state inside an
    epoch also holds the variables of the metrics.

    Of several workers (`workers_strategy`) only the first writes and reads states. It sends the newest state to the
    others, and each resumes at that position of its own corpus. Nobody reads the folders of the others.

    Args:
        folder: a `Path` that holds nothing but states.
        corpus: the result of `parallel_corpus`.
        tokenizer_fingerprint: str, or {"source": str, "target": str} of a `TokenizerPair`.
        every_steps: the number of updates between two states. None writes one after each epoch.
        keep: how many of the newest states to keep.
        callbacks: the callbacks whose counters are saved; see `counters.py`.
    """

    def __init__(self, folder, corpus, tokenizer_fingerprint, every_steps, keep, callbacks):
        for name in ("fingerprint", "position", "report"):
            if not hasattr(corpus, name):
                raise ValueError(f"corpus must be what parallel_corpus returned, got {corpus!r}.")
        if getattr(corpus, "tokenizer_fingerprint", None) not in (None, tokenizer_fingerprint):
            raise ValueError("tokenizer differs from that of corpus. Pass the one that parallel_corpus got.")
        every_steps = None if every_steps is None else whole("every_steps", every_steps)
        keep = whole("keep", keep)
        self.callbacks = list(callbacks)
        check_callbacks(self.callbacks)
        self.folder, self.position, self.every_steps, self.keep = folder, corpus.position, every_steps, keep
        self.labels = corpus.element_spec[1]
        names = [type(callback).__name__ for callback in self.callbacks]
        self.fingerprint = {"tokenizer": tokenizer_fingerprint, "data": corpus.fingerprint, "callbacks": names}
        self.model = self.restored = self.step = None
        self.newest = None  # the path of the newest state that this `fit` has read or written

    def begin(self, model, epochs):
        """Restore the newest state when a `fit` of `epochs` starts, and return its facts, or None without a state.

        Raises:
            ValueError: the state, or the first worker, has another model, optimizer, tokenizer, data or list of
                callbacks (the message names the fields), or none of the states can be read.
        """
        self.model, self.writes, self.newest = model, is_chief(), None
        stop_skipping(model)
        with strategy_scope(model):
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        canonical_paths([variable.path for variable in model.variables])  # raises before training, not at a restart
        if self.writes:
            remove_leftovers(self.folder, f"{STEM}-*.npz")
        self.restored, self.arrays = self._read_newest() if self.writes else (None, None)
        strategy = getattr(model, "distribute_strategy", None)
        if isinstance(strategy, Workers):
            self._take_state_of_first_worker(strategy)
        if self.restored is None:
            return None
        self._check_fingerprint()
        for callback, counters in zip(self.callbacks, self.restored["callbacks"], strict=True):
            check_counters(callback, counters)
        for kind in ("model", "optimizer"):
            self._restore(kind)
        start_at_epoch(model, self.restored["epoch"])  # as Keras' own BackupAndRestore does
        ended = any(map(has_ended_run, self.callbacks, self.restored["callbacks"]))
        if ended:
            start_at_epoch(model, max(epochs, self.restored["epoch"]))
        if self.writes:
            logger.warning("%s", self._where(epochs, ended))
        return self.restored

    def _where(self, epochs, ended):
        """From where the run resumes, or that it is finished, in one line."""
        epoch, batch = self.restored["epoch"], self.restored["batch"]
        if ended:
            return f"This run is finished: EarlyStopping ended it after epoch {epoch}. Nothing is left to train."
        if epoch >= epochs:
            return f"This run is finished: {self.newest} is of the end of epoch {epoch}, and fit has epochs={epochs}."
        place = f"after batch {batch} of {self.position.batches}" if batch else "at its beginning"
        return (
            f"Training resumes from {self.newest}: in epoch {epoch + 1} of {epochs}, {place}, after update "
            f"{updates(self.model):,}."
        )

    def begin_epoch(self, epoch, batches):
        """Let the dataset begin where the epoch begins, or where the run was interrupted in it."""
        if batches != self.position.batches:
            raise ValueError(
                f"an epoch of fit has {batches} batches and one of the corpus {self.position.batches}: to resume, "
                "they must be the same. Leave out steps_per_epoch, and fit on the corpus itself."
            )
        batch = 0
        if self.restored is not None:
            batch = self._resume_epoch(epoch)
        elif self.step is None:
            self.write(epoch, 0, {})  # the first file of the folder, which then shows whose folder it is
        self.step = epoch * self.position.batches + batch
        self.position.hold_at(epoch, batch)

    def _resume_epoch(self, epoch):
        """Restore counters and metrics, and return the first batch of the epoch that is not in the state."""
        start_at_epoch(self.model, None)  # a later fit starts where its own arguments say
        if epoch != self.restored["epoch"]:
            raise ValueError(
                f"fit began at epoch {epoch}, the newest state in {self.folder} is of epoch "
                f"{self.restored['epoch']}. Pass initial_epoch={self.restored['epoch']} to fit."
            )
        batch = self.restored["batch"]
        for callback, counters in zip(self.callbacks, self.restored["callbacks"], strict=True):
            restore_counters(callback, counters)
        if batch:
            self._restore_metrics(batch)
            skip_steps(self.model, batch, self.model.get_metrics_result())
        self.restored = self.arrays = None
        return batch

    def _restore_metrics(self, batch):
        steps = self.model.steps_per_execution
        if batch % steps:
            raise ValueError(
                f"the newest state in {self.folder} is of batch {batch}, which is no multiple of "
                f"steps_per_execution={steps}. Compile the model as it was."
            )
        labels = np.zeros([size or 1 for size in self.labels.shape], self.labels.dtype.as_numpy_dtype)
        logits = np.zeros([size or 1 for size in self.model.output.shape], self.model.output.dtype)
        with strategy_scope(self.model):
            self.model.compute_metrics(None, labels, logits)  # creates the variables of the metrics
        self.model.reset_metrics()
        self._restore("metrics")

    def end_batch(self, epoch, batch, facts):
        """Write a state after batch number `batch` of an epoch, if one is due."""
        step = epoch * self.position.batches + min(batch + 1, self.position.batches)
        if step <= self.step:
            return  # a skipped step
        is_due = self.model.stop_training or (
            self.every_steps is not None and step // self.every_steps > self.step // self.every_steps
        )
        self.step = step
        if is_due and batch + 1 < self.position.batches:
            self.write(epoch, batch + 1, facts)

    def end_epoch(self, epoch, facts):
        """Write a state after an epoch, unless a callback stopped training inside it."""
        if self.step >= (epoch + 1) * self.position.batches:
            self.write(epoch + 1, 0, facts)

    def end(self):
        """Let the dataset continue from here in later passes, which move it forward again."""
        start_at_epoch(self.model, None)
        if self.step is not None:
            self.position.move_to(*divmod(self.step, self.position.batches))

    def write(self, epoch, batch, facts):
        """Write the state before a batch of an epoch, and remove the oldest states. Every worker must call it."""
        arrays, paths = take_snapshot(self.model, with_metrics=batch > 0)
        check_weights(self.model, self.folder)
        if not self.writes:
            return
        facts = {
            "epoch": epoch,
            "batch": batch,
            **facts,
            "callbacks": [read_counters(callback) for callback in self.callbacks],
            "fingerprint": self._fingerprint(),
            "paths": paths,
        }
        path = self.folder / f"{STEM}-{epoch * self.position.batches + batch:09}.npz"
        with explained_disk_errors(path, "The states before are intact."):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_state(path, facts, arrays)
        self.newest = path
        for path in list(states_in(self.folder, STEM).values())[: -self.keep]:
            path.unlink()

    def _restore(self, kind):
        try:
            restore_snapshot(self.model, kind, self.arrays, self.restored["paths"])
        except ValueError as error:
            raise ValueError(f"the newest state in {self.folder} has other variables: {error}.") from error

    def _fingerprint(self):
        """What must be the same when the run resumes, as it looks after a round trip through JSON."""
        config = {key: value for key, value in self.model.get_config().items() if key != "name"}
        optimizer = type(self.model.optimizer).__name__
        return json.loads(json_text({"model": config, "optimizer": optimizer, **self.fingerprint}))

    def _check_fingerprint(self):
        there, here = self.restored["fingerprint"], self._fingerprint()
        later = defaults_of_later_arguments(type(self.model), there["model"], here["model"])
        if fields := differences({**there, "model": {**later, **there["model"]}}, here):
            raise ValueError(
                f"the newest state in {self.folder} is of another run: {'; '.join(fields)}. "
                "Start the command that wrote it, or choose another folder."
            )

    def _take_state_of_first_worker(self, strategy):
        """Receive the state that the first worker has read, and check that it trains the same as this worker."""
        own = self._fingerprint()
        facts, self.arrays = broadcast(strategy, {"fingerprint": own, "state": self.restored}, self.arrays)
        if fields := differences(facts["fingerprint"], own):
            raise ValueError(
                f"the first worker of TF_CONFIG trains something else: {'; '.join(fields)}. Start the same program, "
                "with the same files, on all."
            )
        self.restored = facts["state"]

    def _read_newest(self):
        """The facts and arrays of the newest readable state, or (None, None) if there is no state at all."""
        paths, errors = list(states_in(self.folder, STEM).values()), []
        while paths:
            try:
                self.newest = paths.pop()
                return read_state(self.newest)
            except ValueError as error:
                errors.append(error)
                if paths:
                    logger.warning("%s The state before it is taken.", error)
        if errors:  # to start from the beginning would replace the files of the run
            raise ValueError(
                f"none of the {len(errors)} states in {self.folder} can be read, the newest because: {errors[0]}. "
                f"Put a copy of one back. To start from the beginning, choose another folder, or remove "
                f"{self.folder.parent}."
            ) from errors[0]
        return None, None


def defaults_of_later_arguments(model_class, there, here):
    """The arguments that a model has by now, and did not have when a state was written, with their defaults.

    Args:
        model_class: a class of models.
        there, here: the configurations of the model in the state and of the model now.
    """
    parameters = inspect.signature(model_class).parameters
    later = [name for name in here if name not in there and name in parameters]
    return {name: parameters[name].default for name in later}
