"""Gradients on TensorFlow: dense or of some rows, added up over micro-batches and replicas."""

import tensorflow as tf

from keras_transformer.backend import compat
from keras_transformer.backend.replicas import sums_over_replicas

CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")


def dense(gradient):
    """A gradient as one array. Keras' Adam would square separately the parts of a row that occurs twice."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def plus(total, gradient):
    """`total` plus a gradient, which is dense, of some rows of an embedding, or None."""
    if gradient is None:
        return total
    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(total, gradient.indices[:, None], gradient.values)
    return total + gradient


def reduced(model, gradients):
    """Gradients that the optimizer treats on several replicas as it treats them on one.

    The optimizer adds up the gradients of all replicas. But it clips those of each replica separately, and it looks for
    an overflow only on the first. Where that matters, or the norm is wanted, the gradients are added up here. Then one
    replica gives the sums to the optimizer and the others give zeros, except where the sum is not finite.
    """
    optimizer = model.optimizer
    inner = compat.inner_optimizer(optimizer)
    scaled = inner is not optimizer
    clips = any(getattr(inner, name, None) is not None for name in CLIPS)
    context = tf.distribute.get_replica_context()
    several = context.num_replicas_in_sync > 1
    if several and (scaled or clips or model._gradient_norm is not None):
        whole = iter(sums_over_replicas([g for g in gradients if g is not None]))
        gradients = [None if gradient is None else next(whole) for gradient in gradients]
    else:
        several = False
    if model._gradient_norm is not None:
        norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(tf.constant(1.0))
        counts = tf.math.is_finite(norm) | (not scaled)  # loss scaling skips an overflow
        model._gradient_norm.update_state(tf.where(counts, norm, 0), sample_weight=tf.cast(counts, "float32"))
    return gradients if not several else [shared_among_replicas(gradient, context) for gradient in gradients]


def shared_among_replicas(gradient, context):
    if gradient is None:
        return None
    others = tf.where(tf.math.is_finite(gradient), tf.zeros_like(gradient), gradient)
    return tf.where(tf.equal(context.replica_id_in_sync_group, 0), gradient, others)
