"""Token scores and attention of translations that are given, in one pass over each pair."""

import math

import numpy as np
import tensorflow as tf

from keras_transformer.decoding.penalties import coverage_term, length_divisor
from keras_transformer.ids import PAD, START
from keras_transformer.translation.pieces import pad_rows


def decoder_inputs(labels):
    """The decoder's inputs for labels (B, T): START, then the labels without the last column."""
    return tf.concat([tf.fill([tf.shape(labels)[0], 1], START), labels[:, :-1]], axis=1)


def teacher_forced(models, source, labels):
    """The log-probabilities and the attention of given translations, in TensorFlow ops.

    Args:
        models: `Transformer`s of one vocabulary. Their probabilities and attention are averaged, as in
            the search with an ensemble.
        source: the sentences' ids (B, S) with END, padded.
        labels: the translations' ids (B, T) with END, padded.

    Returns:
        log P of each token after those before it, (B, T) float32, 0 at padding; and the attention to the source
        while each token is predicted, (B, T, S) float32, a mean over the last layer's heads.
    """
    logs, attention = [], []
    for model in models:
        logits, weights = model.call_with_weights(source, decoder_inputs(labels))
        logs.append(-tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        attention.append(weights["cross"][-1])  # (B, H, T, S)
    mean = tf.reduce_logsumexp(tf.stack(logs), axis=0) - math.log(len(logs))
    return tf.where(labels == PAD, 0.0, mean), tf.reduce_mean(tf.stack(attention), axis=[0, 2])


class TeacherForcing:
    """`teacher_forced` for lists of ids.

    Args:
        models: see `teacher_forced`.
    """

    def __init__(self, models):
        pair = [tf.TensorSpec([None, None], tf.int32)] * 2

        def compiled(result):
            return tf.function(lambda *ids: teacher_forced(models, *ids)[result], input_signature=pair, autograph=False)

        self._log_probabilities, self._attention = compiled(0), compiled(1)

    def log_probabilities(self, sources, targets):
        """log P of each token: lists of ids -> a list of float32 arrays (T,), without padding."""
        arrays = self._log_probabilities(pad_rows(sources), pad_rows(targets)).numpy()
        return [array[: len(target)] for array, target in zip(arrays, targets, strict=True)]

    def alignments(self, sources, targets):
        """Lists of ids -> a list of float32 arrays (T, S), the attention without padding."""
        arrays = self._attention(pad_rows(sources), pad_rows(targets)).numpy()
        return [
            array[: len(target), : len(source)] for array, source, target in zip(arrays, sources, targets, strict=True)
        ]

    def scores(self, sources, targets, log_probabilities, options):
        """The scores that the search gives these translations when it finishes them: a list of float.

        Args:
            log_probabilities: `log_probabilities(sources, targets)`.
            options: `SearchOptions`, for the penalties.
        """
        lengths = np.array([len(target) for target in targets])
        divisors = length_divisor(lengths, options.length_penalty, options.length_normalization)
        scores = np.array([array.sum() for array in log_probabilities]) / np.asarray(divisors)
        if options.coverage_penalty:
            coverage = [array.sum(axis=0) for array in self.alignments(sources, targets)]
            scores += [float(coverage_term(row, options.coverage_penalty)) for row in coverage]
        return scores.tolist()
