"""Only the products with weights: with TensorFlow's kernels, neither decoding nor an update can be faster than these.

They have the same shapes and the same order, one after the other. There is nothing between them: no attention over
positions, no softmax, no normalization, no dropout, no loss, no search. `decode.py` and `train_step.py` measure them as
contenders.
"""


def in_turn(x, kernels):
    """Multiply R rows with each kernel in turn. Each product goes into the next one.

    Args:
        x: (R, D).
        kernels: each is (D, ·), or (F, D) after a kernel with F columns, as in a feed-forward network. Where the next
            kernel needs fewer columns than a product has, it gets the first ones.

    Returns:
        The first D columns of the last product, (R, D).
    """
    width = x.shape[1]
    for kernel in kernels:
        x = (x if kernel.shape[0] == x.shape[1] else x[:, :width]) @ kernel
    return x[:, :width]


def kernels_of(model):
    """Return three lists of kernels in order: the encoder's, the decoder's over the memory, and a decoding step's."""
    from keras_transformer.incremental import IncrementalDecoder

    decoder = IncrementalDecoder(model)
    encoder, over_memory, step = [], [], []
    for layer in model.encoder.layers:
        own, network = layer.self_attention, layer.feed_forward
        projections = (own.query_projection, own.key_projection, own.value_projection, own.output_projection)
        encoder += [part.kernel for part in (*projections, network.inner, network.outer)]
    for depth, layer in enumerate(model.decoder.layers):
        own, memory, network = layer.self_attention, layer.memory_attention, layer.feed_forward
        over_memory += [memory.key_projection.kernel, memory.value_projection.kernel]
        step.append(decoder.layer_weights(depth)[0])
        after = (own.output_projection, memory.query_projection, memory.output_projection, network.inner, network.outer)
        step += [part.kernel for part in after]
    step.append(decoder.output_weights())
    return encoder, over_memory, step


def decoding(model, beam, target):
    """Return a function from ids (B, S) that does the products of decoding `target` tokens, for a TensorFlow graph.

    At the first token a sentence has one hypothesis, later `beam` of them.
    """
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
            return count + 1, first + 0 * in_turn(x, step)  # the same rows again: products of products would vanish

        start = [tf.constant(1), first]
        return tf.while_loop(lambda count, x: count < target, others, start, parallel_iterations=1)[1]

    return products


def update_shapes(sizes, vocabulary_size):
    """Return the shapes of the kernels of encoder, decoder and output map, in their order.

    Args:
        sizes: the arguments of a preset.
        vocabulary_size: V.
    """
    width, inner = sizes["d_model"], sizes["d_ff"]
    attention, network = [(width, width)] * 4, [(width, inner), (inner, width)]
    encoder = sizes["num_encoder_layers"] * (attention + network)
    decoder = sizes["num_decoder_layers"] * (2 * attention + network)
    return encoder + decoder + [(width, vocabulary_size)]


def there_and_back(x, kernels):
    """Do the products of an update: x goes through all kernels, and the result goes back as if it were a gradient.

    Args:
        x: (R, N).
        kernels: the first is (N, ·). Each has as many rows as the one before it has columns.

    Returns:
        The gradient of x, (R, N), and a list with the gradient of each kernel, of the kernel's shape.
    """
    import tensorflow as tf

    inputs, gradients = [], []
    for kernel in kernels:
        inputs.append(x)
        x = x @ kernel
    for factor, kernel in zip(reversed(inputs), reversed(kernels), strict=True):
        gradients.append(tf.matmul(factor, x, transpose_a=True))
        x = tf.matmul(x, kernel, transpose_b=True)
    return x, gradients[::-1]
