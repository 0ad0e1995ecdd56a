"""The layers of Table 1 of the paper, as functions whose time and memory are measured."""

from typing import Any, NamedTuple

import numpy as np

HEAD = 64  # d_k = d_v of the paper; a wider layer has more heads
SELF, RESTRICTED, RECURRENT, CONVOLUTIONAL = "self-attention", "restricted", "recurrent", "convolutional"
KINDS = (SELF, RESTRICTED, RECURRENT, CONVOLUTIONAL)
WHOLE, WHOLE_RESTRICTED = "self-attention with projections", "restricted with projections"

# Exponents of n and d, of Table 1 for the time. Its page does not speak of memory: these are the largest arrays of the
# forward pass, n² scores for each of d/64 heads, or n vectors.
TIME = {SELF: (2, 1), RESTRICTED: (1, 1), RECURRENT: (1, 2), CONVOLUTIONAL: (1, 2)}
MEMORY = {SELF: (2, 1), RESTRICTED: (1, 1), RECURRENT: (1, 1), CONVOLUTIONAL: (1, 1)}


class Kind(NamedTuple):
    """A layer that is built."""

    function: Any  # of the inputs
    inputs: Any  # a function of the length n: the inputs, a list of arrays float32
    weights: list  # its variables


def make_kind(kind, d, window, kernel):
    """Return a `Kind` of width d, for one sequence.

    Args:
        kind: one of `KINDS`: attention from projected heads to heads, because Table 1 does not count the four
            projections, whose time is n·d². Or `WHOLE` or `WHOLE_RESTRICTED`, a `MultiHeadAttention` with a mask of
            padding, as an encoder calls it.
        d: a multiple of 64.
        window: r of restricted attention.
        kernel: k of the convolution.
    """
    import keras

    from keras_transformer import MultiHeadAttention

    if kind in (SELF, RESTRICTED):
        attention = heads_only(window if kind == RESTRICTED else None)
        return Kind(attention, lambda n: numbers(3, (1, d // HEAD, n, HEAD)), [])
    layer = {
        WHOLE: lambda: MultiHeadAttention(d // HEAD),
        WHOLE_RESTRICTED: lambda: MultiHeadAttention(d // HEAD, window=window),
        RECURRENT: lambda: keras.layers.LSTM(d, return_sequences=True),
        CONVOLUTIONAL: lambda: keras.layers.Conv1D(d, kernel, padding="same"),
    }[kind]()
    layer.build((1, None, d))

    def as_encoder(x):
        return layer(x, mask=x[..., 0] < 100, training=True)  # all are tokens, which the graph does not know

    function = as_encoder if kind in (WHOLE, WHOLE_RESTRICTED) else layer
    return Kind(function, lambda n: numbers(1, (1, n, d)), [variable.value for variable in layer.trainable_variables])


def heads_only(window):
    """Return self-attention of queries, keys and values (1, H, n, 64), over all positions or in windows."""
    from keras import ops

    from keras_transformer.layers.attention import attention_weights
    from keras_transformer.layers.window import restricted

    def weigh(query, key, mask=None):
        weights = attention_weights(query, key, mask)
        return weights, weights

    if window is None:
        return lambda query, key, value: ops.matmul(weigh(query, key)[1], value)
    return lambda *heads: restricted(weigh, *heads, None, window, causal=False, training=True)[0]


def numbers(count, shape):
    """Return some arrays of normal numbers."""
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype("float32") for _ in range(count)]


def passes(kind):
    """Return a compiled function of inputs for each pass: "forward", and "training", which adds all gradients.

    The gradients are those of half the sum of squares of the outputs, for all weights and inputs.
    """
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=False)
    def forward(*inputs):
        return kind.function(*inputs)

    @tf.function(autograph=False, reduce_retracing=False)
    def training(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            half = tf.reduce_sum(tf.square(kind.function(*inputs))) / 2
        return tape.gradient(half, [*inputs, *kind.weights])

    return {"forward": forward, "training": training}
