"""What Table 1 of the paper says without a clock, counted: the longest path of a signal, and operations in sequence."""

import numpy as np
from layer_kinds import CONVOLUTIONAL, RECURRENT, RESTRICTED, SELF

DILATED = "convolutional, dilated"
WIDTH = 4  # of the layers here: a path does not depend on it


def make_layer(kind, window, kernel, depth=0):
    """Return the layer at a depth of a stack, in float64, so that no gradient becomes zero by rounding."""
    import keras

    from keras_transformer import MultiHeadAttention

    options = {"dtype": "float64", "name": f"layer_{depth}"}
    if kind == RECURRENT:
        return keras.layers.LSTM(WIDTH, return_sequences=True, unroll=True, **options)
    if kind in (SELF, RESTRICTED):
        return MultiHeadAttention(1, window=window if kind == RESTRICTED else None, **options)
    if kind == DILATED:
        return keras.layers.Conv1D(WIDTH, kernel, padding="causal", dilation_rate=kernel**depth, **options)
    return keras.layers.Conv1D(WIDTH, kernel, padding="same", **options)


def reached(function, n):
    """Return which inputs move which outputs: (n, n) bool, outputs in rows.

    Row t is where the gradient of output t is not zero. All rows are computed at a time, as a batch of n copies.

    Args:
        function: of (n, n, WIDTH) to outputs of the same shape.
        n: the length.
    """
    import tensorflow as tf

    x = tf.constant(np.tile(np.random.default_rng(0).normal(size=(1, n, WIDTH)), (n, 1, 1)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        own = tf.reduce_sum(tf.linalg.diag_part(tf.transpose(function(x), [2, 0, 1])))  # output t of copy t
    return (tape.gradient(own, x).numpy() != 0).any(axis=2)


def longest_path(kind, n, window, kernel):
    """Return the fewest operations after which each output has seen each input: the longest of all shortest paths.

    An operation is a layer, and in a recurrent layer a step of its cell. Outputs of recurrent layers and of dilated
    convolutions see no later inputs: only earlier ones count there. The convolution at depth i has the dilation k^i.
    """
    if kind == RECURRENT:
        return longest_in_cells(n)
    layers = []

    def sees_all(depth):
        while len(layers) < depth:
            layers.append(make_layer(kind, window, kernel, len(layers)))

        def stack(x):
            for layer in layers[:depth]:
                x = layer(x)
            return x

        needed = np.tri(n, dtype=bool) if kind == DILATED else True
        return np.all(reached(stack, n) >= needed)

    if kind == DILATED:  # few layers are enough; far too many would need far too long inputs
        return next(depth for depth in range(1, n + 1) if sees_all(depth))
    few, enough = 0, 1
    while not sees_all(enough):
        few, enough = enough, 2 * enough
    while enough - few > 1:  # a deeper stack sees no less, because each layer sees its own position
        middle = (few + enough) // 2
        few, enough = (few, middle) if sees_all(middle) else (middle, enough)
    return enough


def longest_in_cells(n):
    """Return how many steps of a cell lie between the first input and the last output of an LSTM.

    Each step multiplies the gradients that pass it by 1/2. So the gradient shrinks by 1/2 to the power of their number.
    """
    import keras
    import tensorflow as tf

    class Halving(keras.layers.LSTMCell):
        factor = 1.0

        def call(self, *arguments, **options):
            output, states = super().call(*arguments, **options)
            return half(output), [half(state) for state in states]

    @tf.custom_gradient
    def half(x):
        return tf.identity(x), lambda upstream: upstream * tf.constant(Halving.factor, upstream.dtype)

    layer = keras.layers.RNN(Halving(WIDTH, dtype="float64"), unroll=True, dtype="float64")
    x = tf.constant(np.random.default_rng(0).normal(size=(1, n, WIDTH)))
    sizes = []
    for Halving.factor in (1.0, 0.5):
        with tf.GradientTape() as tape:
            tape.watch(x)
            last = tf.reduce_sum(layer(x))
        sizes.append(np.abs(tape.gradient(last, x).numpy()[0, 0]).max())
    steps = np.log2(sizes[0] / sizes[1])
    if abs(steps - round(steps)) > 1e-6:
        raise RuntimeError(f"the gradient shrank by 2 to the power of {steps}, which is no whole number of steps.")
    return round(steps)


def operations_in_sequence(kind, n, window, kernel):
    """Return the longest chain of operations of the traced graph in which each one needs the one before.

    The LSTM is unrolled, because a loop would be one operation.
    """
    import tensorflow as tf

    layer = make_layer(kind, window, kernel)
    spec = tf.TensorSpec((1, n, WIDTH), tf.float64)
    layer.build(spec.shape)
    graph = tf.function(layer, autograph=False).get_concrete_function(spec).graph
    chain = {}
    for operation in graph.get_operations():  # in the order of their making, so inputs come first
        before = [chain[tensor.op.name] for tensor in operation.inputs]
        chain[operation.name] = 1 + max(before, default=0)
    return max(chain.values())


def count(lengths, window, kernel):
    """Return for each kind the counts at each length, as a list of dictionaries."""
    kinds = (SELF, RESTRICTED, RECURRENT, CONVOLUTIONAL, DILATED)
    return [
        {
            "kind": kind,
            "n": n,
            "longest_path": longest_path(kind, n, window, kernel),
            "operations_in_sequence": operations_in_sequence(kind, n, window, kernel),
        }
        for kind in kinds
        for n in lengths
    ]


def expected_path(kind, n, window, kernel):
    """Return the formula of the longest path for windows and kernels that are centered, and its text.

    A centered window or kernel reaches half of its size to each side. Table 1 has orders of magnitude: n/r, log_k n.
    """
    if kind == SELF:
        return 1, "1"
    if kind == RECURRENT:
        return n, "n"
    if kind == DILATED:
        layers = 1
        while kernel**layers < n:
            layers += 1
        return layers, "log_k n, rounded up"
    size, letter = (window, "r") if kind == RESTRICTED else (kernel, "k")
    return -(-(n - 1) * 2 // (size - 1)), f"2(n - 1)/({letter} - 1), rounded up"
