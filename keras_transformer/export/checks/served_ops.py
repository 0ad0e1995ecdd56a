"""Which ops a stock TensorFlow Serving has.

Its own ops are those of its TensorFlow; TensorFlow Text is built into it at version 2.12.1. What can be known
without asking which TensorFlow that is: an op that TensorFlow 2.12.0, the oldest for this Text, and 2.21.0 both
have is in every server between. The two lists beside this file say how they were made.
"""

from functools import cache
from pathlib import Path

TEXT_VERSION = "2.12.1"
HERE = Path(__file__).parent


@cache
def core_ops():
    """The frozen set of TensorFlow's own ops that every server has, but for the refused kinds."""
    return _names("core_ops.txt")


@cache
def text_ops():
    """The frozen set of tensorflow-text 2.12.1's ops."""
    return _names("text_ops.txt")


def lacking(contents):
    """What of a SavedModel a stock server does not run.

    Args:
        contents: `saved_model.Contents`.

    Returns:
        A dictionary of op or function to the reason, sorted; empty where a stock server runs it all.
    """
    found = {op: reason for op in contents.ops if (reason := _why_not(op))}
    for name in contents.must_compile:
        found[name] = "must be compiled by XLA (jit_compile=True), which a server does only when started for it"
    return dict(sorted(found.items()))


def require_served(contents):
    """Refuse a SavedModel that a stock server would not run.

    Raises:
        ValueError: an op that such a server lacks; the message names every one, and why.
    """
    found = lacking(contents)
    if found:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in found.items())
        raise ValueError(f"A stock TensorFlow Serving would not run {contents.path}:{lines}")


def _why_not(op):
    if op.startswith("Xla"):
        return "an op of XLA"
    if "PyFunc" in op:
        return "calls Python, which a server does not have"
    if op in core_ops() or op in text_ops():
        return None
    return f"neither an op of TensorFlow since 2.12 nor of tensorflow-text {TEXT_VERSION}, which the server has"


def _names(file):
    lines = (HERE / file).read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
