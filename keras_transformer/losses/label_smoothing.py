"""Label-smoothed cross-entropy over target tokens, section 5.4."""

import keras
from keras import ops

from keras_transformer.backend.replicas import sum_over_replicas
from keras_transformer.backend.scoped import Scoped
from keras_transformer.ids import PAD
from keras_transformer.losses.chunks import output_map_of_the_loss
from keras_transformer.losses.cross_entropy import smoothed_cross_entropy


def token_mask(labels):
    """1.0 where `labels` (B, T) hold a token, 0.0 at padding: (B, T) float32."""
    return ops.cast(ops.not_equal(labels, PAD), "float32")


def token_weights(sample_weight):
    """Weights of sentences (B,) as (B, 1); others, which must broadcast to (B, T), as they are."""
    sample_weight = ops.convert_to_tensor(sample_weight)
    return sample_weight[:, None] if len(sample_weight.shape) == 1 else sample_weight


def step_tokens(labels):
    """Target tokens in the `labels` (B, T) of all replicas together: a float32 scalar."""
    return sum_over_replicas(ops.sum(token_mask(labels)))


_divisor = Scoped("divisor", None)


def divided_by(tokens):
    """Inside it `LabelSmoothedCrossEntropy` divides by `tokens`, those of a whole step, instead of counting.

    So the losses of micro-batches, and their gradients, add up to those of the whole batch.
    """
    return _divisor.set_to(tokens)


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
        y_pred: logits (B, T, V); or vectors (B, T, D) where the output map is left to the loss, see `chunked_loss`.
        sample_weight: (B,), a weight for each sentence, or broadcastable to (B, T). The divisor does not change.

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

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            sample_weight = token_weights(sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        mask = token_mask(labels)
        tokens = _divisor.get()
        if tokens is None:
            tokens = step_tokens(labels)
        weights = mask / ops.maximum(tokens, 1.0)
        output_map = output_map_of_the_loss()
        if output_map is not None:
            return output_map.judge(y_pred, labels, weights, self.epsilon)
        return smoothed_cross_entropy(labels, y_pred, self.epsilon) * weights

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
