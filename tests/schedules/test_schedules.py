"""The learning rate is compared with equation 3 in another form."""

import keras
import numpy as np
import pytest

from keras_transformer import TransformerSchedule

pytestmark = pytest.mark.core


@pytest.mark.parametrize("d_model, warmup", [(512, 4000), (1024, 4000), (7, 13)])
def test_two_straight_pieces(d_model, warmup):
    schedule = TransformerSchedule(d_model, warmup)
    peak = 1 / np.sqrt(d_model * warmup)
    for update in (1, 2, warmup // 2, warmup - 1, warmup, warmup + 1, 10 * warmup):
        expected = peak * update / warmup if update <= warmup else peak * np.sqrt(warmup / update)
        np.testing.assert_allclose(float(schedule(update - 1)), expected, rtol=1e-5)


@pytest.mark.parametrize("d_model, peak", [(512, 6.99e-4), (1024, 4.94e-4)])
def test_the_papers_peaks(d_model, peak):
    assert round(float(TransformerSchedule(d_model)(3999)), 6) == peak


def test_with_peak():
    schedule = TransformerSchedule.with_peak(5e-3, d_model=128, warmup_steps=2000)
    np.testing.assert_allclose(float(schedule(1999)), 5e-3, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(7999)), 2.5e-3, rtol=1e-6)


def test_first_update_uses_step_one():
    optimizer = keras.optimizers.SGD(TransformerSchedule(4, warmup_steps=8))
    np.testing.assert_allclose(float(optimizer.learning_rate), 0.5 * 8**-1.5, rtol=1e-6)


def test_saved_with_the_optimizer():
    schedule = TransformerSchedule(128, 2000, scale=2.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(keras.optimizers.Adam(schedule)))
    assert again._learning_rate.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    "options, name", [({"d_model": 0}, "d_model"), ({"d_model": 2, "warmup_steps": -1}, "warmup_steps")]
)
def test_wrong_options_are_named(options, name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        TransformerSchedule(**options)
