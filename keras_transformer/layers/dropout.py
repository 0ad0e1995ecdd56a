"""Dropout that needs a quarter of the random numbers."""

import keras
from keras import ops

from keras_transformer.backend.kernels import random_integers
from keras_transformer.backend.xla import scale_or_zero
from keras_transformer.layers.arguments import plain

NEAR_ENOUGH = 0.02  # the largest relative error of the rates of dropping and of keeping


def threshold(rate):
    """How many of how many equally likely integers to drop.

    The second number is 256, or 65,536 if no multiple of 1/256 is near enough to `rate`.
    """
    for levels in (2**8, 2**16):
        dropped = min(round(rate * levels), levels - 1)
        if abs(dropped / levels - rate) <= NEAR_ENOUGH * min(rate, 1 - rate):
            break
    return dropped, levels


@keras.saving.register_keras_serializable(package="keras_transformer")
class Dropout(keras.layers.Dropout):
    """Sets each element to zero with probability `rate`, and divides the others by 1 - rate.

    On a processor, Keras' own layer spends most of its time on one random number for each element. Here 32 random bits
    serve four elements. So `rate` becomes a multiple of 1/256: 0.1 becomes 0.1016, and the other elements are divided
    by 1 - 0.1016. Where that would miss the rate by more than 2 %, an element takes 16 bits.

    Args:
        rate: in [0, 1).

    Call arguments:
        x: (..., N).
        training: if False (the default outside of training), the result is `x`.

    Raises:
        ValueError: a rate outside [0, 1).
    """

    def __init__(self, rate, **kwargs):
        [rate] = plain(rate=rate)
        super().__init__(rate, **kwargs)

    def call(self, x, training=False):
        if not training or self.rate == 0:
            return x
        dropped, levels = threshold(self.rate)
        *rows, size = ops.shape(x)
        integers = random_integers(rows, size, levels, self.seed_generator)
        scale = ops.cast(levels / (levels - dropped), x.dtype)
        return scale_or_zero(x, ops.greater_equal(integers, ops.cast(dropped, integers.dtype)), scale)
