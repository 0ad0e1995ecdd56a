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
    "make", [TransformerSchedule, lambda **options: TransformerSchedule.with_peak(1e-3, **options)]
)
@pytest.mark.parametrize("wrong", [0, -1, 0.001, 512.0, True, "512", None, float("nan")])
def test_sizes_that_are_no_whole_numbers_are_refused(make, wrong):
    for options, name in (({"d_model": wrong}, "d_model"), ({"d_model": 2, "warmup_steps": wrong}, "warmup_steps")):
        with pytest.raises(ValueError, match=f"^{name} must be a whole number of at least 1, got {wrong!r}.$"):
            make(**options)


@pytest.mark.parametrize("wrong", [0, -1e-3, float("nan"), float("inf"), "1", None, True])
def test_factors_that_are_not_above_zero_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^scale must be a finite number above 0, got {wrong!r}.$"):
        TransformerSchedule(512, scale=wrong)
    with pytest.raises(ValueError, match=f"^peak must be a finite number above 0, got {wrong!r}.$"):
        TransformerSchedule.with_peak(wrong, 512)


def test_numpy_scalars_become_plain_numbers():
    options = TransformerSchedule(np.int64(512), np.int32(7), np.float32(0.5)).get_config()
    assert options == {"d_model": 512, "warmup_steps": 7, "scale": 0.5}
    assert [type(value) for value in options.values()] == [int, int, float]


def test_rates_that_cannot_be_meant_are_named_in_the_log(caplog):
    TransformerSchedule(512)  # the paper's
    TransformerSchedule.with_peak(0.02, 7, 13)
    TransformerSchedule.with_peak(1e-6, 7, 13)
    assert not caplog.records
    TransformerSchedule(4, 4, scale=2)  # 2 / sqrt(4 · 4)
    TransformerSchedule(512, scale=1e-3)  # meant as a rate
    high, low = caplog.messages
    assert high.startswith(
        "The highest rate of TransformerSchedule(d_model=4, warmup_steps=4, scale=2) is 0.5, at step 4."
    )
    assert "is 7e-07, at step 4000." in low and "TransformerSchedule.with_peak(" in low
