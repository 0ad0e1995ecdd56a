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


@pytest.mark.parametrize("kind", [MaskedAccuracy, Perplexity])
def test_labels_that_do_not_fit_the_logits_are_refused(kind):
    logits = np.zeros((2, 3, 5), "float32")
    for labels, message in (
        (np.ones(3, int), r"logits must have the shape of the labels \(3,\) and one more axis, .* got \(2, 3, 5\)"),
        (np.ones((2, 1), int), r"logits must have the shape of the labels \(2, 1\)"),
        (
            np.array([[3, 1, -100], [2, 0, 0]]),
            r"labels have -100 at \(0, 2\), .* from 0 to 4, .* Padding is 0, not -100",
        ),
        (np.array([[3, 1, 1], [2, 5, 0]]), r"labels have 5 at \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            kind().update_state(labels, logits)


@pytest.mark.parametrize(("kind", "better"), [(MaskedAccuracy, np.greater), (Perplexity, np.less)])
def test_keras_knows_what_is_better(kind, better):
    """EarlyStopping looks for its metric among those of a model."""
    stopping = keras.callbacks.EarlyStopping(f"val_{kind().name}")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 5)])
    model.compile("sgd", "mse", metrics=[kind()])
    stopping.set_model(model)
    model.compute_metrics(None, np.ones((1, 3), "int32"), np.zeros((1, 3, 5), "float32"))
    stopping._set_monitor_op()
    assert stopping.monitor_op in (better, getattr(ops, better.__name__))
