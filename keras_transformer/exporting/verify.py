"""A SavedModel checked where it will have to work: in a process that cannot import Keras or this package."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_transformer.exporting.example_inputs import fitting_inputs
from keras_transformer.exporting.saved_model import read_saved_model

PROGRAM = Path(__file__).parent / "session_check.py"
DEFAULT = "serving_default"
TIE = 1e-4  # of a score: two translations this close may change places by rounding
TIME_LIMIT = 600  # seconds


def verify(path, sentences, expected, expected_scores=None, time_limit=TIME_LIMIT):
    """Load a SavedModel as TF Serving does, in a clean process on the CPU, and compare what it answers.

    Every signature is run on a batch that fits it; its outputs must have the dtypes and shapes that the
    signature promises. `serving_default` must give the translations that are expected, or, by rounding,
    one of the same score.

    Args:
        path: a SavedModel's folder.
        sentences: strings for `serving_default`, at least one.
        expected: its "translations" for them, a list of strings.
        expected_scores: its "scores", a list of numbers. Default: no tie is accepted.
        time_limit: seconds that the process may take.

    Raises:
        RuntimeError: the process fails or takes too long, or an answer differs; the message names the signature,
            the output, and what was expected and found.
        ValueError, FileNotFoundError: as in `read_saved_model`.
    """
    path = Path(path).resolve()
    signatures = read_saved_model(path).signatures
    if DEFAULT not in signatures:
        raise RuntimeError(f"{path} has no signature {DEFAULT!r}; it has {', '.join(signatures) or 'none'}.")
    requests = {
        name: fitting_inputs(signature, len(sentences), sentences, expected) for name, signature in signatures.items()
    }
    answers = _ask(path, requests, time_limit)
    for name, signature in signatures.items():
        _compare_kinds(path, name, signature, answers[name], len(sentences))
    _compare_translations(path, sentences, answers[DEFAULT], expected, expected_scores)


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
                text=True,
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


def _compare_kinds(path, name, signature, answer, batch_size):
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
                f"{path}: the signature {name!r} promises {tensor} as {output!r} and gave {dtype} {shape} "
                f"for a batch of {batch_size}."
            )


def _compare_translations(path, sentences, answer, expected, expected_scores):
    found = answer["translations"]["values"]
    for i, (sentence, one, other) in enumerate(zip(sentences, expected, found, strict=True)):
        if one == other:
            continue
        scores = ""
        if expected_scores is not None and "scores" in answer:
            score, other_score = expected_scores[i], answer["scores"]["values"][i]
            if abs(score - other_score) <= TIE * max(1, abs(score)):
                continue
            scores = f", scores {score:.6f} and {other_score:.6f}"
        raise RuntimeError(
            f"{path}: the signature {DEFAULT!r} translates {sentence!r} as {other!r} in a clean process, "
            f"expected {one!r}{scores}."
        )
