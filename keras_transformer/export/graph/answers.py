"""Turns the hypotheses of a search into the answer to a request."""

import tensorflow as tf

from keras_transformer.decoding.hypotheses import LOWEST_SCORE, UNREACHED


def best_of_each_text(texts, scores):
    """Keep the best hypothesis of each text. Those after it with the same text, and their places, move to the end.

    Args:
        texts: (B, N) string, best first; "" where there is no hypothesis.
        scores: (B, N) float32; UNREACHED where there is no hypothesis.

    Returns:
        The texts (B, N), "" at the end, and the scores (B, N), UNREACHED at the end.
    """
    count = tf.shape(texts)[1]
    reached = scores > LOWEST_SCORE
    before = tf.range(count)[:, None] > tf.range(count)[None, :]  # (N, N): is the second before the first?
    same = (texts[:, :, None] == texts[:, None, :]) & before & reached[:, None, :]  # (B, N, N)
    is_kept = reached & ~tf.reduce_any(same, axis=2)  # (B, N)
    order = tf.argsort(tf.where(is_kept, 0, 1), axis=1, stable=True)
    texts, scores = tf.where(is_kept, texts, ""), tf.where(is_kept, scores, UNREACHED)
    return tf.gather(texts, order, batch_dims=1), tf.gather(scores, order, batch_dims=1)
