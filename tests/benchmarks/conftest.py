"""A measurement that would start a process runs in the process of the tests, on a model smaller than every preset."""

import contextlib
import io
import json
import runpy
import sys

import pytest
import tensorflow as tf
import tiny

from keras_transformer import presets


@pytest.fixture
def small_preset(monkeypatch):
    """The name of the preset, which only this process has."""
    monkeypatch.setitem(presets.PRESETS, "small", {**tiny.SMALL_PRESET, "dropout": 0.0})
    return "small"


@pytest.fixture
def in_this_process(monkeypatch):
    """A function that makes scripts measure without new processes, which would import TensorFlow again.

    A measurement still comes and goes through the command line and the output of its script, as `in_a_process` has it.
    """
    for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, name, lambda threads: None)  # too late here
    if "jax" in sys.modules:
        monkeypatch.setitem(sys.modules, "jax", sys.modules["jax"])  # which some measurements block

    def measure(script, *arguments, python=sys.executable, **environment):
        monkeypatch.setattr(sys, "argv", [script, "--worker", json.dumps(arguments)])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(script, run_name="__main__")
        return json.loads(printed.getvalue().splitlines()[-1])

    def choose(*modules):
        for module in modules:
            monkeypatch.setattr(module, "in_a_process", measure)

    return choose
