"""A trained model leaves nothing in memory: no graph, and with it no weights."""

import gc
import weakref

import pytest
import tensorflow as tf
import tiny


def graphs():
    gc.collect()
    return {id(each) for each in gc.get_objects() if isinstance(each, tf.Graph)}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("options", [{}, {"accumulate_steps": 2}, {"log_gradient_norm": True}])
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
