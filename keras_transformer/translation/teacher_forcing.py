"""What models make of translations that are given: token scores and attention, in one pass over each pair."""

import math

import numpy as np
import tensorflow as tf

from keras_transformer.decoding.penalties import coverage_term, length_divisor
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


def judged(models, source, labels):
    """What models make of given translations, in TensorFlow ops.

    Args:
        models: `Transformer`s of one vocabulary. Their probabilities and attention are averaged, as an
            ensemble's are in search.
        source: the sources' ids (B, S) with END, padded.
        labels: the translations' (B, T), padded.

    Returns:
        log P of each token after those before it, (B, T) float32, 0 at padding; whom the last layer's
        heads attend to while they predict it, on average, (B, T, S) float32.
    """
    logs, attention = [], []
    for model in models:
        logits, weights = model.call_with_weights(source, shifted(labels))
        logs.append(-tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        attention.append(weights["cross"][-1])  # (B, H, T, S)
    mean = tf.reduce_logsumexp(tf.stack(logs), axis=0) - math.log(len(logs))
    return tf.where(labels == PAD, 0.0, mean), tf.reduce_mean(tf.stack(attention), axis=[0, 2])


class TeacherForcing:
    """`judged` for lists of any length.

    Args:
        models: see `judged`.
    """

    def __init__(self, models):
        pair = [tf.TensorSpec([None, None], tf.int32)] * 2

        def compiled(which):
            return tf.function(lambda *ids: judged(models, *ids)[which], input_signature=pair, autograph=False)

        self.log_probabilities, self.alignment = compiled(0), compiled(1)

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
        penalties = length_divisor(lengths, options.length_penalty, options.length_normalization)
        scores = np.array([row.sum() for row in logs]) / np.asarray(penalties)
        if options.coverage_penalty:
            coverage = [array.sum(axis=0) for array in self.alignments(sources, targets)]
            scores += [float(coverage_term(row, options.coverage_penalty)) for row in coverage]
        return scores.tolist()
