"""What a machine is told whose products of 8-bit integers are not exact. These tests run on every processor."""

import pytest
import tensorflow as tf
import tiny

from keras_transformer.backend import int8

CHECK = "from keras_transformer.backend.int8 import check_int8; check_int8()"


def test_without_onednn_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    last = tiny.python("-c", CHECK).stderr.strip().splitlines()[-1]
    assert last == f"keras_transformer.backend.int8.IntegersNotExact: {int8.NEEDS_ONEDNN}"
    assert int8.NEEDS_ONEDNN.endswith("Compute in floating point here, for example under the dtype policy 'float32'.")


def test_without_vnni_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(int8, "sums_of_ones", lambda: tf.ones((1, 4)))  # wrong sums
    with pytest.raises(int8.IntegersNotExact, match=r"lacks VNNI: 4 · 127 gave 1\. Compute in floating point here, fo"):
        int8.check_int8()
