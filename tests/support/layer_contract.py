"""The contract of every layer. The test of each layer calls it."""

import keras
import numpy as np


def values(x):
    return keras.ops.convert_to_numpy(x)


def gradients(function, *arguments):
    """The gradients of a function with one number as result, for each argument, on the backend of the tests."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function, range(len(arguments)))(*arguments)
    if keras.backend.backend() == "torch":
        import torch

        arguments = [torch.tensor(argument, requires_grad=True) for argument in arguments]
        return torch.autograd.grad(function(*arguments), arguments)
    import tensorflow as tf

    arguments = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        result = function(*arguments)
    return tape.gradient(result, arguments)


def check_layer(make, *inputs, num_weights, atol=1e-6, half_atol=0.1):
    """Check a layer: config round trip, symbolic and eager call, a step of `fit`, dtype policies.

    Args:
        make: a function that makes the layer from the keyword arguments dtype and name.
        *inputs: NumPy arrays, the positional arguments of the call. Their first axis is the batch.
        num_weights: the number of weight arrays that the layer must have.
        atol: how far the symbolic call may be from the eager call.
        half_atol: how far half precision may be from float32.
    """
    layer = make(name="layer")
    expected = values(layer(*inputs))
    assert len(layer.weights) == num_weights

    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(values(twin(*inputs)), expected)

    symbolic = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    outputs = layer(*symbolic)
    model = keras.Model(symbolic, outputs)
    assert outputs.shape[1:] == expected.shape[1:]
    np.testing.assert_allclose(values(model(list(inputs))), expected, atol=atol)

    if layer.trainable_weights:
        before = [w.copy() for w in layer.get_weights()]
        model.compile("sgd", "mse")
        model.fit(list(inputs), np.ones_like(expected), verbose=0)
        assert any((a != b).any() for a, b in zip(before, layer.get_weights(), strict=True))
        layer.set_weights(before)

    halves = (("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16"))
    for policy, dtype in halves if keras.backend.backend() == "tensorflow" else halves[:1]:
        half = make(name="layer", dtype=policy)
        result = half(*inputs)
        half.set_weights(layer.get_weights())
        result = half(*inputs)
        assert keras.backend.standardize_dtype(result.dtype) == dtype
        assert all(keras.backend.standardize_dtype(w.dtype) == "float32" for w in half.weights)
        np.testing.assert_allclose(values(keras.ops.cast(result, "float32")), expected, atol=half_atol)


def reloaded(model, tmp_path):
    """The model after it was saved to `.keras` and loaded."""
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")
