"""Training in float16 with loss scaling on two replicas. `test_floatx.py` has bfloat16."""

import keras
import numpy as np
import tensorflow as tf
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, Perplexity

FIRST_HALF_EMPTY = ([0, 0, 7, 6], [0, 0, 9, 8])  # the first replica has no tokens


def compiled(scale=2.0**10, **options):
    with tiny.two_replicas().scope():
        model = tiny.make_model(dtype="mixed_float16")
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=scale)
        options = {"log_gradient_norm": True, **options}
        model.compile(optimizer, LabelSmoothedCrossEntropy(0.1), metrics=[Perplexity()], **options)
    return model


def fit(model, lengths, epochs=1):
    data = tf.data.Dataset.from_tensors(tiny.random_batch(np.random.default_rng(0), *lengths))
    return model.fit(data, epochs=epochs, verbose=0, shuffle=False).history


def on_each_replica(variable):
    return [float(value) for value in tiny.two_replicas().experimental_local_results(variable.value)]


def test_it_trains_with_micro_batches():
    model = compiled(accumulate_steps=2)
    logs = fit(model, ([7, 6, 3, 2], [9, 8, 2, 3]), epochs=12)
    assert logs["perplexity"][-1] < logs["perplexity"][0] / 2
    assert np.isfinite(logs["gradient_norm"]).all() and logs["gradient_norm"][0] < 20  # not scaled
    assert on_each_replica(model.optimizer.iterations) == [12, 12]
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)


def test_an_overflow_on_one_replica_skips_the_step_on_both_and_halves_the_scale():
    model = compiled(scale=2.0**60)
    before = model.get_weights()
    logs = fit(model, FIRST_HALF_EMPTY)
    for weight, expected in zip(model.trainable_weights, before, strict=False):
        for local in tiny.two_replicas().experimental_local_results(weight.value):
            np.testing.assert_array_equal(local, expected)
    assert on_each_replica(model.optimizer.dynamic_scale) == [2.0**59, 2.0**59]
    assert on_each_replica(model.optimizer.iterations) == [0, 0]
    assert logs["gradient_norm"] == [0]  # there was no update
