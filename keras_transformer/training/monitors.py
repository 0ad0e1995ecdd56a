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
