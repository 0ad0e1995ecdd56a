"""Runs a SavedModel in a process that cannot import Keras or this package, and compares its answers."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_transformer.export.checks.example_inputs import fitting_inputs
from keras_transformer.export.checks.saved_model import DEFAULT

PROGRAM = Path(__file__).parent / "session_check.py"
TIE = 1e-4  # rounding may swap two translations whose scores differ by at most this share
TIME_LIMIT = 600  # seconds


def verify(contents, sentences, expected, expected_scores=None, time_limit=TIME_LIMIT):
    """Load a SavedModel as TF Serving does, in a clean process on the CPU, and compare its answers.

    The process runs every signature on a batch that fits it. The outputs must have the dtypes and shapes that the
    signature promises. `serving_default` must give the expected translations. So must any other signature that takes
    only "sentences" and gives "translations"; if it gives several for a sentence, the first one counts. A different
    translation is accepted if its score is the same up to rounding.

    Args:
        contents: the `Contents` of the SavedModel's folder, from `read_saved_model`.
        sentences: strings for `serving_default`, at least one.
        expected: its "translations" for them, a list of strings.
        expected_scores: its "scores" for them, a list of numbers. Default: no different translation is accepted.
        time_limit: the most seconds that the process may take.

    Raises:
        RuntimeError: the process fails or takes too long, or an answer is wrong. The message names the signature and
            the output, and gives the expected and the actual value.
        ValueError: there are no sentences, or an input for which `fitting_inputs` makes no array.
    """
    path, signatures = contents.path.resolve(), contents.signatures
    if not sentences:
        raise ValueError("sentences is empty. Give at least one sentence to compare.")
    if DEFAULT not in signatures or "translations" not in signatures[DEFAULT].outputs:
        raise RuntimeError(
            f"{path} has no signature {DEFAULT!r} that gives 'translations'. Its signatures: "
            f"{', '.join(signatures) or 'none'}."
        )
    requests = {
        name: fitting_inputs(signature, len(sentences), sentences, expected) for name, signature in signatures.items()
    }
    answers = _ask(path, requests, time_limit)
    for name, signature in signatures.items():
        where = f"{path}: the signature {name!r}"
        _compare_kinds(where, signature, answers[name], len(sentences))
        if name == DEFAULT or (list(signature.inputs) == ["sentences"] and "translations" in signature.outputs):
            _compare_translations(where, sentences, answers[name], expected, expected_scores)


def _ask(path, requests, time_limit):
    """The answers of a clean process: {signature: {output: {"dtype": …, "shape": …, "values": …}}}."""
    as_lists = [[name, {key: _to_json(array) for key, array in inputs.items()}] for name, inputs in requests.items()]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # this process may hold all memory of a GPU
    with tempfile.TemporaryDirectory() as folder:
        try:
            process = subprocess.run(
                [sys.executable, "-P", str(PROGRAM)],
                input=json.dumps({"path": str(path), "requests": as_lists}),
                cwd=folder,
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


def _to_json(array):
    """An array as nested lists."""
    if array.dtype == object:
        return np.array([value.decode() for value in array.ravel()], object).reshape(array.shape).tolist()
    return array.tolist()


def _compare_kinds(where, signature, answer, batch_size):
    """Check that each output has the promised dtype and shape, and one row for each sentence."""
    for output, tensor in signature.outputs.items():
        dtype = "string" if answer[output]["dtype"] == "object" else answer[output]["dtype"]
        shape = answer[output]["shape"]
        fits = tensor.shape is None or len(shape) == len(tensor.shape)
        for axis, size in enumerate(tensor.shape or ()):
            promised = batch_size if axis == 0 and size is None else size
            fits = fits and promised in (None, shape[axis])
        if dtype != tensor.dtype or not fits:
            raise RuntimeError(
                f"{where} promises {tensor} as {output!r} and gave {dtype} {shape} for a batch of {batch_size}."
            )


def _compare_translations(where, sentences, answer, expected, expected_scores):
    translations = _first_of_each(answer["translations"]["values"])
    scores = _first_of_each(answer["scores"]["values"]) if "scores" in answer else None
    for i, (sentence, right, translation) in enumerate(zip(sentences, expected, translations, strict=True)):
        if translation == right:
            continue
        both_scores = ""
        if expected_scores is not None and scores is not None:
            if abs(expected_scores[i] - scores[i]) <= TIE * max(1, abs(expected_scores[i])):
                continue
            both_scores = f", scores {expected_scores[i]:.6f} and {scores[i]:.6f}"
        raise RuntimeError(
            f"{where} translates {sentence!r} as {translation!r} in a clean process, expected {right!r}{both_scores}."
        )


def _first_of_each(rows):
    """The first entry of each row that is a list. Other rows stay as they are."""
    return [row[0] if isinstance(row, list) else row for row in rows]
