"""Label-smoothed cross-entropy over target tokens, section 5.4."""

from typing import Any

import keras
from keras import ops

from keras_transformer.backend.replicas import sum_over_replicas
from keras_transformer.ids import PAD
from keras_transformer.inputs.numbers import rate
from keras_transformer.inputs.options import refuses_unknown
from keras_transformer.losses.chunks import loss_of_vectors
from keras_transformer.losses.cross_entropy import smoothed_cross_entropy

OF_KERAS = ("reduction", "dtype")  # options of its losses


def token_mask(labels):
    """1.0 where `labels` (B, T) hold a token, 0.0 at padding: (B, T) float32."""
    return ops.cast(ops.not_equal(labels, PAD), "float32")


def token_weights(sample_weight):
    """Weights of sentences (B,) as (B, 1). Other weights, which must broadcast to (B, T), stay as they are."""
    sample_weight = ops.convert_to_tensor(sample_weight)
    return sample_weight[:, None] if len(sample_weight.shape) == 1 else sample_weight


def count_tokens(labels):
    """The number of target tokens in the `labels` (B, T) of all replicas together: a float32 scalar."""
    return sum_over_replicas(ops.sum(token_mask(labels)))


@keras.saving.register_keras_serializable(package="keras_transformer")
class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """The mean smoothed cross-entropy over the target tokens of a whole step.

    The target distribution is (1-ε)·onehot + ε/V over the whole vocabulary. The sum over tokens is divided by the
    number of non-padding labels on all replicas together. So the gradients of replicas with different amounts of
    padding add up to that of one replica with the whole batch, and a replica without tokens adds nothing. With
    `compile(..., accumulate_steps=k)` the divisor is the number of tokens in the k micro-batches together.

    Example:
        ```python
        import numpy as np
        from keras_transformer import LabelSmoothedCrossEntropy

        labels = np.array([[3, 1, 0]])  # (B, T); 0 is padding and does not count
        logits = np.zeros((1, 3, 5), "float32")  # (B, T, V)
        loss = LabelSmoothedCrossEntropy(epsilon=0.1)(labels, logits)
        assert abs(float(loss) - np.log(5)) < 1e-6
        ```

    Args:
        epsilon: ε. 0 is plain cross-entropy; the paper uses 0.1.

    Call arguments:
        y_true: labels (B, T), 0 at padding.
        y_pred: logits (B, T, V).
        sample_weight: (B,), a weight for each sentence, or broadcastable to (B, T). It does not change the divisor.

    Returns:
        A float32 scalar, in nats.

    Raises:
        ValueError: an `epsilon` outside [0, 1), or another `reduction` than "sum".
    """

    @refuses_unknown(more=OF_KERAS)
    def __init__(self, epsilon: float = 0.1, name: str = "label_smoothed_cross_entropy", **kwargs: Any) -> None:
        kwargs = {"reduction": "sum", "dtype": "float32", **kwargs}  # whatever `keras.config.floatx()` is
        super().__init__(name=name, **kwargs)
        if self.reduction != "sum":
            raise ValueError(
                f"reduction must be 'sum', got {self.reduction!r}: the loss divides by the global token count itself."
            )
        self.epsilon = rate("epsilon", epsilon)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            sample_weight = token_weights(sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        return smoothed_cross_entropy(labels, y_pred, self.epsilon) * mean_weights(labels, count_tokens(labels))

    def of_logits(self, labels, logits, divisor, sample_weight=None, inputs=None):
        """The same loss with a given divisor, as the micro-batches of one step need it.

        Args:
            labels: (B, T), 0 at padding.
            logits: (B, T, V).
            divisor: the number of tokens of the whole step, a float32 scalar.
            sample_weight: as in a call.
            inputs: the model's inputs. This loss does not need them.

        Returns:
            A float32 scalar.
        """
        labels = ops.cast(labels, "int32")
        losses = smoothed_cross_entropy(labels, logits, self.epsilon)
        return ops.sum(losses * mean_weights(labels, divisor, sample_weight))

    def of_vectors(self, labels, vectors, output_map, divisor, **options):
        """The same loss, from decoder vectors instead of logits.

        Args:
            labels: (B, T), 0 at padding.
            vectors: (B, T, D).
            output_map: an `OutputMap`.
            divisor: the number of tokens of the whole step, a float32 scalar.
            **options: `training`, `with_hits` and `in_place` of `losses.chunks.loss_of_vectors`.

        Returns:
            A `losses.chunks.VectorsLoss`.
        """
        labels = ops.cast(labels, "int32")
        return loss_of_vectors(vectors, output_map, labels, mean_weights(labels, divisor), self.epsilon, **options)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def mean_weights(labels, divisor, sample_weight=None):
    """The weight of each token in the mean: (B, T) float32, 0 at padding."""
    weights = token_mask(labels) / ops.maximum(divisor, 1.0)
    if sample_weight is not None:
        weights = weights * ops.cast(token_weights(sample_weight), "float32")
    return weights
