"""Label-smoothed cross-entropy over target tokens, section 5.4."""

import contextlib
import contextvars

import keras
from keras import ops

from keras_transformer.ids import PAD
from keras_transformer.kernels import add_to_columns, after
from keras_transformer.replicas import sum_over_replicas

SMALLEST = 1e-30  # the least probability whose logarithm is taken: well within float32's range


def token_mask(labels):
    """1.0 where `labels` (B, T) hold a token, 0.0 at padding: (B, T) float32."""
    return ops.cast(ops.not_equal(labels, PAD), "float32")


def step_tokens(labels):
    """Target tokens in the `labels` (B, T) of all replicas together: a float32 scalar."""
    return sum_over_replicas(ops.sum(token_mask(labels)))


# Of each thread its own: the replicas of a `MirroredStrategy` are threads, each with tensors of its own.
_divisor = contextvars.ContextVar("divisor", default=None)


@contextlib.contextmanager
def divided_by(tokens):
    """Inside it `LabelSmoothedCrossEntropy` divides by `tokens`, those of a whole step, instead of counting.

    So the losses of micro-batches, and their gradients, add up to those of the whole batch.
    """
    before = _divisor.set(tokens)
    try:
        yield
    finally:
        _divisor.reset(before)


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
        probabilities = ops.softmax(logits)  # (B, T, V): of all ways to read the logits the fastest
        label_logits = ops.take_along_axis(logits, labels, axis=-1)[..., 0]  # (B, T)
        losses = -log_probability(probabilities, logits, labels, label_logits)
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


@keras.saving.register_keras_serializable(package="keras_transformer")
class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """Mean smoothed cross-entropy over the target tokens of the whole step.

    The target distribution is (1-ε)·onehot + ε/V over the whole vocabulary. The sum over tokens is
    divided by the number of non-padding labels on all replicas together, so that replicas with
    different amounts of padding add up to the gradient of one replica with the whole batch, and a
    replica without any token adds nothing. With `compile(..., accumulate_steps=k)` it is the number of
    the step's k micro-batches together.

    Args:
        epsilon: ε, 0 for plain cross-entropy; the paper's is 0.1.

    Call arguments:
        y_true: labels (B, T), 0 at padding.
        y_pred: logits (B, T, V).

    Returns:
        A float32 scalar, in nats.
    """

    def __init__(self, epsilon=0.1, name="label_smoothed_cross_entropy", **kwargs):
        kwargs.setdefault("reduction", "sum")
        super().__init__(name=name, **kwargs)
        if not 0 <= epsilon < 1:
            raise ValueError(f"epsilon must be in [0, 1), got {epsilon}.")
        if self.reduction != "sum":
            raise ValueError(
                f"reduction must be 'sum', got {self.reduction!r}: the loss divides by the global token count itself."
            )
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        mask = token_mask(labels)
        tokens = _divisor.get()
        if tokens is None:
            tokens = step_tokens(labels)
        losses = smoothed_cross_entropy(labels, y_pred, self.epsilon)
        return losses * mask / ops.maximum(tokens, 1.0)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
