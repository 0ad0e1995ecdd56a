"""The private parts of Keras that training uses: a test for each function of `compat.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer.backend import compat


def dense():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    return layer


def test_trainer_hooks_hear_of_losses_and_additional_losses():
    heard = []

    class Model(compat.TrainerHooks, keras.Model):
        def check_loss(self):
            heard.append("loss")

        def check_additional_loss(self):
            heard.append("additional loss")

        def call(self, x, training=None, mask=None):
            y = super().call(x)
            self.add_loss(tf.reduce_sum(y))
            return y

    x = keras.Input((2,))
    model = Model(x, dense()(x))
    model.compile("sgd", "mse", run_eagerly=True)
    y = model(np.ones((1, 2), "float32"))
    total = model.compute_loss(y=tf.zeros_like(y), y_pred=y)
    np.testing.assert_allclose(total, tf.reduce_mean(y**2) + tf.reduce_sum(y), rtol=1e-6)
    assert heard == ["loss", "additional loss"]


def test_adam_moments_are_those_that_the_update_changes():
    layer, adam = dense(), keras.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.75)
    adam.build(layer.trainable_variables)
    adam.apply([tf.fill([2, 3], 2.0), tf.zeros([3])])
    first, second = compat.adam_moments(adam, layer.kernel)
    np.testing.assert_allclose(first, np.full((2, 3), 1.0), rtol=1e-6)  # (1 - 0.5) · 2
    np.testing.assert_allclose(second, np.full((2, 3), 1.0), rtol=1e-6)  # (1 - 0.75) · 2²


def test_set_update_step_is_what_apply_calls():
    layer, adam, calls = dense(), keras.optimizers.Adam(0.1), []
    compat.set_update_step(adam, lambda gradient, variable, learning_rate: calls.append(variable.shape))
    adam.build(layer.trainable_variables)
    adam.apply([tf.zeros([2, 3]), tf.zeros([3])])
    assert calls == [(2, 3), (3,)]


def test_start_at_epoch_is_where_fit_starts():
    model, epochs = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), []

    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            compat.start_at_epoch(self.model, 2)

        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)

    model.compile("sgd", "mse")
    model.fit(np.ones((3, 2)), np.ones((3, 1)), epochs=4, verbose=0, callbacks=[Begin()])
    assert epochs == [2, 3]


def test_additional_loss_is_what_compute_loss_adds():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_regularizer="l2")])
    model.compile("sgd", "mse")
    x, y = np.ones((3, 2)), np.ones((3, 1))
    whole = float(model.compute_loss(x, y, y))  # the prediction is right, so only the additional loss is left
    assert whole == pytest.approx(float(compat.additional_loss(model, model.losses[0])))
    assert whole > 0


def test_the_rate_of_an_optimizer_is_found_inside_loss_scaling():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 3, 0.7)
    for rate in (0.25, schedule):
        optimizer = keras.optimizers.Adam(rate)
        scaled = keras.optimizers.LossScaleOptimizer(optimizer)
        assert compat.inner_optimizer(scaled) is compat.inner_optimizer(optimizer) is optimizer
        found = compat.learning_rate_of(scaled)
        assert found is compat.learning_rate_of(optimizer)
        assert found is schedule if rate is schedule else float(found) == 0.25
    assert compat.learning_rate_of(None) is None


def test_keras_knows_the_better_direction_of_the_loss_and_of_metrics_that_tell():
    model = tiny.make_model()
    model.compile("sgd", tiny.LabelSmoothedCrossEntropy(), metrics=[keras.metrics.MeanMetricWrapper(max, name="own")])
    for options, known in (
        ({"monitor": "val_loss"}, True),
        ({"monitor": "bleu"}, False),
        ({"monitor": "bleu", "mode": "max"}, True),
        ({"monitor": "own"}, False),
    ):
        callback = keras.callbacks.EarlyStopping(**options, min_delta=0.5)
        assert compat.finds_direction(callback, model) == known
        assert callback.monitor_op is None and callback.min_delta == 0.5, "the callback is as it was"


def test_compiled_metrics_are_the_objects_that_were_given():
    model, metric = tiny.make_model(), keras.metrics.SparseCategoricalAccuracy(name="mine")
    model.compile("sgd", "ctc", metrics=[metric])
    assert compat.compiled_metrics(model, keras.KerasTensor((2, 3)), keras.KerasTensor((2, 3, 5))) == [metric]
    assert compat.compiled_metrics(tiny.make_model(), None, None) == []


def test_weighted_metrics_are_only_those():
    model, metric = tiny.make_model(), keras.metrics.SparseCategoricalAccuracy(name="mine")
    assert compat.weighted_metrics(model) == []
    model.compile("sgd", "ctc", metrics=[keras.metrics.SparseCategoricalAccuracy()])
    assert compat.weighted_metrics(model) == []
    model.compile("sgd", "ctc", metrics=[keras.metrics.SparseCategoricalAccuracy()], weighted_metrics=[metric])
    assert compat.weighted_metrics(model) == [metric]


def test_trainer_hooks_are_called_by_fit():
    class Model(compat.TrainerHooks, keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.calls = keras.layers.Dense(1), set()

        def call(self, x):
            return self.dense(x)

        def check_loss(self):
            self.calls.add("check_loss")

        def logs_of(self, logs):
            self.calls.add("logs_of")
            return logs

        def batch_to_build_from(self, data_batch):
            self.calls.add("batch_to_build_from")
            return data_batch

    model = Model()
    model.compile("sgd", "mse")
    model.fit(np.ones((3, 2)), np.ones((3, 1)), verbose=0)
    assert model.calls == {"check_loss", "logs_of", "batch_to_build_from"}


def test_forget_metric_takes_it_from_the_list():
    model = tiny.make_model()
    model.own = keras.metrics.Mean(name="own")
    assert model.own in model.metrics
    compat.forget_metric(model, model.own)
    model.compile("sgd", "ctc")
    assert [metric.name for metric in model.metrics] == ["loss"]


def test_set_loss_tracker_is_the_metric_behind_the_logged_loss():
    model, tracker = tiny.make_model(), keras.metrics.Mean(name="loss", dtype="float32")
    model.compile("sgd", "ctc")
    compat.set_loss_tracker(model, tracker)
    assert model.metrics == [tracker] and model.loss_tracker is tracker


def test_set_gradient_sum_is_what_apply_calls():
    layer, sgd, calls = dense(), keras.optimizers.SGD(1.0), []

    def doubled(tensors):
        calls.append(len(tensors))
        return [2 * each for each in tensors]

    compat.set_gradient_sum(sgd, doubled)
    before = layer.get_weights()
    sgd.build(layer.trainable_variables)
    sgd.apply([tf.ones([2, 3]), tf.ones([3])])
    assert calls == [2]
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_allclose(new, old - 2.0, rtol=1e-6)


def test_a_variable_knows_the_strategy_in_whose_scope_it_was_made():
    with tiny.two_replicas().scope():
        variable = keras.Variable(1.0)
    assert compat.strategy_of(variable) is tiny.two_replicas()
    assert compat.strategy_of(keras.Variable(1.0)) is None
