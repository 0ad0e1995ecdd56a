"""Metrics that divide sums over all target tokens. They are never means of means."""

import keras
from keras import ops

from keras_transformer.losses.cross_entropy import check_labels, smoothed_cross_entropy
from keras_transformer.losses.label_smoothing import token_mask, token_weights


class TokenMetric(keras.metrics.Metric):
    """Base class: a total over non-padding labels and their number, summed over steps and replicas.

    The sums are float32, whatever `keras.config.floatx()` is: half precision cannot count tokens.
    """

    def __init__(self, name, dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.tokens = self.add_variable((), "zeros", self.dtype, name="tokens")

    def token_values(self, labels, logits):
        """The value of each token: (B, T) int32, (B, T, V) -> (B, T) float32."""
        raise NotImplementedError

    def token_values_of_loss(self, vectors_loss):
        """The value of each token, from a `VectorsLoss`: (B, T) float32."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch.

        Args:
            y_true: labels (B, T), 0 at padding.
            y_pred: logits (B, T, V).
            sample_weight: the weights of the tokens: (B,), a weight for each sentence, or broadcastable to (B, T).

        Raises:
            ValueError: labels and logits do not fit.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_labels(y_true, y_pred)
        labels = ops.cast(y_true, "int32")
        weights = token_mask(labels)
        if sample_weight is not None:
            weights = weights * ops.cast(token_weights(sample_weight), "float32")
        self._add(self.token_values(labels, y_pred), weights)

    def update_from_loss(self, labels, vectors_loss):
        """Add a batch whose loss was computed from decoder vectors.

        Args:
            labels: (B, T), 0 at padding.
            vectors_loss: a `VectorsLoss`.
        """
        self._add(self.token_values_of_loss(vectors_loss), token_mask(labels))

    def _add(self, values, weights):
        self.total.assign_add(ops.sum(values * weights))
        self.tokens.assign_add(ops.sum(weights))

    def mean(self):
        """The mean over all tokens so far, 0 before the first."""
        return self.total / ops.maximum(self.tokens, 1.0)


@keras.saving.register_keras_serializable(package="keras_transformer")
class MaskedAccuracy(TokenMetric):
    """The share of target tokens whose label is the likeliest piece.

    Example:
        ```python
        import numpy as np
        from keras_transformer import MaskedAccuracy

        accuracy = MaskedAccuracy()
        accuracy.update_state(np.array([[3, 1, 0]]), np.eye(5, dtype="float32")[[[3, 2, 4]]])  # 0 is padding
        assert float(accuracy.result()) == 0.5
        ```

    Args:
        name: the name in the logs.
    """

    _direction = "up"  # better where higher: EarlyStopping and others read it

    def __init__(self, name: str = "accuracy", dtype: str = "float32") -> None:
        super().__init__(name=name, dtype=dtype)

    def token_values(self, labels, logits):
        return ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), labels), "float32")

    def token_values_of_loss(self, vectors_loss):
        return vectors_loss.hits

    def result(self):
        return self.mean()


@keras.saving.register_keras_serializable(package="keras_transformer")
class Perplexity(TokenMetric):
    """exp of the mean cross-entropy of a target token, without label smoothing (the PPL of Table 3).

    Example:
        ```python
        import numpy as np
        from keras_transformer import Perplexity

        perplexity = Perplexity()
        perplexity.update_state(np.array([[3, 1, 0]]), np.zeros((1, 3, 5), "float32"))  # 0 is padding
        assert abs(float(perplexity.result()) - 5) < 1e-5
        ```

    Args:
        name: the name in the logs.
    """

    _direction = "down"

    def __init__(self, name: str = "perplexity", dtype: str = "float32") -> None:
        super().__init__(name=name, dtype=dtype)

    def token_values(self, labels, logits):
        return smoothed_cross_entropy(labels, logits)

    def token_values_of_loss(self, vectors_loss):
        return -vectors_loss.log_probabilities

    def result(self):
        return ops.exp(self.mean())
