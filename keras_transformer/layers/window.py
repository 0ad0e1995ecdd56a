"""Restricted self-attention: a position attends to a window of r positions around it (section 4 and Table 1).

Let h = (r-1)/2. The sequence of length n is divided into blocks of w positions. The queries of a block meet the keys of
their block and of the h positions on each side of it: w + 2h keys, however long the sequence is. A mask leaves each
query the r keys of its own window. So time and memory grow with r·n·d and not with n²·d.

There is one way for all lengths. In a sequence that is shorter than a block, the block is the sequence.
"""

from keras import ops

from keras_transformer.backend.gradients import custom_gradient
from keras_transformer.backend.kernels import after
from keras_transformer.layers.attention_scores import is_recording
from keras_transformer.layers.masks import combined

# The fewest positions of a block (measured). Smaller products do not fill the processor. A larger block meets more keys
# that the mask leaves out.
FEWEST = 32


def restricted(weigh, query, key, value, mask, window, causal, training=None):
    """Self-attention in windows, equal to attention over all positions under a mask of the band.

    Args:
        weigh: a function of queries (..., T, d_k), keys (..., S, d_k) and a mask that gives the weights (..., T, S)
            float32, and the weights that values are multiplied by.
        query: (B, H, n, d_k).
        key: (B, H, n, d_k).
        value: (B, H, n, d_v).
        mask: bool, broadcastable to (B, H, n, n), or None. Of a mask with rows, only the band is read.
        window: r, odd.
        causal: whether a window ends at its own position.
        training: as in a call; the results are the same.

    Returns:
        (B, H, n, d_v), and the weights (B, H, n, n) float32 if attention weights are recorded, else None.
    """
    blocks = Blocks(ops.shape(query)[2], window, causal, training)
    near = blocks.near(mask)
    weights, used = weigh(blocks.split(query), blocks.around(key), near)
    values = blocks.around(after(used, value))  # when the copy of the keys is no longer in memory
    heads = blocks.join(ops.matmul(used, values))
    if mask is None:  # each position sees itself
        return heads, blocks.spread(weights) if is_recording() else None
    # A row with nothing to attend to has uniform weights over all n positions, as without a window.
    some = blocks.join(ops.any(near, axis=-1, keepdims=True))  # (B, H, n, 1)
    mean = ops.cast(ops.mean(ops.cast(value, "float32"), axis=2, keepdims=True), value.dtype)  # (B, H, 1, d_v)
    heads = ops.where(some, heads, mean)
    if not is_recording():
        return heads, None
    weights = blocks.spread(weights)
    return heads, ops.where(some, weights, 1 / ops.cast(ops.shape(weights)[-1], weights.dtype))


