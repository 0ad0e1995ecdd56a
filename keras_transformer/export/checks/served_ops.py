"""The ops that a stock TensorFlow Serving has, and a check that a SavedModel uses no others.

A server has the ops of its own TensorFlow, and those of TensorFlow Text 2.12.1, which is built into it. The server's
version of TensorFlow is not known here. But an op that both TensorFlow 2.12.0 and 2.21.0 have is in every server
between the two; 2.12.0 is the oldest TensorFlow for this version of TensorFlow Text. The files `core_ops.txt` and
`text_ops.txt` list these ops, and say how the lists were made.
"""

from functools import cache
from pathlib import Path

TEXT_VERSION = "2.12.1"
HERE = Path(__file__).parent


@cache
def core_ops():
    """The names of TensorFlow's own ops that every server has, as a frozen set.

    Some of them are ops of XLA or call Python. A server refuses these; see `unsupported_ops`.
    """
    return _read_names("core_ops.txt")


@cache
def text_ops():
    """The names of tensorflow-text 2.12.1's ops, as a frozen set."""
    return _read_names("text_ops.txt")


def unsupported_ops(contents):
    """The ops and functions of a SavedModel that a stock server does not run.

    Args:
        contents: `saved_model.Contents`.

    Returns:
        A sorted dictionary of name to reason. It is empty if a stock server runs everything.
    """
    reasons = {op: reason for op in contents.ops if (reason := _why_unsupported(op))}
    for name in contents.must_compile:
        reasons[name] = "must be compiled by XLA (jit_compile=True); a server does this only if a flag tells it to"
    return dict(sorted(reasons.items()))


def require_supported_ops(contents):
    """Raise an error if a stock server would not run a SavedModel.

    Raises:
        ValueError: the server lacks an op. The message names every such op with the reason.
    """
    reasons = unsupported_ops(contents)
    if reasons:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
        raise ValueError(f"A stock TensorFlow Serving would not run {contents.path}:{lines}")


def _why_unsupported(op):
    """The reason why a server does not run an op, or None if it does."""
    if op.startswith("Xla"):
        return "an op of XLA"
    if "PyFunc" in op:
        return "calls Python, which a server does not have"
    if op in core_ops() or op in text_ops():
        return None
    return f"neither an op of TensorFlow since 2.12 nor of tensorflow-text {TEXT_VERSION}, which the server has"


def _read_names(file):
    lines = (HERE / file).read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
