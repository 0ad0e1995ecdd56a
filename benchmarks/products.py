"""The products with weights by themselves: the least that decoding, or an update, can take with TensorFlow's kernels.

Same shapes, same order, one after the other, and nothing between them: no attention over positions, no softmax, no
normalisation, no dropout, no loss, no search. Contenders of `decode.py` and `train_step.py`.
"""


def in_turn(x, kernels):
    """The products of R rows with each kernel, each of what the one before it gave; the last one's first D columns.

    Args:
        x: (R, D).
        kernels: (D, ·) each, or (F, D) behind one that gives F columns, as in a feed-forward network.
    """
    width = x.shape[1]
    for kernel in kernels:
        x = (x if kernel.shape[0] == x.shape[1] else x[:, :width]) @ kernel
    return x[:, :width]


def kernels_of(model):
    """Of the encoder's layers, of the decoder's over the memory, and of one token's step, in their order."""
    encoder, over_memory, step = [], [], []
    for layer in model.encoder.layers:
        own, network = layer.self_attention, layer.feed_forward
        projections = (own.query_projection, own.key_projection, own.value_projection, own.output_projection)
        encoder += [part.kernel for part in (*projections, network.inner, network.outer)]
    for layer in model.decoder.layers:
        own, memory, network = layer.self_attention, layer.memory_attention, layer.feed_forward
        over_memory += [memory.key_projection.kernel, memory.value_projection.kernel]
        step.append(own.joint_weights()[0])
        after = (own.output_projection, memory.query_projection, memory.output_projection, network.inner, network.outer)
        step += [part.kernel for part in after]
    step.append(model.output_weights())
    return encoder, over_memory, step


def decoding(model, beam, target):
    """A graph from ids (B, S) to the products of `target` tokens for each of `beam` hypotheses; one for the first."""
    import keras
    import tensorflow as tf

    dtype = model.compute_dtype
    encoder, over_memory, step = [
        [tf.constant(keras.ops.convert_to_numpy(keras.ops.cast(kernel, dtype))) for kernel in kernels]
        for kernels in kernels_of(model)
    ]

    def products(ids):
        batch, length = tf.unstack(tf.shape(ids))
        ones = tf.ones([batch * length, model.d_model], dtype)
        x = ones[:batch] + 0 * in_turn(ones, encoder + over_memory)[:batch]
        first = tf.repeat(x + 0 * in_turn(x, step), beam, axis=0)

        def others(count, x):
            return count + 1, first + 0 * in_turn(x, step)  # the same rows again: others would vanish by and by

        start = [tf.constant(1), first]
        return tf.while_loop(lambda count, x: count < target, others, start, parallel_iterations=1)[1]

    return products


def update_shapes(sizes, vocabulary_size):
    """Of the kernels of an encoder and a decoder and of the output map, in their order, for a preset's arguments."""
    width, inner = sizes["d_model"], sizes["d_ff"]
    attention, network = [(width, width)] * 4, [(width, inner), (inner, width)]
    encoder = sizes["num_encoder_layers"] * (attention + network)
    decoder = sizes["num_decoder_layers"] * (2 * attention + network)
    return encoder + decoder + [(width, vocabulary_size)]


def there_and_back(x, kernels):
    """The products of an update: x through all kernels, and the result, as if it were a gradient, back through them.

    Args:
        x: (R, N).
        kernels: (N, ·), each with as many rows as the one before it has columns.

    Returns:
        What comes back (R, N), and one array for each kernel, of its shape.
    """
    import tensorflow as tf

    inputs, gradients = [], []
    for kernel in kernels:
        inputs.append(x)
        x = x @ kernel
    for given, kernel in zip(reversed(inputs), reversed(kernels), strict=True):
        gradients.append(tf.matmul(given, x, transpose_a=True))
        x = tf.matmul(x, kernel, transpose_b=True)
    return x, gradients[::-1]
