"""Keep TensorFlow's start-up notes off the screen, and the traceback after Ctrl-C.

TensorFlow and SentencePiece print some lines while they load, before any setting of theirs can stop them. A second
process reads what native code writes to standard error, and leaves these lines out. Every other line passes. Python's
own standard error does not go through it.
"""

import os
import subprocess
import sys
from pathlib import Path

# A part of each line that is left out.
NOTES = [
    "All log messages before absl::InitializeLog() is called are written to STDERR",
    "oneDNN custom operations are on",
    "only on platforms with AVX-512. Falling back to the default Eigen-based implementation",
    "This TensorFlow binary is optimized to use available CPU instructions",
    "To enable the following instructions:",
    "precompiled_charsmap is empty. use identity normalization",
    "NodeDef mentions attribute use_unbounded_threadpool",  # of datasets under op determinism
]
NOTES_WITHOUT_GPU = ["Could not find cuda drivers on your machine", "failed call to cuInit"]
FILTER = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the other process, and then this one
notes = [note.encode() for note in sys.argv[1:]]
for line in sys.stdin.buffer:
    if not any(note in line for note in notes):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


def quiet_startup():
    """Filter standard error from now on. Call it before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings and errors
    notes = NOTES if has_gpu() else [*NOTES, *NOTES_WITHOUT_GPU]
    screen = os.dup(2)
    command = [sys.executable, "-I", "-S", "-c", FILTER, *notes]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    sys.stderr = os.fdopen(screen, "w", 1, sys.stderr.encoding, errors="backslashreplace")


def end_quietly():
    """Let Ctrl-C end the program with exit code 130 and one line. Call it before the slow imports."""
    usual = sys.excepthook

    def hook(kind, error, traceback):
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, traceback)
            return
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130)

    sys.excepthook = hook


def has_gpu():
    """Whether the machine has an NVIDIA device, so that messages about its driver matter."""
    return any(Path("/dev").glob("nvidia*"))
