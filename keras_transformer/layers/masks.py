"""Boolean masks: True = may attend.

Shapes here and in the whole package: B batch, S source length, T target length, D d_model, F d_ff, H heads, K head
width, V vocabulary, W beams, C the tokens that a cache has room for.
"""

from keras import ops

from keras_transformer.backend.compat import keras_mask
from keras_transformer.ids import PAD

# Used instead of minus infinity: a row with nothing to attend to gets uniform weights, not NaN.
MASKED_SCORE = -1e9


def padding_mask(ids):
    """True where `ids` (B, S) hold a token: (B, S) bool."""
    return ops.not_equal(ids, PAD)


def causal_mask(length):
    """True where position t may attend to position s <= t (section 3.2.3): (1, T, T) bool."""
    positions = ops.arange(length, dtype="int32")
    return ops.greater_equal(positions[None, :, None], positions[None, None, :])


def causal_padding_mask(length, mask=None):
    """The causal mask, and True only at the tokens of `mask` (B, T) if it is given: (1 or B, T, T) bool."""
    causal = causal_mask(length)
    return causal if mask is None else ops.logical_and(causal, mask[:, None, :])


def combined(first, second):
    """The logical and of two masks of rank 4. Either may be None, which means True everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return ops.logical_and(first, second)


def mask_of_output(x, mask=None):
    """The mask that Keras passes on with a layer's output: `mask` if it is (B, T), else the Keras mask of `x`."""
    return mask if mask is not None and len(mask.shape) == 2 else keras_mask(x)


def over_heads(mask):
    """Bring a mask to rank 4: (B, S), (B, T, S) or (B, H, T, S) -> broadcastable to (B, H, T, S)."""
    if mask is None:
        return None
    rank = len(mask.shape)
    if rank == 2:
        return mask[:, None, None, :]
    if rank == 3:
        return mask[:, None, :, :]
    if rank == 4:
        return mask
    raise ValueError(f"mask must have shape (B, S), (B, T, S) or (B, H, T, S), got rank {rank}: {mask.shape}.")


def bias_of(mask):
    """What to add to scores: 0 where True, `MASKED_SCORE` where False, float32."""
    return ops.where(mask, ops.zeros((), "float32"), MASKED_SCORE)
