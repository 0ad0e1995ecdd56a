"""Which value of a logged name is best: one rule for all that choose epochs."""

HIGHER_IS_BETTER = ("accuracy", "bleu", "chrf")


def sign_of(monitor, mode="auto"):
    """1 where the highest value is best, -1 where the lowest is.

    Args:
        monitor: name of a logged value, or None.
        mode: "max", "min", or "auto", which is "max" where the name ends in accuracy, bleu or chrf, and else "min".

    Raises:
        ValueError: another mode.
    """
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
    if mode == "auto":
        mode = "max" if (monitor or "").endswith(HIGHER_IS_BETTER) else "min"
    return 1 if mode == "max" else -1
