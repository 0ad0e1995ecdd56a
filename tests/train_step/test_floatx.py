"""`keras.config.set_floatx` changes the dtype of a model. The loss and the sums of metrics stay in float32."""

import keras
import numpy as np
import pytest
import tiny

from keras_transformer.incremental import IncrementalDecoder


class OwnLoss(tiny.LabelSmoothedCrossEntropy):
    """The same loss, computed from the logits as a whole."""


@pytest.fixture(params=["float64", "bfloat16", "float16"])
def floatx(request):
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx("float32")


def trained(loss, **options):
    """A model after two updates. The ops of a step run one by one, so that no graph is traced for each dtype."""
    keras.utils.set_random_seed(1)
    model = tiny.make_model(output_bias=True)
    batch = tiny.random_batch(np.random.default_rng(3), [7, 2, 5, 5], [3, 9, 4, 1])
    model.compile("sgd", loss, metrics=[tiny.MaskedAccuracy(), tiny.Perplexity()], run_eagerly=True, **options)
    logs = model.fit(*batch, epochs=2, verbose=0).history
    return model, logs | {"evaluated": model.evaluate(*batch, verbose=0)}


def test_both_ways_to_the_loss_and_micro_batches_agree(floatx):
    model, logs = trained(tiny.LabelSmoothedCrossEntropy())
    assert model.compute_dtype == model.encoder.layers[0].compute_dtype == floatx
    tolerance = {"float64": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}[floatx]
    for other in (trained(OwnLoss()), trained(tiny.LabelSmoothedCrossEntropy(), accumulate_steps=2)):
        for name in ("loss", "perplexity", "evaluated"):
            np.testing.assert_allclose(np.asarray(other[1][name]), logs[name], rtol=tolerance)
    assert {variable.dtype for metric in model.metrics for variable in metric.variables} == {"float32"}


def test_cached_decoding_equals_the_model(floatx):
    model = tiny.make_model()
    source, target = np.array([[5, 7, 3]]), np.array([[2, 8, 6, 4]])
    logits = keras.ops.convert_to_numpy(keras.ops.cast(model({"source": source, "target": target}), "float32"))
    decoder = IncrementalDecoder(model)
    state = decoder.start(model.encode(source), source, 4)
    for position in range(4):
        found, state = decoder.step(target[:, position : position + 1], state)
        tolerance = {"float64": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}[floatx]
        np.testing.assert_allclose(np.asarray(found)[:, 0], logits[:, position], atol=tolerance)
