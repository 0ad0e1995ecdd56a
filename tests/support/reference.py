"""The paper's formulas in NumPy float64, with the weights of a Keras model."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sinusoid(position, i, d_model):
    """One number of the positional encoding, by the formula of section 3.5."""
    angle = position / 10000 ** ((i // 2 * 2) / d_model)
    return np.sin(angle) if i % 2 == 0 else np.cos(angle)


def attention(layer, query, memory, mask=None):
    """Multi-head attention, computed head by head with slices of the layer's kernels. mask: (B, T, S) or None."""
    w_q, w_k, w_v, w_o = (
        np.asarray(getattr(layer, f"{name}_projection").kernel, "float64")
        for name in ("query", "key", "value", "output")
    )
    heads = []
    d_k, d_v = w_q.shape[1] // layer.num_heads, w_v.shape[1] // layer.num_heads
    for h in range(layer.num_heads):
        q = query @ w_q[:, h * d_k : (h + 1) * d_k]
        k = memory @ w_k[:, h * d_k : (h + 1) * d_k]
        v = memory @ w_v[:, h * d_v : (h + 1) * d_v]
        scores = np.einsum("btk,bsk->bts", q, k) / np.sqrt(d_k)
        if mask is not None:
            scores = np.where(mask, scores, -1e30)
        heads.append(softmax(scores) @ v)
    return np.concatenate(heads, -1) @ w_o


def band(length, window, causal=False):
    """Which positions each one sees: (T, T) bool. `window` is an odd number of positions, or None for all."""
    distance = np.arange(length)[None] - np.arange(length)[:, None]
    half = length if window is None else (window - 1) // 2
    return (-half <= distance) & (distance <= (0 if causal else half))


def layer_norm(residual, x):
    gamma, beta = (np.asarray(w, "float64") for w in (residual.layer_norm.gamma, residual.layer_norm.beta))
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + residual.layer_norm_epsilon) * gamma + beta


def feed_forward(layer, x):
    inner, outer = layer.inner, layer.outer
    hidden = np.maximum(0, x @ np.asarray(inner.kernel, "float64") + np.asarray(inner.bias))
    return hidden @ np.asarray(outer.kernel, "float64") + np.asarray(outer.bias)


def connected(residual, x, sublayer):
    """LayerNorm(x + Sublayer(x)), or x + Sublayer(LayerNorm(x))."""
    if residual.norm == "pre":
        return x + sublayer(layer_norm(residual, x))
    return layer_norm(residual, x + sublayer(x))


def encoder_layer(layer, x, mask):
    mask = mask & band(x.shape[1], layer.options["window"])
    x = connected(layer.self_attention_residual, x, lambda h: attention(layer.self_attention, h, h, mask))
    return connected(layer.feed_forward_residual, x, lambda h: feed_forward(layer.feed_forward, h))


def decoder_layer(layer, x, memory, memory_mask):
    causal = band(x.shape[1], layer.options["window"], causal=True)[None]
    x = connected(layer.self_attention_residual, x, lambda h: attention(layer.self_attention, h, h, causal))
    x = connected(
        layer.memory_attention_residual, x, lambda h: attention(layer.memory_attention, h, memory, memory_mask)
    )
    return connected(layer.feed_forward_residual, x, lambda h: feed_forward(layer.feed_forward, h))


def transformer(model, source, target):
    """The logits (B, T, V) of a model with tied embeddings and sinusoids, computed without Keras."""
    table = np.asarray(model.source_embedding.embeddings, "float64")
    d_model = table.shape[1]

    def embed(ids):
        positions = [[sinusoid(p, i, d_model) for i in range(d_model)] for p in range(ids.shape[1])]
        return table[ids] * np.sqrt(d_model) + np.array(positions)

    mask = (source != 0)[:, None, :]
    memory, x = embed(source), embed(target)
    for layer in model.encoder.layers:
        memory = encoder_layer(layer, memory, mask)
    if model.encoder.final_norm is not None:
        memory = final_norm(model.encoder.final_norm, memory)
    for layer in model.decoder.layers:
        x = decoder_layer(layer, x, memory, mask)
    if model.decoder.final_norm is not None:
        x = final_norm(model.decoder.final_norm, x)
    return x @ table.T


def final_norm(norm, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + norm.epsilon) * np.asarray(norm.gamma) + np.asarray(norm.beta)
