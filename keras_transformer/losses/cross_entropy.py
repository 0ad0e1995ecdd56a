"""Cross-entropy of single tokens, section 5.4, with its gradient written out."""

from keras import ops

from keras_transformer.backend.kernels import add_to_columns, after, tensorflow_backend

SMALLEST = 1e-30  # the least probability whose logarithm is taken: well within float32's range


def smoothed_cross_entropy(labels, logits, epsilon=0.0):
    """-Σ q log p for each token against q = (1-ε)·onehot(label) + ε/V, without ever making q.

    With z the logits and p = softmax(z) it is -log p_label + ε·(z_label - mean z), and its gradient p - q, written
    out here: one array of the logits' size serves value and gradient.

    Args:
        labels: (B, T) int.
        logits: (B, T, V).
        epsilon: ε; 0 is plain cross-entropy.

    Returns:
        (B, T) float32, in nats; padding is not masked.
    """
    labels = ops.cast(labels, "int32")[..., None]  # (B, T, 1)
    size = logits.shape[-1]

    @ops.custom_gradient
    def value(logits):
        probabilities, label_logits, logs = likelihood(logits, labels)
        losses = -logs
        if epsilon:
            losses = losses + epsilon * (label_logits - ops.mean(logits, axis=-1))

        def gradient(*args, upstream=None):
            upstream = (args[0] if upstream is None else upstream)[..., None]  # (B, T, 1)
            upstream = after(losses, upstream)  # nobody reads the probabilities now: the gradient takes their place
            towards_all = probabilities * upstream
            if epsilon:
                towards_all = towards_all - upstream * (epsilon / size)
            flat = ops.reshape(towards_all, (-1, size))  # (B·T, V)
            at_labels = ops.reshape(-(1 - epsilon) * upstream, (-1,))
            return ops.reshape(add_to_columns(flat, ops.reshape(labels, (-1,)), at_labels), ops.shape(logits))

        return losses, gradient

    return value(ops.cast(logits, "float32"))


def likelihood(logits, labels):
    """p = softmax(z) with z the logits, (B, T, V); z and log p of the labels, (B, T).

    Args:
        logits: (B, T, V) float32; without B too.
        labels: (B, T, 1) int32.
    """
    label_logits = ops.take_along_axis(logits, labels, axis=-1)[..., 0]
    if tensorflow_backend() is not None:
        probabilities = ops.softmax(logits)  # of all ways to read the logits the fastest
        return probabilities, label_logits, log_probability(probabilities, logits, labels, label_logits)
    # XLA reads the logits once for all of this, and on a GPU a condition would wait for what was begun before.
    largest = ops.max(logits, axis=-1, keepdims=True)
    powers = ops.exp(logits - largest)
    total = ops.sum(powers, axis=-1, keepdims=True)
    return powers * (1 / total), label_logits, (label_logits - largest[..., 0]) - ops.log(total)[..., 0]


def log_probability(probabilities, logits, labels, label_logits):
    """log p_label, (B, T), also where p_label is as small as rounds to zero.

    There it is z_label - log Σ exp z, with log Σ exp z from the likeliest token's p. That takes two passes over the
    logits, so that all the other batches do without.
    """
    at_labels = ops.take_along_axis(probabilities, labels, axis=-1)[..., 0]

    def far():
        total = ops.max(logits, axis=-1) - ops.log(ops.max(probabilities, axis=-1))  # log Σ exp z
        return label_logits - total

    return ops.cond(ops.min(at_labels) > SMALLEST, lambda: ops.log(at_labels), far)
