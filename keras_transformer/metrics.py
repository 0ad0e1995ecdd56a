"""Metrics that divide sums over all target tokens, never means of means."""

import keras
from keras import ops

from keras_transformer.losses.chunks import output_map_of_the_loss
from keras_transformer.losses.cross_entropy import smoothed_cross_entropy
from keras_transformer.losses.label_smoothing import token_mask, token_weights


class TokenMetric(keras.metrics.Metric):
    """Base: a total over non-padding labels and their count, summed over steps and replicas."""

    def __init__(self, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.tokens = self.add_variable((), initializer="zeros", name="tokens")

    def values(self, labels, logits):
        """The quantity of each token: (B, T) float32."""
        raise NotImplementedError

    def judged(self, judged):
        """The same from the `Judged` of a loss that has mapped to logits itself."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch.

        Args:
            y_true: labels (B, T), 0 at padding.
            y_pred: logits (B, T, V); not read where the output map is left to the loss, see `chunked_loss`.
            sample_weight: (B,), a weight for each sentence, or broadcastable to (B, T); weighs the tokens.
        """
        labels = ops.cast(y_true, "int32")
        weights = token_mask(labels)
        if sample_weight is not None:
            weights = weights * ops.cast(token_weights(sample_weight), "float32")
        output_map = output_map_of_the_loss()
        values = self.values(labels, y_pred) if output_map is None else self.judged(output_map.judged)
        self.total.assign_add(ops.sum(values * weights))
        self.tokens.assign_add(ops.sum(weights))

    def mean(self):
        """The mean over all tokens so far, 0 before any."""
        return self.total / ops.maximum(self.tokens, 1.0)


@keras.saving.register_keras_serializable(package="keras_transformer")
class MaskedAccuracy(TokenMetric):
    """Share of target tokens whose most likely prediction is the label."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def values(self, labels, logits):
        return ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), labels), "float32")

    def judged(self, judged):
        return judged.hits

    def result(self):
        return self.mean()


@keras.saving.register_keras_serializable(package="keras_transformer")
class Perplexity(TokenMetric):
    """exp of the unsmoothed cross-entropy a target token, in subword tokens (Table 3's PPL)."""

    def __init__(self, name="perplexity", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def values(self, labels, logits):
        return smoothed_cross_entropy(labels, logits)

    def judged(self, judged):
        return -judged.log_probabilities

    def result(self):
        return ops.exp(self.mean())
