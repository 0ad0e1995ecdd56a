"""Boolean masks: True = may attend.

Shapes here and everywhere in the package: B batch, S source length, T target length, D d_model,
F d_ff, H heads, K head width, V vocabulary, W beams, L longest length a cache has room for.
"""

from keras import ops

from keras_transformer.ids import PAD

# A finite stand-in for minus infinity: a row with nothing to attend to becomes uniform, never NaN.
MASKED_SCORE = -1e9


def padding_mask(ids):
    """True where `ids` (B, S) hold a token: (B, S) bool."""
    return ops.not_equal(ids, PAD)


def causal_mask(length):
    """True where position t may attend to position s <= t (section 3.2.3): (1, T, T) bool."""
    positions = ops.arange(length)
    return ops.greater_equal(positions[None, :, None], positions[None, None, :])


def causal_padding_mask(length, mask=None):
    """Causal, and True only at the tokens of `mask` (B, T) if one is given: (1 or B, T, T) bool."""
    causal = causal_mask(length)
    return causal if mask is None else ops.logical_and(causal, mask[:, None, :])


def combined(first, second):
    """Both masks of rank 4 at once, where either may be None."""
    if first is None or second is None:
        return second if first is None else first
    return ops.logical_and(first, second)


def mask_of_output(x, mask=None):
    """What Keras hands on with a layer's output: `mask` (B, T), or else, if it has another rank, that of `x`."""
    return mask if mask is not None and len(mask.shape) == 2 else getattr(x, "_keras_mask", None)


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
