"""Metrics over batches with different amounts of padding."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer import MaskedAccuracy, Perplexity

pytestmark = pytest.mark.core


def logits_for(probabilities):
    return np.log(np.asarray(probabilities, "float32"))


# Two batches, with three tokens and one token. P(label) is 1/2, 1/4, 1/8 and 1/2.
FIRST = (
    np.array([[1, 2, 1, 0]]),
    logits_for([[[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.5, 0.125, 0.375], [0.1, 0.2, 0.7]]]),
)
SECOND = np.array([[2, 0]]), logits_for([[[0.25, 0.25, 0.5], [0.2, 0.1, 0.7]]])


def test_perplexity_by_hand():
    metric = Perplexity()
    metric.update_state(*FIRST)
    np.testing.assert_allclose(float(metric.result()), 4.0, rtol=1e-6)  # (2·4·8)^(1/3)
    metric.update_state(*SECOND)
    np.testing.assert_allclose(float(metric.result()), 128 ** (1 / 4), rtol=1e-6)  # and not the mean of two means


def test_accuracy_by_hand():
    metric = MaskedAccuracy()
    metric.update_state(*FIRST)
    np.testing.assert_allclose(float(metric.result()), 1 / 3, rtol=1e-6)
    metric.update_state(*SECOND)
    np.testing.assert_allclose(float(metric.result()), 2 / 4, rtol=1e-6)


def test_weights_apply_to_tokens():
    metric = MaskedAccuracy()
    metric.update_state(*FIRST, sample_weight=np.array([[3.0, 1.0, 0.0, 9.0]]))
    np.testing.assert_allclose(float(metric.result()), 3 / 4, rtol=1e-6)


def test_weights_of_sentences_apply_to_their_tokens():
    labels, logits = np.array([[1, 2], [1, 0]]), logits_for([[[0.2, 0.5, 0.3], [0.5, 0.3, 0.2]], [[0.3, 0.5, 0.2]] * 2])
    metric = MaskedAccuracy()
    metric.update_state(labels, logits, sample_weight=np.array([1.0, 4.0]))
    np.testing.assert_allclose(float(metric.result()), (1 + 4) / (2 * 1 + 4), rtol=1e-6)


def test_before_any_token():
    assert float(MaskedAccuracy().result()) == 0.0
    assert float(Perplexity().result()) == 1.0
    metric = Perplexity()
    metric.update_state(np.zeros((1, 2)), ops.zeros((1, 2, 3)))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("metric", [MaskedAccuracy(name="a"), Perplexity(name="b")])
def test_reset_and_config(metric):
    metric.update_state(*FIRST)
    metric.reset_state()
    assert float(metric.tokens) == 0
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert (type(again), again.name) == (type(metric), metric.name)