class Blocks:
    """A sequence of n positions as N blocks of w positions, and the w + 2h or, if causal, h + w keys around each.

    Args:
        length: n, known now or only at run time.
        window: r, odd.
        causal: whether a window ends at its own position.
        training: whether the gradient matters, so that it is given in closed form. A graph for serving has none.
    """

    def __init__(self, length, window, causal, training=None):
        self.length, self.causal, self.training = length, causal, training
        self.before = _smaller((window - 1) // 2, length)  # h; more would be padding only
        self.after = 0 if causal else self.before
        self.size = _smaller(max((window - 1) // 2, FEWEST), length)  # w, at least h: a window ends in the next block
        self.count = (length + self.size - 1) // self.size  # N
        self.keys = self.before + self.size + self.after
        blocks, rows = (ops.arange(n, dtype="int32") for n in (self.count, self.size))
        # For each query its position, and for each key of its block the position, which may be outside.
        self.rows = ops.expand_dims(blocks[:, None] * self.size + rows, 2)  # (N, w, 1)
        keys = ops.arange(self.keys, dtype="int32") - self.before
        self.columns = ops.expand_dims(blocks[:, None] * self.size + keys, 1)  # (N, 1, keys)
        distance = keys[None, :] - rows[:, None]  # (w, keys)
        in_window = ops.logical_and(ops.greater_equal(distance, -self.before), ops.less_equal(distance, self.after))
        inside = ops.logical_and(ops.greater_equal(self.columns, 0), ops.less(self.columns, length))
        self.band = ops.logical_and(ops.expand_dims(in_window, 0), inside)  # (N, w, keys)

    def split(self, x):
        """Queries in their blocks, zeros behind the last one: (B, H, n, K) -> (B, H, N, w, K)."""
        x = ops.pad(x, ((0, 0), (0, 0), (0, self.count * self.size - self.length), (0, 0)))
        return ops.reshape(x, (-1, x.shape[1], self.count, self.size, x.shape[3]))

    def around(self, x):
        """The keys or values that the queries of a block meet: (B, H, n, K) -> (B, H, N, keys, K).

        Outside of the sequence they are those of its ends, which the band leaves out. So they have no gradient.
        """
        places = ops.minimum(ops.maximum(self.columns[:, 0], 0), self.length - 1)

        @custom_gradient  # that of a gather would add row by row
        def gathered(x):
            return ops.take(x, places, axis=2), self._gradient_of_around

        return gathered(x) if self.training else ops.take(x, places, axis=2)

    def _gradient_of_around(self, *arguments, upstream=None):
        """Each block has the gradient of its own part and those of its neighbors' parts."""
        if upstream is None:  # on other backends than torch
            [upstream] = arguments
        end, other = self.before + self.size, self.size - self.before
        x = upstream[:, :, :, self.before : end]
        of_next, of_previous = upstream[:, :, 1:, : self.before], upstream[:, :, :-1, end:]
        x = x + ops.pad(of_next, ((0, 0), (0, 0), (0, 1), (other, 0), (0, 0)))
        if not self.causal:
            x = x + ops.pad(of_previous, ((0, 0), (0, 0), (1, 0), (0, other), (0, 0)))
        return self.join(x)

    def join(self, x):
        """The opposite of `split`: (B, H, N, w, K) -> (B, H, n, K)."""
        x = ops.reshape(x, (-1, x.shape[1], self.count * self.size, x.shape[-1]))
        return x[:, :, : self.length]

    def near(self, mask):
        """The band, and True only where `mask` is: broadcastable to (B, H, n, n) -> to (B, H, N, w, keys)."""
        if mask is None:
            return self.band
        # Positions outside are not in the band. Here they become positions of the mask, whose sizes may be 1.
        columns = ops.minimum(ops.maximum(self.columns, 0), ops.shape(mask)[3] - 1)
        if mask.shape[2] == 1:
            found = ops.take(mask[:, :, 0], columns, axis=2)  # (B, H, N, 1, keys)
        else:
            places = ops.minimum(self.rows, ops.shape(mask)[2] - 1) * ops.shape(mask)[3] + columns  # (N, w, keys)
            found = ops.take(ops.reshape(mask, (*ops.shape(mask)[:2], -1)), places, axis=2)
        return combined(found, ops.expand_dims(self.band, (0, 1)))

    def spread(self, weights):
        """The weights of all positions, zeros outside of the band: (B, H, N, w, keys) -> (B, H, n, n)."""
        rows, columns = (ops.arange(self.length, dtype="int32")[index] for index in ((slice(None), None), (None,)))
        keys = columns - rows // self.size * self.size + self.before  # (n, n): the place among the keys of the row
        inside = ops.logical_and(ops.greater_equal(keys, 0), ops.less(keys, self.keys))
        places = rows * self.keys + ops.where(inside, keys, 0)
        weights = ops.reshape(weights, (-1, weights.shape[1], self.count * self.size * self.keys))
        return ops.where(inside, ops.take(weights, places, axis=2), ops.zeros((), weights.dtype))


def _smaller(size, length):
    """The smaller one, at least 1 if `length` is 0. An int if both are known now."""
    if isinstance(length, int):
        return min(size, max(length, 1))
    return ops.minimum(size, ops.maximum(length, 1))
