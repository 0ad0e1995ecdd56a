"""Attention of single tokens over cached keys and values, with the weights of `MultiHeadAttention`."""

from keras import ops

from keras_transformer.backend.kernels import by_size
from keras_transformer.layers.attention import softmax


def joint_weights(attention):
    """The weights of `project_jointly`: [kernel (D, H·(2d_k + d_v))] and, if there are biases, their vector.

    There are none if a projection is quantized.
    """
    projections = attention.query_projection, attention.key_projection, attention.value_projection
    if not all(projection.matrices() for projection in projections):
        return []
    query, *others = projections
    scale = float(attention.head_sizes[0]) ** -0.5
    weights = [ops.concatenate([query.kernel * scale, *(other.kernel for other in others)], axis=1)]
    if attention.use_bias:
        weights.append(ops.concatenate([query.bias * scale, *(other.bias for other in others)]))
    return [ops.cast(weight, attention.compute_dtype) for weight in weights]


def project_jointly(attention, x, kernel=None, bias=None):
    """Queries times 1/√d_k, keys and values of single tokens, by one product unless a projection is quantized.

    Args:
        attention: a `MultiHeadAttention`.
        x: (R, D).
        kernel, bias: `joint_weights(attention)`, computed once for many calls.

    Returns:
        (R, H·(2d_k + d_v)).
    """
    if kernel is None:
        scale = ops.cast(float(attention.head_sizes[0]) ** -0.5, attention.compute_dtype)
        query = attention.query_projection(x) * scale
        return ops.concatenate([query, attention.key_projection(x), attention.value_projection(x)], axis=-1)
    joint = ops.matmul(x, kernel)
    return joint if bias is None else joint + bias


def attend(attention, query, key, value, bias, length, places):
    """Attention over projected heads, which are then joined and multiplied by W^O.

    Args:
        attention: a `MultiHeadAttention`.
        query: (B, H, W', d_k), times 1/√d_k already (or the keys are).
        key: (B, H, N, d_k).
        value: (B, H, N, d_v).
        bias: what to add to the scores, broadcastable to (B, 1, W', N), float32.
        length: N, known now or only at run time.
        places: `Places`.

    Returns:
        The output (B·W', D), and the weights (B, H, W', N) float32.
    """
    batch, heads, _ = places.cache_shape

    def compute(kernels):
        scores = ops.cast(kernels.product_transposed(query, key), "float32") + bias  # (B, H, W', N)
        weights = softmax(scores, kernels.softmax)
        return kernels.product(ops.cast(weights, value.dtype), value), weights

    h, weights = by_size(batch * heads, places.width, length, query.shape[-1], attention.compute_dtype, compute)
    return attention.output_projection(places.join_heads(h)), weights
