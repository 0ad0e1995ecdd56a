"""The products with weights of one decoding by themselves: the least that it can take with TensorFlow's kernels.

Same weights, same shapes, same order, one after the other as in the model, and nothing between them: no attention over
the caches, no softmax, no normalisation, no search. A contender of `decode.py`.
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
