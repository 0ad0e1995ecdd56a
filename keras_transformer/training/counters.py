"""Save and restore what callbacks count over epochs, as part of a run's states."""

import keras

# The attributes in which Keras' own callbacks count.
KERAS_COUNTERS = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}
WATCHED = ("monitor", "mode")  # of these, and written with them


def check_callbacks(callbacks):
    """Refuse callbacks whose counts cannot be saved.

    Raises:
        ValueError: a callback is none of `KERAS_COUNTERS` and lacks `get_state` and `set_state`, or it keeps weights.
    """
    for callback in callbacks:
        if type(callback) not in KERAS_COUNTERS and not hasattr(callback, "set_state"):
            raise ValueError(
                f"callbacks: a {type(callback).__name__} has no get_state and set_state, and is none of "
                f"{', '.join(kind.__name__ for kind in KERAS_COUNTERS)}."
            )
        if getattr(callback, "restore_best_weights", False):
            raise ValueError(
                "callbacks: EarlyStopping(restore_best_weights=True) holds weights, which no state saves. Leave the "
                "option out: with monitor=, Checkpoint keeps the best epoch in model.keras."
            )


def read_counters(callback):
    """Return what a callback has counted, as JSON can hold it."""
    if type(callback) not in KERAS_COUNTERS:
        return callback.get_state()
    counters = {name: getattr(callback, name) for name in (*KERAS_COUNTERS[type(callback)], *WATCHED)}
    return {name: value.item() if hasattr(value, "item") else value for name, value in counters.items()}


def check_counters(callback, counters):
    """Refuse to compare the values of one quantity with the best of another.

    Args:
        callback: a callback of this run.
        counters: its counters in the state from which the run resumes.

    Raises:
        ValueError: a callback of Keras watches another value than in the state, or has another `mode`.
    """
    if type(callback) not in KERAS_COUNTERS:
        return
    before, now = ({name: pick(name) for name in WATCHED} for pick in (counters.get, vars(callback).get))
    if before not in (now, dict.fromkeys(WATCHED)):  # older versions have not written them
        first, second = (", ".join(f"{name}={value!r}" for name, value in each.items()) for each in (before, now))
        raise ValueError(
            f"callbacks: {type(callback).__name__} began with {first}, and is resumed with {second}. Their values "
            "cannot be compared. Give the same monitor and mode, or train in another folder."
        )


def restore_counters(callback, counters):
    """Give a callback the counters that `read_counters` returned."""
    if type(callback) in KERAS_COUNTERS:
        vars(callback).update({name: counters[name] for name in KERAS_COUNTERS[type(callback)]})
    else:
        callback.set_state(counters)


def has_ended_run(callback, counters):
    """Whether a callback is an `EarlyStopping` that ended the run, and would end it again with its patience of today.

    Args:
        callback: a callback of this run.
        counters: its counters in the state from which the run resumes.
    """
    return (
        type(callback) is keras.callbacks.EarlyStopping
        and counters["stopped_epoch"] > 0
        and callback.patience <= counters["wait"]
    )
