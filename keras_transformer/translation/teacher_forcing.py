"""What models make of translations that are given: token scores and attention, in one pass over each pair."""

import math

import numpy as np
import tensorflow as tf

from keras_transformer.decoding.penalties import coverage_penalty, length_penalty
from keras_transformer.ids import PAD, START


def padded(rows):
    """Lists of ids -> (B, L) int32, with padding."""
    ids = np.full((len(rows), max(1, *map(len, rows))), PAD, np.int32)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids


def shifted(labels):
    """The decoder's input for labels (B, T): START in front, the last column left out."""
    return tf.concat([tf.fill([tf.shape(labels)[0], 1], START), labels[:, :-1]], axis=1)


class TeacherForcing:
    """The whole models over pairs of a source and its translation.

    Both functions take the source's ids (B, S) with END, and the translation's (B, T), padded.

    Args:
        models: `Transformer`s of one vocabulary. Their probabilities and attention are averaged, as an
            ensemble's are in search.
    """

    def __init__(self, models):
        self.models = models
        ids = tf.TensorSpec([None, None], tf.int32)
        self.log_probabilities = tf.function(self._log_probabilities, input_signature=[ids, ids], autograph=False)
        self.alignment = tf.function(self._alignment, input_signature=[ids, ids], autograph=False)

    def _log_probabilities(self, source, labels):
        """log P of each token after those before it: (B, T) float32, 0 at padding."""
        inputs = {"source": source, "target": shifted(labels)}
        each = [-tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(inputs)) for model in self.models]
        mean = tf.reduce_logsumexp(tf.stack(each), axis=0) - math.log(len(each))
        return tf.where(labels == PAD, 0.0, mean)

    def _alignment(self, source, labels):
        """Whom the last layer's heads attend to while they predict each token, on average: (B, T, S) float32."""
        each = [model.attention_weights(source, shifted(labels))["cross"][-1] for model in self.models]
        return tf.reduce_mean(tf.stack(each), axis=[0, 2])

    def tokens(self, sources, targets):
        """log P of each token: lists of ids -> a list of float32 arrays, one number a token."""
        logs = self.log_probabilities(padded(sources), padded(targets)).numpy()
        return [row[: len(target)] for row, target in zip(logs, targets, strict=True)]

    def alignments(self, sources, targets):
        """Lists of ids -> a list of float32 arrays (T, S), without padding."""
        arrays = self.alignment(padded(sources), padded(targets)).numpy()
        return [
            array[: len(target), : len(source)] for array, source, target in zip(arrays, sources, targets, strict=True)
        ]

    def scores(self, sources, targets, logs, options):
        """What the search would rank by, for finished translations: a list of float.

        Args:
            logs: `tokens(sources, targets)`.
            options: `SearchOptions`, for the penalties.
        """
        lengths = np.array([len(target) for target in targets])
        penalties = length_penalty(lengths, options.length_penalty, options.length_normalization)
        scores = np.array([row.sum() for row in logs]) / np.asarray(penalties)
        if options.coverage_penalty:
            coverage = [array.sum(axis=0) for array in self.alignments(sources, targets)]
            scores += [float(coverage_penalty(row, options.coverage_penalty)) for row in coverage]
        return scores.tolist()
