"""A process that was forked after TensorFlow was used is refused at once, and does not hang."""

import os
import select
import signal

import pytest
import tensorflow as tf

from keras_transformer.backend import forks
from keras_transformer.translation import load_model


def in_a_forked_child(function, seconds=30):
    """What the function raises in a child of this process, or None if the child hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            result = repr(function())
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(writing, result.encode())
        os._exit(0)
    answered, _, _ = select.select([reading], [], [], seconds)
    result = os.read(reading, 10_000).decode() if answered else None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    return result


def test_a_forked_child_is_refused(digits_translator, tmp_path):
    tokenizer = digits_translator.tokenizer
    tokenizer.save(tmp_path / "tokenizer.model")
    digits_translator.save(tmp_path / "run")
    assert tf.constant(1).numpy() == 1  # TensorFlow is used
    for call in (
        lambda: digits_translator(["1 2"]),
        lambda: digits_translator.score(["1"], ["1"]),
        lambda: digits_translator.alignment("1", "1"),
        lambda: tokenizer.encode("1"),
        lambda: tokenizer.decode([5]),
        lambda: type(tokenizer).load(tmp_path / "tokenizer.model"),
        lambda: type(digits_translator).load(tmp_path),
        lambda: load_model(tmp_path / "run" / "model.keras"),
    ):
        found = in_a_forked_child(call)
        assert found is not None and found.startswith(
            "RuntimeError: this process was forked after TensorFlow was used, and TensorFlow would hang here. Load the "
            "model and the tokenizer after the fork (not before it, as with gunicorn --preload), or start the process "
            "by multiprocessing.get_context('spawn')."
        )
    forks.check_process()  # this process goes on


def test_a_child_that_was_forked_before_is_not_refused(monkeypatch):
    monkeypatch.setattr(forks, "is_tensorflow_used", lambda: False)
    assert in_a_forked_child(forks.check_process) == "None"
    monkeypatch.setitem(forks._state, "broken", True)
    with pytest.raises(RuntimeError, match="was forked"):
        forks.check_process()
