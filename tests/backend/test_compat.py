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


def test_own_layers_and_variables_are_those_of_one_layer_only():
    model = keras.Sequential([keras.Input((2,)), dense(), keras.layers.BatchNormalization()])
    assert [type(layer).__name__ for layer in compat.own_layers(model)][-2:] == ["Dense", "BatchNormalization"]
    assert compat.own_variables(model) == []
    kernel, bias = compat.own_variables(model.layers[0])
    kernel.trainable = False
    assert [variable.name for variable in compat.own_variables(model.layers[0])] == [kernel.name, bias.name]


def test_in_one_line_keeps_keras_from_adding_arguments():
    class Refusing(keras.layers.Layer):
        def call(self, x):
            raise compat.in_one_line(ValueError("no"))

    with pytest.raises(ValueError, match=r"\Ano\Z"):
        Refusing()(np.ones((1, 2)))


def test_one_call_keeps_the_losses_of_a_layer_that_is_called_twice():
    layer = keras.layers.Dense(3, activity_regularizer="l2")
    model = keras.Sequential([keras.Input((2,)), layer])
    with compat.one_call_of(model):
        layer(np.ones((1, 2))), layer(np.ones((1, 2)))
    assert len(model.losses) == 2
    layer(np.ones((1, 2)))  # outside, each call forgets the last one
    assert len(model.losses) == 1


def test_mark_as_called_is_what_the_writer_of_onnx_asks():
    model = keras.Sequential([keras.Input((2,)), dense()])
    assert not model._called
    compat.mark_as_called(model)
    assert model._called


def test_clone_hook_hears_of_clone_model_only():
    class Model(compat.CloneHook, keras.Model):
        def refuse_cloning(self):
            raise ValueError("no clones")

    x = keras.Input((2,))
    model = Model(x, dense()(x))
    assert model(np.ones((1, 2))).shape == (1, 3)
    with pytest.raises(ValueError, match="no clones"):
        keras.models.clone_model(model)


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


def test_is_tensorflow_used_after_the_first_operation():
    code = (
        "from keras_transformer.backend.compat import is_tensorflow_used as used; before = used(); import tensorflow; "
        "imported = used(); tensorflow.constant(1); print(before, imported, used())"
    )
    assert tiny.python("-c", code).stdout.split() == ["False", "False", "True"]


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
