"""Training on JAX, with corpus and callbacks, resumes bit for bit. TensorFlow translates with the result."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from jax_run import SENTENCES
from xla_flags import QUICK_TO_COMPILE

from keras_transformer import Translator

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[jax]'")
    folder = tmp_path_factory.mktemp("jax")
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": QUICK_TO_COMPILE,
        "PYTHONPATH": tiny.PYTHONPATH,
    }
    command = [sys.executable, SUPPORT / "jax_run.py", folder]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.splitlines()[-1] == "the runs agree"
    return folder


def test_a_broken_run_writes_the_same_files_as_an_unbroken_one(folder):
    names = ["average.keras", "averaged", "checkpoints", "curves", "history.jsonl", "last.keras", "model.keras"]
    for run in ("whole", "broken"):
        assert sorted(path.name for path in (folder / run).iterdir()) == [*names, "tokenizer.model"]


def test_tensorflow_translates_with_what_jax_has_trained(folder):
    model = keras.saving.load_model(folder / "whole" / "last.keras")
    np.testing.assert_allclose(model.predict(SENTENCES, verbose=0), np.load(folder / "logits.npy"), atol=1e-5)
    [text] = Translator.load(folder / "whole")(["1 2 3"])
    assert isinstance(text, str)
