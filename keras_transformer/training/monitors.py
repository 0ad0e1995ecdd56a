"""The rule that says which value of a logged quantity is the best. Every callback that compares epochs uses it."""

HIGHER_IS_BETTER = ("accuracy", "bleu", "chrf")


def sign_of(monitor, mode="auto"):
    """Return 1 if the highest value of a logged quantity is the best, and -1 if the lowest is.

    Args:
        monitor: the name of the quantity, or None.
        mode: "max", "min" or "auto". "auto" means "max" if the name ends in accuracy, bleu or chrf, otherwise "min".

    Raises:
        TypeError: the monitor is no string.
        ValueError: another mode.
    """
    if monitor is not None and not isinstance(monitor, str):
        raise TypeError(f"monitor must be the name of a logged value, for example 'val_perplexity', got {monitor!r}.")
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
    if mode == "auto":
        mode = "max" if (monitor or "").endswith(HIGHER_IS_BETTER) else "min"
    return 1 if mode == "max" else -1


def check_same_monitor(callback, facts, folder):
    """Refuse to compare the values of one quantity with the best of another, in a run that is resumed.

    Args:
        callback: has `monitor` and `sign`.
        facts: a dictionary with those of the run, if it was written with them.
        folder: that of the run.

    Raises:
        ValueError: they differ.
    """
    now = callback.monitor, callback.sign
    before = facts.get("monitor", callback.monitor), facts.get("sign", callback.sign)
    if before != now:
        first, second = (f"monitor={name!r}, mode={'max' if sign > 0 else 'min'!r}" for name, sign in (before, now))
        raise ValueError(
            f"{type(callback).__name__}: the run in {folder} began with {first}, and is resumed with {second}. Their "
            "values cannot be compared. Give the same monitor and mode, or another folder."
        )
