"""Cross-entropy of single tokens, section 5.4, with its gradient in closed form."""

from keras import ops

from keras_transformer.backend.gradients import custom_gradient
from keras_transformer.backend.kernels import add_to_columns, after, tensorflow_backend
from keras_transformer.backend.values import first_unknown_id, known

SMALLEST = 1e-30  # no logarithm is taken of a smaller probability; well within float32's range


def smoothed_cross_entropy(labels, logits, epsilon=0.0):
    """-Σ q log p for each token against q = (1-ε)·onehot(label) + ε/V. The array q is never made.

    Let z be the logits and p = softmax(z). The loss is -log p_label + ε·(z_label - mean z), and its gradient is p - q.
    Both are computed in one array of the logits' size.

    Args:
        labels: (B, T) int.
        logits: (B, T, V).
        epsilon: ε; 0 is plain cross-entropy.

    Returns:
        (B, T) float32, in nats; padding is not masked.
    """
    labels, logits = ops.convert_to_tensor(labels), ops.convert_to_tensor(logits)
    check_labels(labels, logits)
    labels = ops.cast(labels, "int32")[..., None]  # (B, T, 1)
    size = logits.shape[-1]

    @custom_gradient
    def value(logits):
        probabilities, label_logits, log_probabilities = likelihood(logits, labels)
        losses = -log_probabilities
        if epsilon:
            losses = losses + epsilon * (label_logits - ops.mean(logits, axis=-1))

        def gradient(*args, upstream=None):
            upstream = (args[0] if upstream is None else upstream)[..., None]  # (B, T, 1)
            upstream = after(losses, upstream)  # from here on the gradient may use the memory of the probabilities
            to_logits = probabilities * upstream
            if epsilon:
                to_logits = to_logits - upstream * (epsilon / size)
            flat = ops.reshape(to_logits, (-1, size))  # (B·T, V)
            at_labels = ops.reshape(-(1 - epsilon) * upstream, (-1,))
            return ops.reshape(add_to_columns(flat, ops.reshape(labels, (-1,)), at_labels), ops.shape(logits))

        return losses, gradient

    return value(ops.cast(logits, "float32"))


def check_labels(labels, logits):
    """Raise ValueError if labels (B, T) do not fit logits (B, T, V), as far as shapes and labels are known."""
    if any(getattr(values.shape, "rank", 0) is None for values in (labels, logits)):  # in a graph of TensorFlow
        return
    left, right = tuple(labels.shape), tuple(logits.shape)
    pairs = zip(left, right, strict=False)
    if len(right) != len(left) + 1 or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(f"logits must have the shape of the labels {left} and one more axis, the pieces, got {right}.")
    values = known(labels)
    found = None if values is None or right[-1] is None else first_unknown_id(values, right[-1])
    if found is not None:
        raise ValueError(
            f"labels have {found[0]} at {found[1]}, but must be ids from 0 to {right[-1] - 1}, as many as the logits "
            "have pieces. Padding is 0, not -100."
        )


def likelihood(logits, labels):
    """p = softmax(z) where z are the logits, (B, T, V); z and log p of the labels, (B, T).

    Args:
        logits: (B, T, V) float32; B may be missing.
        labels: (B, T, 1) int32.
    """
    label_logits = ops.take_along_axis(logits, labels, axis=-1)[..., 0]
    if tensorflow_backend() is not None:
        probabilities = ops.softmax(logits)  # the fastest way to read the logits there
        return probabilities, label_logits, log_probability(probabilities, logits, labels, label_logits)
    # XLA reads the logits once for all of this. On a GPU the condition in `log_probability` would be slow.
    largest = ops.max(logits, axis=-1, keepdims=True)
    powers = ops.exp(logits - largest)
    total = ops.sum(powers, axis=-1, keepdims=True)
    return powers * (1 / total), label_logits, (label_logits - largest[..., 0]) - ops.log(total)[..., 0]


def log_probability(probabilities, logits, labels, label_logits):
    """log p_label, (B, T), exact also where p_label rounds to zero.

    In that case it is z_label - log Σ exp z, where log Σ exp z comes from the p of the likeliest token. This takes two
    more passes over the logits, so it is done only for batches that need it.
    """
    at_labels = ops.take_along_axis(probabilities, labels, axis=-1)[..., 0]

    def from_logits():
        total = ops.max(logits, axis=-1) - ops.log(ops.max(probabilities, axis=-1))  # log Σ exp z
        return label_logits - total

    return ops.cond(ops.min(at_labels) > SMALLEST, lambda: ops.log(at_labels), from_logits)
