"""Which machines and GPUs a training takes."""

import json
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

import keras_transformer.training
from keras_transformer_cli import devices


def config(count):
    workers = [f"host{number}:2222" for number in range(count)]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}})


def test_machines_train_together_if_tf_config_names_several(monkeypatch, capsys):
    strategy = SimpleNamespace()
    monkeypatch.setattr(keras_transformer.training, "workers_strategy", lambda: strategy)
    for text, expected in ((None, None), ("{}", None), (config(1), None), (config(2), strategy)):
        if text is None:
            monkeypatch.delenv("TF_CONFIG", raising=False)
        else:
            monkeypatch.setenv("TF_CONFIG", text)
        assert devices.workers() is expected
    assert capsys.readouterr().err == "Training on 2 machines.\n"


def test_several_machines_need_tensorflow(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(2))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        ValueError, match=r"^TF_CONFIG names 2 machines, and a training on jax uses one\. Unset TF_CONFIG"
    ):
        devices.workers()


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_tf_config_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"^TF_CONFIG='.*' cannot be read: .* Mend it or unset it\.$"):
        devices.workers()


def test_gpus_train_together_if_there_are_several(monkeypatch, capsys):
    assert devices.all_gpus() is tf.distribute.get_strategy()
    mirrored = SimpleNamespace()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one", "two"])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: mirrored)
    assert devices.all_gpus() is mirrored
    assert capsys.readouterr().err == "Training on 2 GPUs.\n"
