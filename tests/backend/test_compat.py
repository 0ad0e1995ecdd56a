"""One test for each private part of Keras and TensorFlow. If a new version changes a part, its test fails."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer.backend import compat
from keras_transformer.layers.projection import Projection


def dense():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    return layer


def test_keras_mask_is_the_mask_that_a_keras_layer_attached():
    """If Keras stored the mask elsewhere, masks would be dropped silently."""
    embedded = keras.layers.Embedding(7, 3, mask_zero=True)(np.array([[4, 5, 0]]))
    np.testing.assert_array_equal(compat.keras_mask(embedded), [[True, True, False]])
    assert compat.keras_mask(tf.zeros([1, 3])) is None


def test_weights_as_gives_other_values_of_any_dtype_inside_its_block():
    layer = dense()
    other = tf.ones([2, 3], tf.bfloat16)
    with compat.weights_as({id(layer.kernel): other}):
        assert layer.kernel.value is other
    assert layer.kernel.value.dtype == tf.float32
    with compat.weights_as({id(layer.kernel): other}), compat.weights_as({}):  # an empty one changes nothing
        assert layer.kernel.value is other


def test_list_first_decides_the_order_of_variables():
    class Model(keras.Model):
        def __init__(self, order):
            x = keras.Input((2,))
            first, second = (
                keras.layers.Dense(3, use_bias=False, name="a"),
                keras.layers.Dense(5, use_bias=False, name="b"),
            )
            compat.list_first(self, [first, second][::order])
            super().__init__(x, second(first(x)))

    assert [variable.path for variable in Model(1).variables] == ["a/kernel", "b/kernel"]
    assert [variable.path for variable in Model(-1).variables] == ["b/kernel", "a/kernel"]


def test_all_layers_are_found_at_any_depth():
    model = tiny.make_model()
    found = compat.all_layers(model)
    attention = model.decoder.layers[0].memory_attention
    assert {id(attention.query_projection), id(model.target_embedding)} <= {id(layer) for layer in found}


def test_mark_as_quantized_makes_keras_refuse_a_second_time():
    layer = dense()
    compat.mark_as_quantized(layer)
    with pytest.raises(ValueError, match="already quantized"):
        layer.quantize("int8")


def test_delete_variable_forgets_it_without_a_collection(monkeypatch):
    layer = dense()
    monkeypatch.setattr(gc, "collect", lambda *generation: pytest.fail("the garbage was collected"))
    compat.delete_variable(layer, "bias")
    assert not hasattr(layer, "bias")
    assert [weight.name for weight in layer.weights] == ["kernel"]


def test_kernel_variable_is_the_integers_of_a_quantized_dense():
    layer = Projection(3)
    layer.build((None, 2))
    assert compat.kernel_variable(layer) is layer.kernel
    layer.quantize("int8")
    assert compat.kernel_variable(layer).dtype == "int8"


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


def test_compiled_metrics_are_the_objects_that_were_given():
    model, metric = tiny.make_model(), keras.metrics.Mean(name="mine")
    model.compile("sgd", "mse", metrics=[metric])
    assert compat.compiled_metrics(model, keras.KerasTensor((2, 3)), keras.KerasTensor((2, 3, 5))) == [metric]
    assert compat.compiled_metrics(tiny.make_model(), None, None) == []


def test_weighted_metrics_are_only_those():
    model, metric = tiny.make_model(), keras.metrics.Mean(name="mine")
    assert compat.weighted_metrics(model) == []
    model.compile("sgd", "mse", metrics=[keras.metrics.Mean()])
    assert compat.weighted_metrics(model) == []
    model.compile("sgd", "mse", metrics=[keras.metrics.Mean()], weighted_metrics=[metric])
    assert compat.weighted_metrics(model) == [metric]


def test_trainer_hooks_are_called_by_fit():
    class Model(compat.TrainerHooks, keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.calls = keras.layers.Dense(1), set()

        def call(self, x):
            return self.dense(x)

        def logs_of(self, logs):
            self.calls.add("logs_of")
            return logs

        def batch_to_build_from(self, data_batch):
            self.calls.add("batch_to_build_from")
            return data_batch

    model = Model()
    model.compile("sgd", "mse")
    model.fit(np.ones((3, 2)), np.ones((3, 1)), verbose=0)
    assert model.calls == {"logs_of", "batch_to_build_from"}


def test_sentencepiece_ops_take_a_resource():
    for name in ("sentencepiece_op", "sentencepiece_tokenize_op", "sentencepiece_detokenize_op"):
        assert hasattr(compat.sentencepiece_ops(), name)


def test_must_compile_by_xla_is_what_jit_compile_leaves_in_a_graph():
    for jit in (False, True):
        function = tf.function(lambda x: x + 1, jit_compile=jit, input_signature=[tf.TensorSpec([])])
        definition = function.get_concrete_function().function_def
        assert compat.must_compile_by_xla(definition.attr) is jit


def test_write_rows_in_place_and_unset_rows():
    @tf.function
    def written():
        x = compat.unset_rows(4, 2, "float32")
        return compat.write_rows_in_place(x, tf.constant([2]), tf.constant([[5.0, 6.0]]))

    for _ in range(2):  # a second call gets a new buffer
        np.testing.assert_array_equal(written(), [[0, 0], [0, 0], [5, 6], [0, 0]])


def test_add_at_in_place_adds():
    found = compat.add_at_in_place(tf.zeros([2, 3]), tf.constant([[0, 2], [1, 0]]), tf.constant([4.0, 5.0]))
    np.testing.assert_array_equal(found, [[0, 0, 4], [5, 0, 0]])


def test_forget_metrics_leaves_none_of_an_earlier_compile():
    model = tiny.make_model()
    model.compile("sgd", "mse", metrics=[keras.metrics.Mean(name="mine")])
    model.own = keras.metrics.Mean(name="own")
    compat.forget_metrics(model, [model.own])
    model.compile("sgd", "mse")
    assert [metric.name for metric in model.metrics] == ["loss"]


def test_record_gradient_is_what_a_tape_uses():
    @tf.function
    def gradient():
        x = tf.constant(3.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.identity(x)
            compat.record_gradient([y], [x], lambda upstream: [7.0 * upstream])
        return tape.gradient(y, x)

    assert float(gradient()) == 7.0


def in_two_replicas(function):
    """What `function(replica)` gives in each of two replicas, from a graph."""
    strategy = tiny.two_replicas()

    def on_replica():
        return function(tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32))

    return strategy.experimental_local_results(tf.function(lambda: strategy.run(on_replica))())


def test_sum_over_replicas_adds_what_all_have():
    def summed(replica):
        context = tf.distribute.get_replica_context()
        return compat.sum_over_replicas(context, [replica + 2.0, tf.fill([3], replica - 5.0)])

    for scalar, row in in_two_replicas(summed):
        np.testing.assert_array_equal(scalar, 5.0)
        np.testing.assert_array_equal(row, [-9.0] * 3)


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


def test_numpy_reads_a_variable_without_a_warning():
    """`take_numpys_copy`: the method of Keras lacks NumPy 2's argument `copy`. Warnings are errors here."""

    class Old:
        def __array__(self, dtype=None):
            return array if dtype is None else array.astype(dtype)

    array = np.arange(3.0)
    with pytest.warns(DeprecationWarning, match="doesn't accept a copy keyword"):
        np.array(Old())
    compat.take_numpys_copy(Old)
    assert np.array(Old()) is not array and np.asarray(Old()) is array and np.array(Old(), "int32").dtype == "int32"
    variable = keras.Variable(np.arange(5.0))
    for read in (np.array, np.asarray, keras.ops.convert_to_numpy):
        assert read(variable).tolist() == [0, 1, 2, 3, 4]


def test_a_variable_knows_the_strategy_in_whose_scope_it_was_made():
    with tiny.two_replicas().scope():
        variable = keras.Variable(1.0)
    assert compat.strategy_of(variable) is tiny.two_replicas()
    assert compat.strategy_of(keras.Variable(1.0)) is None
