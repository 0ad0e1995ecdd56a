"""What `fit` asks of its callbacks before the first step, and what it tells them when it ends by an exception."""

import re
import warnings

import keras

from keras_transformer.backend import compat
from keras_transformer.train_step.data_checks import is_tensorflow_dataset

UNKNOWN = -2  # the cardinality of a dataset whose number of batches TensorFlow cannot know
# The callbacks of Keras that watch a logged value.
WATCHING = (keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint, keras.callbacks.ReduceLROnPlateau)
ADDED_BY_KERAS = {  # the values that callbacks of Keras add to the logs of an epoch
    keras.callbacks.LearningRateScheduler: ("learning_rate",),
    keras.callbacks.ReduceLROnPlateau: ("learning_rate",),
}


def callbacks_of(callbacks):
    """The callbacks in the argument `callbacks` of `fit`, as a flat list."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks or [])


def with_check(callbacks, has_validation):
    """The argument `callbacks` of `fit` with a `MonitorCheck` before the others."""
    if isinstance(callbacks, keras.callbacks.CallbackList):  # the caller has made it, and keeps it
        return callbacks
    others = callbacks_of(callbacks)
    return [MonitorCheck(others, has_validation), *others]


def check_whole_epochs(given):
    """Refuse an endless dataset beside a `Checkpoint` that resumes: each epoch of it must be one pass over the corpus.

    Args:
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: the dataset has another number of batches than the corpus.
    """
    if not is_tensorflow_dataset(given.get("x")) or (count := int(given["x"].cardinality())) == UNKNOWN:
        return
    for callback in callbacks_of(given.get("callbacks")):
        position = getattr(getattr(callback, "resumption", None), "position", None)
        if position is not None and count != position.batches:
            batches = "endlessly many" if count < 0 else count
            raise ValueError(
                f"x has {batches} batches, and the corpus of {type(callback).__name__} has {position.batches}. To "
                "resume, an epoch must be one pass over the corpus: give x=corpus, without repeat() and "
                "steps_per_epoch."
            )


def tell_of_interruption(callbacks, error):
    """Call `on_interrupt(error)` of each callback that has it. Keras calls no hook when `fit` raises."""
    for callback in callbacks_of(callbacks):
        if hasattr(callback, "on_interrupt"):
            callback.on_interrupt(error)


class MonitorCheck(keras.callbacks.Callback):
    """Refuses, before the first step, a callback that watches a value which nothing logs before the callback.

    A callback of an unknown class may log any value. After one, the check trusts a name that it does not know.

    Args:
        callbacks: the other callbacks of this `fit`, in their order.
        has_validation: whether `fit` got validation data.

    Raises:
        ValueError: at the start of `fit`. The message names the callback and the monitor, and lists what is logged, or
            names the callback that must come first. Also a callback that would set the rate of a schedule, one of
            Keras that does not know if higher values are better, and one whose counts are written before it counts.
    """

    def __init__(self, callbacks, has_validation):
        super().__init__()
        self.callbacks, self.has_validation = callbacks, has_validation

    def on_train_begin(self, logs=None):
        known = self._logged_by_fit()
        has_own_steps = known is None
        for place, callback in enumerate(self.callbacks):
            monitor = watched_value(callback)
            if monitor is not None and known is not None:
                if monitor not in known:
                    self._refuse(callback, monitor, known, self.callbacks[place + 1 :])
                accept_missing(monitor)
                if hasattr(callback, "is_known"):
                    callback.is_known = True
            if monitor is not None and not has_own_steps:  # with such, metrics may be made in the first step
                self._refuse_unknown_direction(callback, monitor)
            self._refuse_to_set_a_schedule(callback)
            self._refuse_to_count_later(callback, self.callbacks[:place])
            added = added_values(callback)
            known = None if known is None or added is None else known | dict.fromkeys(added)

    def _refuse_unknown_direction(self, callback, monitor):
        """Keras would do so after the first epoch."""
        if isinstance(callback, WATCHING) and not compat.finds_direction(callback, self.model):
            raise ValueError(
                f"callbacks: {type(callback).__name__}(monitor={monitor!r}) needs mode: Keras does not know this "
                "value. Give mode='max' if higher is better, as for BLEU, else mode='min'."
            )

    def _refuse_to_set_a_schedule(self, callback):
        """Keras would do so when the rate is first set: at a plateau, maybe after days."""
        schedule = compat.learning_rate_of(self.model.optimizer)
        is_schedule = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
        if is_schedule and isinstance(callback, tuple(ADDED_BY_KERAS)):
            name = type(callback).__name__
            raise ValueError(
                f"callbacks: {name} sets the learning rate, and the optimizer's is a schedule, "
                f"{type(schedule).__name__}. Give the optimizer a number, or leave {name} out."
            )

    def _refuse_to_count_later(self, callback, earlier):
        """A `Checkpoint` writes what the callbacks before it have counted in this epoch."""
        for other in getattr(callback, "counting", ()):
            name, kept = type(callback).__name__, type(other).__name__
            if not any(other is each for each in self.callbacks):
                raise ValueError(
                    f"callbacks: {name}(callbacks=...) counts {kept}, which fit does not have. Give it to fit, too."
                )
            if not any(other is each for each in earlier):
                raise ValueError(
                    f"callbacks: {name} comes before {kept}, whose counts it writes. Put {kept} before it."
                )

    def _logged_by_fit(self):
        """The names that `fit` itself logs, as the keys of a dictionary; None if a model has steps of its own."""
        steps = type(self.model).train_step, type(self.model).test_step
        if not all(step.__module__.startswith("keras_transformer.") for step in steps):
            return None
        compat.compiled_metrics(self.model, keras.KerasTensor((None, None), "int32"), self.model.output)  # builds them
        names = list(self.model.get_metrics_result())
        return dict.fromkeys([*names, *(f"val_{name}" for name in names if self.has_validation)])

    def _refuse(self, callback, monitor, known, later):
        watching = f"callbacks: {type(callback).__name__}(monitor={monitor!r})"
        adding = [type(other).__name__ for other in later if monitor in (added_values(other) or ())]
        if adding:
            raise ValueError(f"{watching} comes before {adding[0]}, which logs this value. Put {adding[0]} before it.")
        hint = " Pass validation_data to fit for values of validation." * (
            not self.has_validation and monitor.startswith("val_")
        )
        raise ValueError(f"{watching}: this value is not logged. Logged are {', '.join(sorted(known))}.{hint}")


def accept_missing(monitor):
    """Let Keras' callbacks be silent in an epoch without a value that other epochs have.

    With `validation_freq` or `ValidationBLEU(every=2)` that is meant. Keras would warn after each such epoch, and
    `PYTHONWARNINGS=error` would end the training.
    """
    warnings.filterwarnings("ignore", rf".*\b{re.escape(monitor)}`? (which is not )?available", UserWarning)


def watched_value(callback):
    """The name of the logged value that a callback of Keras or of this package watches, or None."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_best_only:
        return None
    is_known = isinstance(callback, WATCHING) or hasattr(callback, "adds_to_logs")
    monitor = getattr(callback, "monitor", None) if is_known else None
    return monitor if isinstance(monitor, str) else None


def added_values(callback):
    """The names that a callback adds to the logs of an epoch; None if that is not known."""
    kind = type(callback)
    is_of_keras = kind.__module__.split(".")[0] == "keras" and kind is not keras.callbacks.LambdaCallback
    if kind.__module__.split(".")[0] == "keras_transformer":
        return getattr(callback, "adds_to_logs", ())
    return ADDED_BY_KERAS.get(kind, ()) if is_of_keras else None
