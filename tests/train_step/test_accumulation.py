"""Micro-batches, replicas, and both together train like the whole batch on one replica."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import steps
import tensorflow as tf
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, Transformer
from keras_transformer.losses.cross_entropy import smoothed_cross_entropy

ONE = tf.distribute.get_strategy()
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="module")
def whole():
    """The result on one replica, with whole batches."""
    return steps.trained(ONE)


def test_a_step_is_traced_once(whole):
    """Its optimizer has its variables before it: TensorFlow would trace a step that makes variables twice."""
    assert whole[0].train_traces == 1


@pytest.mark.parametrize("parts", [2, 8])  # with 8, each row is a micro-batch; some are empty
def test_micro_batches_are_the_whole_batch(whole, parts):
    steps.compare(steps.trained(ONE, accumulate_steps=parts), whole)


def test_two_replicas_with_an_empty_micro_batch_are_the_whole_batch(whole):
    """The same holds with several steps an execution, of which the last execution of an epoch has fewer."""
    found = steps.trained(tiny.two_replicas(), accumulate_steps=2)
    steps.compare(found, whole)
    several, logs = steps.trained(tiny.two_replicas(), accumulate_steps=2, steps_per_execution=3, valid=False)
    for weight, goal in zip(several.get_weights(), found[0].get_weights(), strict=True):
        np.testing.assert_allclose(weight, goal, rtol=0, atol=1e-6)
    assert several.optimizer.iterations == 10
    of_training = {name: values for name, values in found[1].items() if not name.startswith("val_")}
    assert logs == {name: pytest.approx(values, rel=1e-6) for name, values in of_training.items()}


def test_four_replicas_are_the_whole_batch(whole, tmp_path):
    steps.write(whole, tmp_path)
    result = subprocess.run(
        [sys.executable, SUPPORT / "steps.py", tmp_path],
        env=os.environ | {"PYTHONPATH": tiny.PYTHONPATH},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.split() == ["4", "replicas", "agree"]


def test_one_part_updates_as_keras_does_bit_for_bit(whole):
    class OnLogits(Transformer):
        def takes_fused_way(self, sample_weight):
            return False

    class Plain(OnLogits):
        train_step = keras.Model.train_step

    expected, logs = steps.trained(ONE, make=Plain, log_gradient_norm=False)
    found = steps.trained(ONE, make=OnLogits)
    for weight, goal in zip(found[0].get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, goal)
    assert found[1]["perplexity"] == logs["perplexity"]
    steps.compare(found, whole)  # which never has the logits of a whole batch


def test_untied_embeddings_and_clipping_on_replicas_and_micro_batches():
    """The gradient of an embedding is a list of rows, which may hold a row twice. The norm is that of all gradients."""
    options = {"tie_embeddings": "none", "clip": 0.5, "valid": False}
    expected = steps.trained(ONE, **options)
    assert min(expected[1]["gradient_norm"]) > 0.5
    steps.compare(steps.trained(tiny.two_replicas(), accumulate_steps=2, **options), expected)


def test_compiled_with_several_steps_an_execution(whole):
    options = {"jit_compile": True, "steps_per_execution": 5, "epochs": 1, "one_shape": True}
    found = steps.trained(ONE, accumulate_steps=2, **options)
    steps.compare(found, steps.trained(ONE, one_shape=True, epochs=1))
    assert found[0].train_traces == 1  # for all steps


def test_the_logged_loss_and_norm_computed_in_another_way():
    model, logs = steps.trained(ONE, rate=0.0, epochs=1, accumulate_steps=4)
    total = tokens = 0
    norms = []
    for x, labels in steps.batches():
        with tf.GradientTape() as tape:
            losses = smoothed_cross_entropy(labels, model(x), 0.1) * (labels != 0)
            loss = tf.reduce_sum(losses) / (labels != 0).sum()
        norms.append(np.sqrt(sum(np.sum(np.square(g)) for g in tape.gradient(loss, model.trainable_weights))))
        total, tokens = total + float(tf.reduce_sum(losses)), tokens + (labels != 0).sum()
    assert logs["loss"] == pytest.approx([total / tokens], rel=1e-6)
    assert logs["gradient_norm"] == pytest.approx([np.mean(norms)], rel=1e-6)
    assert "val_loss" in logs and "val_gradient_norm" not in logs
    assert model.optimizer.iterations == 5


def test_a_saved_model_keeps_its_options(tmp_path):
    model, _ = steps.trained(ONE, epochs=1, valid=False, accumulate_steps=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.accumulate_steps == 2 and "gradient_norm" in loaded.metrics_names
    model.fit(steps.dataset(), verbose=0, shuffle=False)
    loaded.fit(steps.dataset(), verbose=0, shuffle=False)
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "2"])
def test_bad_accumulate_steps(value):
    with pytest.raises(ValueError, match="accumulate_steps must be a whole number of at least 1, got "):
        tiny.make_model().compile("sgd", loss=LabelSmoothedCrossEntropy(), accumulate_steps=value)


def test_what_keras_chose_for_one_machine_is_not_saved(monkeypatch, tmp_path):
    """On one GPU, Keras chooses to compile. Such a model is then loaded under a strategy."""
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda self: True)
    model = tiny.compiled(tiny.make_model())
    assert model.jit_compile
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    monkeypatch.undo()
    with tiny.two_replicas().scope():
        assert keras.saving.load_model(tmp_path / "model.keras").jit_compile is False
    model.compile("sgd", loss=LabelSmoothedCrossEntropy(), jit_compile=True)
    assert model.get_compile_config()["jit_compile"] is True


def test_options_that_contradict_each_other_are_refused():
    model = tiny.make_model()
    with pytest.raises(ValueError, match="accumulate_steps=2 needs a loss that divides by the tokens"):
        model.compile("sgd", loss="sparse_categorical_crossentropy", accumulate_steps=2)
    with (
        tiny.two_replicas().scope(),
        pytest.raises(ValueError, match="jit_compile=True needs one replica, got a strategy of 2"),
    ):
        model.compile("sgd", loss=LabelSmoothedCrossEntropy(), jit_compile=True)
    with pytest.raises(ValueError, match=r"accumulate_steps=3 must divide the rows .* got 8 rows\."):
        steps.trained(ONE, accumulate_steps=3, epochs=1)


class OwnLoss(Transformer):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


class SubclassedLoss(LabelSmoothedCrossEntropy):
    pass


@pytest.mark.parametrize(
    ("make", "loss", "options"),
    [
        (OwnLoss, LabelSmoothedCrossEntropy, {}),
        (Transformer, SubclassedLoss, {}),
        (Transformer, LabelSmoothedCrossEntropy, {"loss_weights": 2.0}),
    ],
)
def test_micro_batches_of_a_loss_that_counts_tokens_itself_need_one_replica(make, loss, options):
    sizes = tiny.make_model().get_config()
    with tiny.two_replicas().scope():
        model = make.from_config(sizes)
        with pytest.raises(ValueError, match="accumulate_steps=2 on several replicas needs the loss LabelSmoothed"):
            model.compile("sgd", loss(0.1), accumulate_steps=2, **options)
    x, labels = tiny.batches()[0]
    losses = []
    for accumulate_steps in (1, 2):  # on one replica, micro-batches are the whole batch
        keras.utils.set_random_seed(5)
        model = make.from_config(sizes)
        model.compile(keras.optimizers.SGD(0.1), loss(0.1), accumulate_steps=accumulate_steps, **options)
        model.train_on_batch(x, labels)
        losses.append(model.train_on_batch(x, labels, return_dict=True)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
