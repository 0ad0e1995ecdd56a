"""The loss is compared with its dense definition: values, gradient and divisors."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import gradients, values

from keras_transformer import LabelSmoothedCrossEntropy, Perplexity
from keras_transformer.losses.cross_entropy import smoothed_cross_entropy

pytestmark = pytest.mark.core

V = 7
LABELS = np.array([[3, 5, 1, 0, 0], [6, 3, 0, 0, 0]], "int32")
LOGITS = np.random.default_rng(0).normal(size=(2, 5, V)).astype("float32") * 3


def dense(labels, logits, epsilon):
    """-Σ q log p over the whole target distribution, in float64, and its gradient for the logits."""
    logits = logits.astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = (1 - epsilon) * np.eye(V)[labels] + epsilon / V
    return -(target * log_p).sum(-1), np.exp(log_p) - target


def test_by_hand():
    # Two equal logits give ln 2 with any smoothing. P = 3/4 gives ln 4/3. With ε = 0.5 the target is (3/4, 1/4).
    np.testing.assert_allclose(
        values(smoothed_cross_entropy([[0]], np.zeros((1, 1, 2)), 0.3)), [[np.log(2)]], rtol=1e-6
    )
    logits = np.array([[[np.log(3.0), 0.0]]])
    np.testing.assert_allclose(values(smoothed_cross_entropy([[0]], logits, 0.0)), [[np.log(4 / 3)]], rtol=1e-6)
    expected = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    np.testing.assert_allclose(values(smoothed_cross_entropy([[0]], logits, 0.5)), [[expected]], rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_equals_the_dense_target(epsilon):
    result = values(smoothed_cross_entropy(LABELS, LOGITS, epsilon))
    np.testing.assert_allclose(result, dense(LABELS, LOGITS, epsilon)[0], rtol=2e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_gradient_is_softmax_minus_target(epsilon):
    loss = LabelSmoothedCrossEntropy(epsilon)
    expected = dense(LABELS, LOGITS, epsilon)[1] * (LABELS != 0)[..., None] / 5
    np.testing.assert_allclose(values(gradients(lambda x: loss(LABELS, x), LOGITS)[0]), expected, atol=1e-7)


def test_mean_over_tokens_not_sentences():
    losses = dense(LABELS, LOGITS, 0.1)[0]
    mask = LABELS != 0
    np.testing.assert_allclose(float(LabelSmoothedCrossEntropy(0.1)(LABELS, LOGITS)), losses[mask].sum() / 5, rtol=1e-6)


@pytest.mark.parametrize("length", [5, 2])  # with 2, there are as many tokens as sentences
def test_weights_of_sentences_apply_to_their_tokens(length):
    labels, logits, weights = LABELS[:, :length], LOGITS[:, :length], np.array([3.0, 0.5], "float32")
    mask = labels != 0
    expected = (dense(labels, logits, 0.1)[0] * mask * weights[:, None]).sum() / mask.sum()
    loss = LabelSmoothedCrossEntropy(0.1)
    for given in (weights, weights[:, None], np.repeat(weights[:, None], length, axis=1)):
        np.testing.assert_allclose(values(loss(labels, logits, given)), expected, rtol=2e-6)


def test_padding_changes_nothing():
    loss = LabelSmoothedCrossEntropy(0.1)
    changed = LOGITS.copy()
    changed[LABELS == 0] = 50
    assert float(loss(LABELS, changed)) == float(loss(LABELS, LOGITS))
    np.testing.assert_allclose(float(loss(LABELS[:, :3], LOGITS[:, :3])), float(loss(LABELS, LOGITS)), rtol=1e-6)


def test_without_a_token_the_loss_is_zero():
    assert float(LabelSmoothedCrossEntropy()(np.zeros((2, 3), "int32"), LOGITS[:, :3])) == 0.0


def test_half_precision_logits_are_cast_to_float32():
    half = ops.cast(LOGITS, "bfloat16")
    expected = LabelSmoothedCrossEntropy()(LABELS, ops.cast(half, "float32"))
    assert float(LabelSmoothedCrossEntropy()(LABELS, half)) == float(expected)


def test_config_round_trip():
    loss = LabelSmoothedCrossEntropy(0.2, name="loss")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config() == {"epsilon": 0.2, "name": "loss", "reduction": "sum"}


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, V), (3, 5, V), (2, 5, V, 1)])
def test_logits_of_another_shape_are_refused_in_one_line(shape):
    message = f"logits must have the shape of the labels (2, 5) and one more axis, the pieces, got {shape}."
    for call in (LabelSmoothedCrossEntropy(0.1), Perplexity()):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call(LABELS, np.zeros(shape, "float32"))


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"epsilon must be a number in \[0, 1\), got '0.1'\."):
        LabelSmoothedCrossEntropy("0.1")
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\), got 1"):
        LabelSmoothedCrossEntropy(1.0)
    with pytest.raises(ValueError, match="reduction must be 'sum', got 'mean'"):
        LabelSmoothedCrossEntropy(reduction="mean")


def test_labels_whose_probability_rounds_to_zero():
    """If a batch has one such label, all its logarithms are computed in the other way."""
    logits = LOGITS.copy()
    logits[0, 0, 3] -= 500
    logits[1, 1, 3] -= 200
    for epsilon in (0.0, 0.1):
        losses, towards = dense(LABELS, logits, epsilon)
        np.testing.assert_allclose(values(smoothed_cross_entropy(LABELS, logits, epsilon)), losses, rtol=2e-6)
        found = values(gradients(lambda x, e=epsilon: ops.sum(smoothed_cross_entropy(LABELS, x, e)), logits)[0])
        np.testing.assert_allclose(found, towards, atol=1e-6)
