"""One decoder layer, one token at a time."""

from keras import ops

from keras_transformer.backend.kernels import empty_rows, write_rows
from keras_transformer.incremental.attention import attend, project_jointly
from keras_transformer.incremental.state import LayerCache


def start(layer, memory, num_hypotheses, room):
    """A `LayerCache` with room for `room` tokens of W = `num_hypotheses` for each sentence.

    Args:
        layer: a `DecoderLayer`.
        memory: the encoder's output (B, S, D).
    """
    memory_key, memory_value = layer.memory_attention.project_memory(memory)
    memory_key = memory_key * ops.cast(float(memory_key.shape[-1]) ** -0.5, memory_key.dtype)
    heads, d_k, d_v = memory_key.shape[1], memory_key.shape[-1], memory_value.shape[-1]
    rows = ops.shape(memory)[0] * heads * room
    return LayerCache(
        key=empty_rows(rows, num_hypotheses * d_k, memory_key.dtype),
        value=empty_rows(rows, num_hypotheses * d_v, memory_value.dtype),
        memory_key=memory_key,
        memory_value=memory_value,
    )


def step(layer, x, cache, places, weights):
    """One token for each hypothesis.

    Args:
        layer: a `DecoderLayer`.
        x: (B·W', D).
        cache: a `LayerCache`. Its buffers are written to: do not use it again.
        places: `Places`.
        weights: `joint_weights` of the layer's self-attention.

    Returns:
        (B·W', D), the cache with the token, and the weights (B, H, W', S) over the source.
    """
    batch, heads, slots = places.cache_shape
    d_k, d_v = layer.self_attention.head_sizes

    memory_weights = None

    def attend_to_self(h):
        nonlocal cache
        joint = project_jointly(layer.self_attention, h, *weights)
        query, key, value = places.split_joint_heads(joint, d_k, d_v)
        cache = cache._replace(key=_write(cache.key, key, places), value=_write(cache.value, value, places))
        keys = ops.reshape(cache.key, (batch, heads, slots, d_k))
        values = ops.reshape(cache.value, (batch, heads, slots, d_v))
        return attend(layer.self_attention, query, keys, values, places.past_bias, slots, places)[0]

    def attend_to_memory(h):
        nonlocal memory_weights
        # All hypotheses of a sentence read the same keys, so W' takes the place of a target's length.
        query = places.split_heads(layer.memory_attention.query_projection(h))
        keys, values = cache.memory_key, cache.memory_value
        length = ops.shape(keys)[2]
        attention = layer.memory_attention
        h, memory_weights = attend(attention, query, keys, values, places.memory_bias, length, places)
        return h

    x = layer.connect(x, attend_to_self, attend_to_memory)
    return x, cache, memory_weights


def _write(rows, x, places):
    """The rows of a cache with (B, H, W', K) written to them; zeros where W' < W."""
    x = ops.reshape(x, (-1, places.width * x.shape[-1]))  # (B·H, W'·K)
    missing = rows.shape[1] - x.shape[1]
    return write_rows(rows, places.slots, ops.pad(x, ((0, 0), (0, missing))) if missing else x)
