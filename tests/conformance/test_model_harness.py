"""Keras' and keras-hub's own harnesses over the model: configuration, files, mixed precision, shapes, `fit`."""

import keras
import keras_harness
import numpy as np
import pytest
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, Transformer

SIZES = {
    **{"vocabulary_size": 11, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 8, "num_heads": 2},
    "d_ff": 5,
}
BATCH = {"source": np.array([[5, 6, 3, 0], [7, 8, 9, 3]], "int32"), "target": np.array([[2, 5, 6], [2, 9, 0]], "int32")}
CONFIGURATIONS = [
    {},
    {"norm": "pre", "tie_embeddings": "none", "target_vocabulary_size": 13, "output_bias": True},
    {"positions": "learned", "max_length": 9, "tie_embeddings": "target", "activation": "gelu", "trainable": False},
]
configurations = pytest.mark.parametrize("changes", CONFIGURATIONS, ids=["paper", "untied", "learned"])


@configurations
def test_keras_own_test_of_serialization(changes):
    with keras_harness.keras_test_case() as case:
        case.run_class_serialization_test(Transformer(**SIZES, **changes))


@configurations
def test_keras_hubs_own_tests_of_models(changes):
    with keras_harness.hub_test_case() as case:
        case.run_serialization_test(Transformer(**SIZES, **changes))
        case.run_model_saving_test(Transformer, {**SIZES, **changes}, BATCH)


@configurations
def test_a_functional_model_as_keras_has_it(changes):
    model = Transformer(**SIZES, **changes)
    size = model.target_vocabulary_size
    assert model.output_shape == (None, None, size)
    symbols = {name: keras.Input((None,), dtype="int32", name=name) for name in BATCH}
    assert model(symbols).shape == (None, None, size)
    assert model.compute_output_spec(symbols).dtype == "float32"
    around = keras.Model(symbols, keras.layers.Softmax()(model(symbols)))  # a layer of another model
    np.testing.assert_allclose(around.predict(BATCH, verbose=0).sum(-1), np.ones((2, 3)), rtol=1e-5)
    half = Transformer(**SIZES, **{**changes, "dtype": "mixed_float16"})
    assert half(BATCH).dtype == "float32" and {weight.dtype for weight in half.weights} == {"float32"}
    assert half.encode(BATCH["source"]).dtype == "float16"


def test_a_model_that_was_compiled_and_never_trained_loads(tmp_path):
    model = tiny.compiled(tiny.make_model())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")  # warnings are errors
    batch = tiny.random_batch(np.random.default_rng(0), [4, 2], [3, 5])
    losses = [each.fit(*batch, epochs=2, verbose=0).history["loss"] for each in (again, model)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    again.save(tmp_path / "model.keras")
    assert int(keras.saving.load_model(tmp_path / "model.keras").optimizer.iterations) == 2


@pytest.mark.parametrize("changes", [{}, {"positions": "learned", "max_length": 9, "trainable": False}])
def test_clone_model_is_refused_and_from_config_clones(changes):
    model = Transformer(**SIZES, **changes)
    model.encoder.layers[0].feed_forward.trainable = not model.trainable
    model.compile("sgd", LabelSmoothedCrossEntropy())
    with pytest.raises(ValueError) as error:
        keras.models.clone_model(model)
    assert str(error.value) == (
        "clone_model cannot make a Transformer. Use model.from_config(model.get_config()) instead, then compile the "
        "new model."
    )
    clone = model.from_config(model.get_config())
    assert clone.get_config() == model.get_config()
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(BATCH), model(BATCH))
    assert [weight.path for weight in clone.trainable_weights] == [weight.path for weight in model.trainable_weights]
