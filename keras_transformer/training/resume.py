"""A run that goes on where it was broken off: all that training depends on, written at some updates and put back."""

import json
import logging

import keras
import numpy as np

from keras_transformer.backend.compat import start_at_epoch
from keras_transformer.files import remove_leftovers
from keras_transformer.training.states import differences, read_state, states_in, write_state
from keras_transformer.training.workers import Workers, is_chief, of_the_first_worker, scope_of

STEM = "step"  # step-000000500.npz is the state after 500 updates
# What Keras' own callbacks count, by their attributes.
COUNTERS = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}

logger = logging.getLogger("keras_transformer")


class Resumption:
    """Writes and reads the states of a run for `Checkpoint`, which calls it from the hooks of `fit`.

    A state holds the variables of the model (those of its random generators too), of the optimizer and, inside an
    epoch, of the metrics; the position in the data; what the callbacks count; and a fingerprint of model, optimizer,
    tokenizer and data.

    Of several workers (`workers_strategy`) the first alone writes and reads states. It hands what it read to the
    others, whose folders are not looked at, and all go on at that position of their own corpus.

    Args:
        folder: of the states, and of nothing else.
        corpus: what `parallel_corpus` returned.
        tokenizer_fingerprint: str.
        every_steps: updates between two states, or None for one after each epoch.
        keep: how many states stay, the newest.
        callbacks: whose counts are kept: those of `COUNTERS`, or with `get_state()` and `set_state(state)`.
    """

    def __init__(self, folder, corpus, tokenizer_fingerprint, every_steps, keep, callbacks):
        for name in ("fingerprint", "position", "report"):
            if not hasattr(corpus, name):
                raise ValueError(f"corpus must be what parallel_corpus returned, got {corpus!r}.")
        for name, value in (("every_steps", every_steps), ("keep", keep)):
            if not ((value is None and name == "every_steps") or (type(value) is int and value >= 1)):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
        for callback in callbacks:
            if type(callback) not in COUNTERS and not hasattr(callback, "set_state"):
                raise ValueError(
                    f"callbacks: a {type(callback).__name__} has no get_state and set_state, and is none of "
                    f"{', '.join(kind.__name__ for kind in COUNTERS)}."
                )
            if getattr(callback, "restore_best_weights", False):
                raise ValueError(
                    "callbacks: EarlyStopping(restore_best_weights=True) holds weights that no state has. Leave that "
                    "out: with monitor=, Checkpoint's model.keras is of the best epoch."
                )
        self.folder, self.position, self.every_steps, self.keep = folder, corpus.position, every_steps, keep
        self.labels = corpus.element_spec[1]
        self.callbacks = list(callbacks)
        names = [type(callback).__name__ for callback in self.callbacks]
        self.fingerprint = {"tokenizer": tokenizer_fingerprint, "data": corpus.fingerprint, "callbacks": names}
        self.restored = self.step = None

    def begin(self, model, epochs):
        """At the start of a `fit` of `epochs`: put back the newest state and return its facts, or None without one.

        Raises:
            ValueError: a state, or a first worker, of another model, optimizer, tokenizer, data or list of callbacks;
                it says which fields differ. States none of which can be read.
        """
        self.model, self.writes = model, is_chief()
        with scope_of(model):
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        if self.writes:
            remove_leftovers(self.folder, f"{STEM}-*.npz")
        self.restored, self.arrays = self._newest() if self.writes else (None, None)
        strategy = getattr(model, "distribute_strategy", None)
        if isinstance(strategy, Workers):
            self._agree_with_the_first_worker(strategy)
        if self.restored is None:
            return None
        self._refuse_another_run(self.restored)
        for kind in ("model", "optimizer"):
            self._assign(kind)
        start_at_epoch(model, self.restored["epoch"])  # as Keras' own BackupAndRestore does
        if any(map(_has_ended, self.callbacks, self.restored["callbacks"])):
            start_at_epoch(model, max(epochs, self.restored["epoch"]))
            logger.warning("EarlyStopping has ended this run after epoch %d: nothing is left.", self.restored["epoch"])
        return self.restored

    def begin_epoch(self, epoch, batches):
        """Let the dataset begin where the epoch does, or where it was broken off."""
        if batches != self.position.batches:
            raise ValueError(
                f"an epoch of fit has {batches} batches and one of the corpus {self.position.batches}: to be resumed, "
                "they must be the same. Leave out steps_per_epoch, and fit on the corpus itself."
            )
        batch = 0
        if self.restored is None and self.step is None:
            self.write(epoch, 0, {})  # before any other file, so that the folder is known as ours
        if self.restored is not None:
            start_at_epoch(self.model, None)  # only this fit
            if epoch != self.restored["epoch"]:
                raise ValueError(
                    f"fit began at epoch {epoch}, the newest state in {self.folder} is of epoch "
                    f"{self.restored['epoch']}. Pass initial_epoch={self.restored['epoch']} to fit."
                )
            batch = self.restored["batch"]
            self._restore_callbacks(self.restored["callbacks"])
            if batch:
                self._pass_over(batch)
            self.restored = self.arrays = None
        self.step = epoch * self.position.batches + batch
        self.position.hold_at(epoch, batch)

    def _pass_over(self, batch):
        """Put back the metrics, and let the epoch's first steps do nothing: they are in the state already."""
        executions, rest = divmod(batch, self.model.steps_per_execution)
        if rest:
            raise ValueError(
                f"the newest state in {self.folder} is of batch {batch}, which is no multiple of "
                f"steps_per_execution={self.model.steps_per_execution}. Compile the model as it was."
            )
        labels = np.zeros([size or 1 for size in self.labels.shape], self.labels.dtype.as_numpy_dtype)
        logits = np.zeros([size or 1 for size in self.model.output.shape], self.model.output.dtype)
        with scope_of(self.model):
            self.model.compute_metrics(None, labels, logits)  # makes their variables
        self.model.reset_metrics()
        self._assign("metrics")
        logs = self.model.get_metrics_result()
        train, passed = self.model.train_function, iter(range(executions - 1))

        def pass_over(*arguments):
            *state, iterator = arguments
            for _ in range(self.model.steps_per_execution):
                next(iterator)  # filled with PAD
            if next(passed, None) is None:
                self.model.train_function = train
            return (logs, *state) if state else logs  # on JAX, steps are given a state and return it

        self.model.train_function = pass_over

    def end_batch(self, epoch, batch, facts):
        """After batch number `batch` of an epoch: write a state if it is time."""
        step = epoch * self.position.batches + min(batch + 1, self.position.batches)
        if step <= self.step:
            return  # passed over
        due = self.model.stop_training or (
            self.every_steps is not None and step // self.every_steps > self.step // self.every_steps
        )
        self.step = step
        if due and batch + 1 < self.position.batches:
            self.write(epoch, batch + 1, facts)

    def end_epoch(self, epoch, facts):
        if self.step >= (epoch + 1) * self.position.batches:  # not where a callback stopped the epoch
            self.write(epoch + 1, 0, facts)

    def end(self):
        """Let passes move the dataset on again."""
        start_at_epoch(self.model, None)
        if self.step is not None:
            self.position.move_to(*divmod(self.step, self.position.batches))

    def write(self, epoch, batch, facts):
        """Write the state at the start of a batch, and remove the oldest. Every worker must call it."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # within an epoch the variables are empty there
        kinds = self._variables(with_metrics=batch > 0)
        arrays = {
            f"{kind}/{number}": keras.ops.convert_to_numpy(variable)
            for kind, variables in kinds.items()
            for number, variable in enumerate(variables)
        }
        if not self.writes:
            return
        facts = {
            "epoch": epoch,
            "batch": batch,
            **facts,
            "callbacks": [_get_state(callback) for callback in self.callbacks],
            "fingerprint": self._fingerprint(),
            "paths": {kind: [variable.path for variable in variables] for kind, variables in kinds.items()},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_state(self.folder / f"{STEM}-{epoch * self.position.batches + batch:09}.npz", facts, arrays)
        for path in list(states_in(self.folder, STEM).values())[: -self.keep]:
            path.unlink()

    def _variables(self, with_metrics):
        kinds = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        return {**kinds, "metrics": self.model.metrics_variables} if with_metrics else kinds

    def _fingerprint(self):
        """What must be the same for a run to go on, as JSON gives it back."""
        config = {key: value for key, value in self.model.get_config().items() if key != "name"}
        optimizer = type(self.model.optimizer).__name__
        return json.loads(json.dumps({"model": config, "optimizer": optimizer, **self.fingerprint}))

    def _agree_with_the_first_worker(self, strategy):
        """Take the state that it has read, if it trains as this worker does."""
        own = self._fingerprint()
        facts = {"fingerprint": own, "state": self.restored}
        facts, self.arrays = of_the_first_worker(strategy, facts, self.arrays)
        if found := differences(facts["fingerprint"], own):
            raise ValueError(
                f"the first worker of TF_CONFIG trains something else: {'; '.join(found)}. Start the same program, "
                "with the same files, on all."
            )
        self.restored = facts["state"]

    def _refuse_another_run(self, facts):
        found = differences(facts["fingerprint"], self._fingerprint())
        if found:
            raise ValueError(
                f"the newest state in {self.folder} is of another run: {'; '.join(found)}. "
                "Start the command that wrote it, or choose another folder."
            )

    def _newest(self):
        """Facts and arrays of the newest whole state, or (None, None) where there is no state at all."""
        left, failures = list(states_in(self.folder, STEM).values()), []
        while left:
            try:
                return read_state(left.pop())
            except ValueError as error:
                failures.append(error)
                if left:
                    logger.warning("%s The state before it is taken.", error)
        if failures:  # to begin anew would replace what the run has written
            raise ValueError(
                f"none of the {len(failures)} states in {self.folder} can be read, the newest because: {failures[0]}. "
                f"Put a copy of one back; to begin anew, choose another folder, or remove {self.folder.parent}."
            ) from failures[0]
        return None, None

    def _assign(self, kind):
        """Give variables their stored values; ValueError where the shapes differ, as those of other metrics may."""
        variables = self._variables(with_metrics=True)[kind]
        there = {name: list(each.shape) for name, each in self.arrays.items() if name.startswith(f"{kind}/")}
        here = {f"{kind}/{number}": list(variable.shape) for number, variable in enumerate(variables)}
        if found := differences(there, here):
            raise ValueError(f"the newest state in {self.folder} has other variables: {'; '.join(found[:5])}.")
        with scope_of(self.model):
            for name, variable in zip(here, variables, strict=True):
                variable.assign(self.arrays[name])

    def _restore_callbacks(self, states):
        for callback, state in zip(self.callbacks, states, strict=True):
            if type(callback) in COUNTERS:
                vars(callback).update(state)
            else:
                callback.set_state(state)


def _has_ended(callback, state):
    """Whether it is an `EarlyStopping` that has ended the run to which a state belongs, and would again."""
    return (
        type(callback) is keras.callbacks.EarlyStopping
        and state["stopped_epoch"] > 0
        and callback.patience <= state["wait"]
    )


def _get_state(callback):
    if type(callback) not in COUNTERS:
        return callback.get_state()
    counters = {name: getattr(callback, name) for name in COUNTERS[type(callback)]}
    return {name: value.item() if hasattr(value, "item") else value for name, value in counters.items()}
