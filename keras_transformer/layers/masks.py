"""Boolean masks: True = may attend.

Shapes here and in the whole package: B batch, S source length, T target length, D d_model, F d_ff, H heads, K head
width, V vocabulary, W beams, C the tokens that a cache has room for.
"""

import keras
from keras import ops

from keras_transformer.backend.compat import in_one_line, keras_mask
from keras_transformer.ids import PAD

# Used instead of minus infinity: a row with nothing to attend to gets uniform weights, not NaN.
MASKED_SCORE = -1e9


def padding_mask(ids):
    """True where `ids` (B, S) hold a token: (B, S) bool."""
    return ops.not_equal(ids, PAD)


def causal_mask(length):
    """True where position t may attend to position s <= t (section 3.2.3): (1, T, T) bool."""
    positions = ops.arange(length, dtype="int32")
    return ops.greater_equal(
        ops.expand_dims(positions, (0, 2)), ops.expand_dims(positions, (0, 1))
    )  # (1, T, 1), (1, 1, T)


def window_mask(length, window):
    """True where position s is in the window around position t, of an odd number of positions: (1, T, T) bool."""
    positions = ops.arange(length, dtype="int32")
    distance = ops.abs(ops.expand_dims(positions, (0, 2)) - ops.expand_dims(positions, (0, 1)))
    return ops.less_equal(distance, (window - 1) // 2)


def causal_padding_mask(length, mask=None):
    """The causal mask, and True only at the tokens of `mask` (B, T) if it is given: (1 or B, T, T) bool.

    Raises:
        ValueError: a mask that is not boolean, or of another shape.
    """
    causal, mask = causal_mask(length), checked_padding(length, mask)
    return causal if mask is None else ops.logical_and(causal, ops.expand_dims(mask, 1))


def checked_padding(length, mask):
    """`x_mask`, the mask (B, T) of a decoder, as a boolean tensor, or None.

    Raises:
        ValueError: a mask that is not boolean, or of another shape.
    """
    mask = checked(mask, "x_mask", {2: "(B, T)"})
    if mask is not None and isinstance(length, int) and mask.shape[1] not in (None, length):
        raise in_one_line(ValueError(f"x_mask does not fit: it has {mask.shape[1]} positions, but x has {length}."))
    return mask


def check_boolean(mask, argument="mask"):
    """`mask` as a tensor.

    Raises:
        ValueError: a mask of another dtype; the message names the `argument`.
    """
    mask = mask if hasattr(mask, "dtype") else ops.convert_to_tensor(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype != "bool":
        raise in_one_line(
            ValueError(
                f"{argument} must be boolean, True where a position may be attended to, got {dtype} of shape "
                f"{tuple(mask.shape)}. Compare first, for example ids != 0."
            )
        )
    return mask


def checked(mask, argument, shapes):
    """`mask` as a boolean tensor, or None.

    Args:
        mask: a boolean mask, or None.
        argument: its name, for errors.
        shapes: the shapes that it may have, in words by rank: {2: "(B, S)"}.

    Raises:
        ValueError: a mask of another dtype, or of another rank.
    """
    if mask is None:
        return None
    mask = check_boolean(mask, argument)
    shape = tuple(mask.shape)
    if len(shape) not in shapes:
        rule = _either(shapes.values())
        raise in_one_line(ValueError(f"{argument} must have shape {rule}, got rank {len(shape)}: {shape}."))
    return mask


def _either(words):
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def combined(first, second):
    """The logical and of two masks of rank 4. Either may be None, which means True everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return ops.logical_and(first, second)


def mask_of_output(x, mask=None):
    """The mask that Keras passes on with a layer's output: `mask` if it is (B, T), else the Keras mask of `x`."""
    mask = None if mask is None else check_boolean(mask)
    return mask if mask is not None and len(mask.shape) == 2 else keras_mask(x)


RANKS = {2: "(B, S)", 3: "(B, T, S)", 4: "(B, H, T, S)"}


def over_heads(mask, argument="mask"):
    """Bring a mask to rank 4: (B, S), (B, T, S) or (B, H, T, S) -> broadcastable to (B, H, T, S).

    Raises:
        ValueError: a mask that is not boolean, or of another rank; the message names the `argument`.
    """
    mask = checked(mask, argument, RANKS)
    if mask is None or len(mask.shape) == 4:
        return mask
    return ops.expand_dims(mask, (1, 2) if len(mask.shape) == 2 else 1)


def check_sizes(mask, sizes, argument="mask"):
    """Refuse a mask of rank 4 that does not fit the scores, as far as its sizes are known now.

    Args:
        mask: a mask that `over_heads` gave, or None.
        sizes: B, H, T and S; None where unknown.
        argument: its name, for errors.

    Raises:
        ValueError: a size that is neither 1 nor that of the scores.
    """
    if mask is None:
        return
    for letter, found, size in zip("BHTS", mask.shape, sizes, strict=True):
        if found not in (None, 1, size) and size is not None:
            shape = tuple(mask.shape)
            is_of_positions = shape == (sizes[2], 1, 1, sizes[3])
            remedy = f" For a mask (T, S) of all sentences, give {argument}[None]." if is_of_positions else ""
            text = f"{argument} does not fit: as (B, H, T, S) it has shape {shape}, but {letter} is {size}.{remedy}"
            raise in_one_line(ValueError(text))


def bias_of(mask):
    """What to add to scores: 0 where True, `MASKED_SCORE` where False, float32.

    Raises:
        ValueError: a mask that is not boolean.
    """
    return ops.where(check_boolean(mask), ops.zeros((), "float32"), MASKED_SCORE)
