"""A trained model leaves nothing in memory: no graph, and with it no weights. Its gradients are right nevertheless."""

import gc
import weakref

import pytest
import tensorflow as tf
import tiny


def graphs():
    gc.collect()
    return {id(each) for each in gc.get_objects() if issubclass(type(each), tf.Graph)}


@pytest.mark.parametrize(("replicas", "options"), [(1, {}), (2, {"accumulate_steps": 2, "log_gradient_norm": True})])
def test_a_trained_model_and_its_graphs_are_freed(replicas, options):
    strategy = tiny.two_replicas() if replicas == 2 else tf.distribute.get_strategy()
    batch = tiny.random_batch(tiny.np.random.default_rng(3), [3, 3, 3, 3], [5, 5, 5, 5])
    data = tf.data.Dataset.from_tensors(batch)
    tf.function(lambda x: x + 1)(1)  # what TensorFlow keeps of any first function
    before = graphs()
    with strategy.scope():
        model = tiny.make_model(dropout=0.1, output_bias=True)
        metrics = [tiny.MaskedAccuracy(), tiny.Perplexity()]
        model.compile("adam", tiny.LabelSmoothedCrossEntropy(), metrics=metrics, **options)
    model.fit(data, validation_data=data, verbose=0)
    alive = weakref.ref(model)
    del model, metrics, data
    assert len(graphs() - before) == 0
    assert alive() is None


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_the_gradients_of_variables_are_the_same_in_a_graph_and_eagerly(run_eagerly):
    """`tf.custom_gradient` alone would look for the variables that a function reads: the output bias."""
    tiny.keras.utils.set_random_seed(1)
    model = tiny.make_model(output_bias=True)
    batch = tiny.random_batch(tiny.np.random.default_rng(3), [7, 2, 5, 5], [3, 9, 4, 1])
    model.compile(tiny.keras.optimizers.SGD(1.0), tiny.LabelSmoothedCrossEntropy(), run_eagerly=run_eagerly)
    before = [tiny.np.array(weight) for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = model.loss(batch[1], model(batch[0], training=True))
    expected = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    model.train_on_batch(*batch)
    for old, new, gradient in zip(before, model.trainable_weights, expected, strict=True):
        tiny.np.testing.assert_allclose(old - new, tf.convert_to_tensor(gradient), rtol=1e-4, atol=1e-6)
