"""Adam with one kernel for each variable is compared with Keras' own formula."""

import keras
import numpy as np
import pytest
import steps
import tensorflow as tf
import tiny

from keras_transformer import Transformer, TransformerSchedule
from keras_transformer.train_step.tensorflow_step import prepare

SHAPES = [(7, 5), (11,), (2, 3, 5)]


def after_updates(make, prepared):
    """The weights and the variables of the optimizer after four updates."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    optimizer = make()
    optimizer.build(variables)
    if prepared:
        prepare(optimizer)

    @tf.function
    def update(gradients):
        optimizer.apply(gradients, variables)

    for size in (1.0, 1e-8, 30.0, 0.1):
        update([tf.constant(size * rng.normal(size=shape), tf.float32) for shape in SHAPES])
    return [variable.numpy() for variable in variables], [(v.path, v.numpy()) for v in optimizer.variables]


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=2.0**4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.01),
        lambda: keras.optimizers.Adam(TransformerSchedule(16, 3), beta_1=0.8, beta_2=0.98, epsilon=1e-9),
        lambda: keras.optimizers.Adam(0.01, clipnorm=0.5),
        lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.5, weight_decay=0.1),
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3),
        lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
        scaled,
    ],
    ids=["plain", "schedule", "clipnorm", "global_clipnorm", "average", "accumulation", "AdamW", "loss scale"],
)
def test_updates_equal_those_of_keras(make):
    """Weights agree to 1e-6 of their largest. Velocities differ by the error of 1 - β: see the next test."""
    weights, state = after_updates(make, prepared=True)
    expected_weights, expected_state = after_updates(make, prepared=False)
    for found, goal in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(found, goal, rtol=0, atol=1e-6 * np.abs(goal).max())
    for (name, found), (_, goal) in zip(state, expected_state, strict=True):
        tolerance = 2e-5 if "velocity" in name else 1e-6
        np.testing.assert_allclose(found, goal, rtol=tolerance, atol=1e-6 * np.abs(goal).max(), err_msg=name)


def test_updates_equal_the_formula_with_beta_in_float32():
    """Everything else is in float64. If β = 0.999 is rounded to float32, the relative error of 1 - β is 1.3e-5."""
    weights, state = after_updates(lambda: keras.optimizers.Adam(0.01), prepared=True)
    rng = np.random.default_rng(0)
    expected = [rng.normal(size=shape).astype("float32").astype("float64") for shape in SHAPES]
    first, second = (float(np.float32(beta)) for beta in (0.9, 0.999))
    means, squares = [0.0] * len(SHAPES), [0.0] * len(SHAPES)
    for step, size in enumerate((1.0, 1e-8, 30.0, 0.1), start=1):
        for i, shape in enumerate(SHAPES):
            gradient = (size * rng.normal(size=shape)).astype("float32").astype("float64")
            means[i] = first * means[i] + (1 - first) * gradient
            squares[i] = second * squares[i] + (1 - second) * gradient**2
            rate = 0.01 * np.sqrt(1 - second**step) / (1 - first**step)
            expected[i] -= rate * means[i] / (np.sqrt(squares[i]) + 1e-7)
    velocities = [value for name, value in state if "velocity" in name]
    for found, goal, velocity, square in zip(weights, expected, velocities, squares, strict=True):
        np.testing.assert_allclose(velocity, square, rtol=1e-6)
        np.testing.assert_allclose(found, goal, rtol=0, atol=5e-7)


class Own(Transformer):
    """A model that trains with Keras' own update."""

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        vars(self.optimizer).pop("update_step")


def test_two_replicas_train_like_keras_own_update_on_one():
    options = {"clip": 0.5, "log_gradient_norm": False, "valid": False}
    expected = steps.trained(tf.distribute.get_strategy(), make=Own, **options)
    steps.compare(steps.trained(tiny.two_replicas(), **options), expected)


def test_other_optimizers_keep_their_own_update():
    class Mine(keras.optimizers.Adam):
        pass

    for optimizer in (Mine(), keras.optimizers.Adam(amsgrad=True), keras.optimizers.Adamax()):
        prepare(optimizer)
        assert "update_step" not in vars(optimizer)
