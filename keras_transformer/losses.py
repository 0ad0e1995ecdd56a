"""Label-smoothed cross-entropy over target tokens, section 5.4."""

import keras
from keras import ops

from keras_transformer.ids import PAD
from keras_transformer.replicas import sum_over_replicas


def token_mask(labels):
    """1.0 where `labels` (B, T) hold a token, 0.0 at padding: (B, T) float32."""
    return ops.cast(ops.not_equal(labels, PAD), "float32")


def cross_entropy(labels, logits):
    """-log P(label) for each token, unsmoothed and unmasked.

    Args:
        labels: (B, T) int.
        logits: (B, T, V).

    Returns:
        (B, T) float32.
    """
    return ops.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)


def smoothed_cross_entropy(labels, logits, epsilon):
    """Cross-entropy against (1-ε)·onehot(label) + ε/V, without ever making that target.

    -Σ q log p = CE(label) + ε·(logit of the label - mean of the logits).

    Args:
        labels: (B, T) int.
        logits: (B, T, V).
        epsilon: ε.

    Returns:
        (B, T) float32.
    """
    logits = ops.cast(logits, "float32")
    losses = cross_entropy(labels, logits)
    if not epsilon:
        return losses
    label_logits = ops.squeeze(ops.take_along_axis(logits, labels[..., None], axis=-1), -1)  # (B, T)
    return losses + epsilon * (label_logits - ops.mean(logits, axis=-1))


@keras.saving.register_keras_serializable(package="keras_transformer")
class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """Mean smoothed cross-entropy over the target tokens of the whole step.

    The target distribution is (1-ε)·onehot + ε/V over the whole vocabulary. The sum over tokens is
    divided by the number of non-padding labels on all replicas together, so that replicas with
    different amounts of padding add up to the gradient of one replica with the whole batch, and a
    replica without any token adds nothing.

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
        tokens = sum_over_replicas(ops.sum(mask))
        losses = smoothed_cross_entropy(labels, y_pred, self.epsilon)
        return losses * mask / ops.maximum(tokens, 1.0)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
