"""What may be the next token."""

from keras import ops

from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.ids import PAD, START


def next_log_probabilities(logits):
    """log P of each next token; PAD and START, which no translation holds, are out of reach.

    The others keep the model's own probabilities, so that a score found by search is the score of the
    same tokens under teacher forcing.

    Args:
        logits: (..., V).

    Returns:
        (..., V) float32.
    """
    log_probabilities = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    ids = ops.arange(log_probabilities.shape[-1])
    forbidden = ops.logical_or(ops.equal(ids, PAD), ops.equal(ids, START))
    return ops.where(forbidden, UNREACHED, log_probabilities)
