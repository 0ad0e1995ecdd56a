"""Word-level distillation in micro-batches and on replicas is that of whole batches on one replica."""

import steps
import tensorflow as tf
import tiny

from keras_transformer.losses import WordLevelDistillation


def test_micro_batches_on_two_replicas_are_the_whole_batch():
    """Some replicas and micro-batches have no token."""
    loss = WordLevelDistillation(tiny.make_random(3, tie_embeddings="all"), 0.5)
    options = {"loss": loss, "epochs": 1, "valid": False}
    whole = steps.trained(tf.distribute.get_strategy(), **options)
    steps.compare(steps.trained(tiny.two_replicas(), accumulate_steps=2, **options), whole)
