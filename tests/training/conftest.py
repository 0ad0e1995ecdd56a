"""Fixtures of the tests of resuming."""

import keras
import pytest
import tensorflow as tf
import tiny
from resumable import Run, state_of
from tensorflow.python.framework.config import disable_op_determinism


@pytest.fixture(scope="module")
def determinism():
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()  # TensorFlow has no public way back


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return tiny.write_pairs(tmp_path_factory.mktemp("corpus"), tiny.digit_pairs(100, seed=2))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, paths, tokenizer):
    keras.utils.set_random_seed(7)
    run = Run(tmp_path_factory.mktemp("unbroken"), paths, tokenizer)
    history = run.fit()
    assert run.corpus.report.batches == 13
    return run, state_of(run.model), history
