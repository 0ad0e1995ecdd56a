"""A SavedModel checked where it will have to work: in a process that cannot import Keras or this package."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_transformer.export.checks.example_inputs import fitting_inputs
from keras_transformer.export.checks.saved_model import DEFAULT, read_saved_model

PROGRAM = Path(__file__).parent / "session_check.py"
TIE = 1e-4  # of a score: two translations this close may change places by rounding
TIME_LIMIT = 600  # seconds


def verify(path, sentences, expected, expected_scores=None, time_limit=TIME_LIMIT):
    """Load a SavedModel as TF Serving does, in a clean process on the CPU, and compare what it answers.

    Every signature is run on a batch that fits it; its outputs must have the dtypes and shapes that the
    signature promises. `serving_default`, and any other signature of "sentences" that gives "translations",
    must give those that are expected, in the first place where there are several; or, by rounding, one of
    the same score.

    Args:
        path: a SavedModel's folder.
        sentences: strings for `serving_default`, at least one.
        expected: its "translations" for them, a list of strings.
        expected_scores: its "scores", a list of numbers. Default: no tie is accepted.
        time_limit: seconds that the process may take.

    Raises:
        RuntimeError: the process fails or takes too long, or an answer differs; the message names the signature,
            the output, and what was expected and found.
        ValueError, FileNotFoundError: no sentences, and as in `read_saved_model`.
    """
    path = Path(path).resolve()
    signatures = read_saved_model(path).signatures
    if not sentences:
        raise ValueError("sentences is empty: give at least one to compare.")
    if DEFAULT not in signatures or "translations" not in signatures[DEFAULT].outputs:
        raise RuntimeError(
            f"{path} has no signature {DEFAULT!r} that gives 'translations'; it has {', '.join(signatures) or 'none'}."
        )
    requests = {
        name: fitting_inputs(signature, len(sentences), sentences, expected) for name, signature in signatures.items()
    }
    answers = _ask(path, requests, time_limit)
    for name, signature in signatures.items():
        who = f"{path}: the signature {name!r}"
        _compare_kinds(who, signature, answers[name], len(sentences))
        if name == DEFAULT or (list(signature.inputs) == ["sentences"] and "translations" in signature.outputs):
            _compare_translations(who, sentences, answers[name], expected, expected_scores)


def _ask(path, requests, time_limit):
    """Answers of a clean process: signature name to output name to a dictionary of dtype, shape and values."""
    asked = [[name, {key: _plain(array) for key, array in inputs.items()}] for name, inputs in requests.items()]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # this process may hold all of a GPU's memory
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            process = subprocess.run(
                [sys.executable, "-P", str(PROGRAM)],
                input=json.dumps({"path": str(path), "requests": asked}),
                cwd=elsewhere,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=time_limit,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{path}: the check in a clean process took over {time_limit} seconds.") from error
    if process.returncode:
        raise RuntimeError(
            f"{path} does not run in a process without Keras (exit status {process.returncode}):\n"
            f"{process.stderr[-3000:]}"
        )
    return dict(zip(requests, json.loads(process.stdout.splitlines()[-1]), strict=True))


def _plain(array):
    """An array as nested lists for JSON."""
    if array.dtype == object:
        return np.array([value.decode() for value in array.ravel()], object).reshape(array.shape).tolist()
    return array.tolist()


def _compare_kinds(who, signature, answer, batch_size):
    """Each output has the promised dtype and shape, and a row for each sentence."""
    for output, tensor in signature.outputs.items():
        dtype = "string" if answer[output]["dtype"] == "object" else answer[output]["dtype"]
        shape = answer[output]["shape"]
        fits = tensor.shape is None or len(shape) == len(tensor.shape)
        for axis, size in enumerate(tensor.shape or ()):
            wanted = batch_size if axis == 0 and size is None else size
            fits = fits and wanted in (None, shape[axis])
        if dtype != tensor.dtype or not fits:
            raise RuntimeError(
                f"{who} promises {tensor} as {output!r} and gave {dtype} {shape} for a batch of {batch_size}."
            )


def _compare_translations(who, sentences, answer, expected, expected_scores):
    found, scores = (_first(answer[name]["values"]) if name in answer else None for name in ("translations", "scores"))
    for i, (sentence, one, other) in enumerate(zip(sentences, expected, found, strict=True)):
        if one == other:
            continue
        both = ""
        if expected_scores is not None and scores is not None:
            if abs(expected_scores[i] - scores[i]) <= TIE * max(1, abs(expected_scores[i])):
                continue
            both = f", scores {expected_scores[i]:.6f} and {scores[i]:.6f}"
        raise RuntimeError(f"{who} translates {sentence!r} as {other!r} in a clean process, expected {one!r}{both}.")


def _first(rows):
    """The best of each row where a row is a list."""
    return [row[0] if isinstance(row, list) else row for row in rows]
