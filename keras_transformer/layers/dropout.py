"""Dropout whose mask costs a quarter of the random numbers."""

import keras
from keras import ops

from keras_transformer.backend.kernels import random_bits
from keras_transformer.backend.xla import kept

NEAR_ENOUGH = 0.02  # how far the rates of dropping and keeping may be from those asked for, relative to them


def threshold(rate):
    """How many of how many equally likely integers to drop: 256, or 65,536 where 256 do not come near `rate`."""
    for levels in (2**8, 2**16):
        dropped = min(round(rate * levels), levels - 1)
        if abs(dropped / levels - rate) <= NEAR_ENOUGH * min(rate, 1 - rate):
            break
    return dropped, levels


class Dropout(keras.layers.Dropout):
    """Each element is zero with probability `rate`, the others are divided by 1 - rate.

    On a processor Keras' own layer spends its time on a random number for each element. Here 32 random bits
    serve four elements, so that `rate` is a multiple of 1/256: 0.1 is 0.1016, and what is kept is divided by
    1 - 0.1016. A rate that 256 levels miss by more than 2 % takes 16 bits an element.

    Args:
        rate: in [0, 1).

    Call arguments:
        x: (..., N).
        training: False, and by default outside of training, x as it is.
    """

    def call(self, x, training=False):
        if not training or self.rate == 0:
            return x
        dropped, levels = threshold(self.rate)
        (*rows, size), of_a_word = ops.shape(x), {2**8: 4, 2**16: 2}[levels]
        words = -(-size // of_a_word)  # a row
        bits = random_bits((*rows, words, 1), self.seed_generator)  # the 1 as `view` wants to know the last axis
        bits = ops.view(bits, {2**8: "uint8", 2**16: "uint16"}[levels])
        bits = ops.reshape(bits, (*rows, words * of_a_word))
        if not isinstance(size, int) or size % of_a_word:
            bits = bits[..., :size]
        scale = ops.cast(levels / (levels - dropped), x.dtype)
        return kept(x, ops.greater_equal(bits, ops.cast(dropped, bits.dtype)), scale)
