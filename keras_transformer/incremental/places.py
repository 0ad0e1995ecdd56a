"""Where the tokens of one step are written, and what they may read."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.layers.masks import bias_of


class Places(NamedTuple):
    """The places of one step, the same for every layer. W' is the number of hypotheses of a sentence."""

    slots: Any  # (B·H,) int32: the rows of a layer's cache to write to
    cache_shape: Any  # B, H, C·W: the shape in which attention reads a layer's cache
    past_bias: Any  # (B, 1, W', C·W) float32: MASKED_SCORE at slots that are not in a hypothesis' past
    memory_bias: Any  # (B, 1, 1, S) float32: MASKED_SCORE at padding
    to_heads: Any  # (B, H, W') int32: rows of (B, W', H) in this order; None for one hypothesis
    joint_to_heads: Any  # (3, B, H, W') int32: rows of (B, W', 3, H) in this order
    from_heads: Any  # (B·W'·H,) int32: rows of (B, H, W') in this order

    @property
    def width(self):
        """W'."""
        return self.past_bias.shape[2]

    def split_heads(self, x):
        """(B·W', H·K) -> (B, H, W', K)."""
        heads = self.cache_shape[1]
        size = x.shape[-1] // heads
        if self.width == 1:
            return ops.reshape(x, (-1, heads, 1, size))
        return take_rows(ops.reshape(x, (-1, size)), self.to_heads)

    def split_joint_heads(self, joint, d_k, d_v):
        """(B·W', H·(2d_k + d_v)) -> queries, keys, values (B, H, W', K)."""
        heads = self.cache_shape[1]
        if self.width > 1 and d_k == d_v:
            return ops.unstack(take_rows(ops.reshape(joint, (-1, d_k)), self.joint_to_heads))
        return map(self.split_heads, ops.split(joint, [heads * d_k, 2 * heads * d_k], axis=-1))

    def join_heads(self, h):
        """(B, H, W', d_v) -> (B·W', H·d_v)."""
        h = ops.reshape(h, (-1, h.shape[-1]))  # (B·H·W', d_v)
        h = h if self.width == 1 else take_rows(h, self.from_heads)
        return ops.reshape(h, (-1, self.cache_shape[1] * h.shape[-1]))


def places_of_step(past, row, memory_bias, num_heads, window=None):
    """The `Places` of the step that fills the `row` of the caches, and `past` (B, W', C, W) with the new slots.

    With a `window`, `past` loses the slots of tokens that no later token sees.
    """
    batch, width, room, slots = ops.shape(past)
    here = ops.equal(ops.arange(room, dtype="int32"), row)[None, None, :, None]  # (1, 1, C, 1)
    past = ops.where(here, ops.cast(ops.eye(width, slots, dtype="float32"), "bool")[None, :, None, :], past)
    if window is not None:
        past = last_of_past(past, (window + 1) // 2)
    to_heads = joint_to_heads = from_heads = None
    if width > 1:
        rows = ops.reshape(ops.arange(batch * width * 3 * num_heads, dtype="int32"), (-1, width, 3, num_heads))
        joint_to_heads = ops.transpose(rows, (2, 0, 3, 1))
        rows = ops.reshape(ops.arange(batch * width * num_heads, dtype="int32"), (-1, width, num_heads))
        to_heads = ops.transpose(rows, (0, 2, 1))
        rows = ops.reshape(ops.arange(batch * width * num_heads, dtype="int32"), (-1, num_heads, width))
        from_heads = ops.reshape(ops.transpose(rows, (0, 2, 1)), (-1,))
    places = Places(
        slots=ops.arange(batch * num_heads, dtype="int32") * room + row,
        cache_shape=(batch, num_heads, room * slots),
        past_bias=bias_of(ops.reshape(past, (-1, 1, width, room * slots))),
        memory_bias=memory_bias,
        to_heads=to_heads,
        joint_to_heads=joint_to_heads,
        from_heads=from_heads,
    )
    return places, past


def last_of_past(past, count):
    """`past` (B, W', C, W) with only the last `count` tokens of each hypothesis.

    A hypothesis has one slot for each token, and the slots of later tokens are in later rows.
    """
    batch, width, room, slots = ops.shape(past)
    number = ops.cumsum(ops.cast(ops.reshape(past, (batch, width, room * slots)), "int32"), axis=2)  # from the first
    late = ops.greater(number, number[:, :, -1:] - count)
    return ops.logical_and(past, ops.reshape(late, (batch, width, room, slots)))
