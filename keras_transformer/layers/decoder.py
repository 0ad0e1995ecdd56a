"""The decoder: training over whole targets, and decoding token by token over the same layers."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import causal_padding_mask
from keras_transformer.layers.residual import Residual


class LayerCache(NamedTuple):
    """What one decoder layer remembers of W hypotheses for each of B sentences."""

    key: Any  # (B·W, H, L, d_k): of the tokens so far
    value: Any  # (B·W, H, L, d_v)
    memory_key: Any  # (B, H, S, d_k): of the source, once a sentence
    memory_value: Any  # (B, H, S, d_v)


@keras.saving.register_keras_serializable(package="keras_transformer")
class DecoderLayer(LayerOptions):
    """Causal self-attention, attention over the encoder's output, a feed-forward network.

    Args: see `LayerOptions`.

    Call arguments:
        x: (B, T, D).
        memory: the encoder's output (B, S, D).
        x_mask: (B, T) bool, True at tokens. Needless where padding stands at the end alone: no token
            before it can see it.
        memory_mask: (B, S) bool, True at tokens. Padding that is not masked is attended to.

    Returns:
        (B, T, D), in the layer's compute dtype. `call_with_weights` also returns the attention weights.
    """

    def build(self, x_shape, memory_shape):
        for name in ("self_attention", "memory_attention"):
            attention = MultiHeadAttention(**self.attention_options, name=name)
            attention.build(x_shape, memory_shape if name == "memory_attention" else None)
            setattr(self, name, attention)
        self.feed_forward = FeedForward(**self.feed_forward_options, name="feed_forward")
        self.feed_forward.build(x_shape)
        for name in ("self_attention_residual", "memory_attention_residual", "feed_forward_residual"):
            residual = Residual(**self.residual_options, name=name)
            residual.build(x_shape)
            setattr(self, name, residual)
        self.built = True

    def _sublayers(self, x, attend_to_self, attend_to_memory, training=None):
        """The one wiring of the three sub-layers; the callers say where keys and values come from."""
        h, self_weights = attend_to_self(self.self_attention_residual.enter(x))
        x = self.self_attention_residual.leave(x, h, training)
        h, memory_weights = attend_to_memory(self.memory_attention_residual.enter(x))
        x = self.memory_attention_residual.leave(x, h, training)
        h = self.feed_forward(self.feed_forward_residual.enter(x), training=training)
        return self.feed_forward_residual.leave(x, h, training), self_weights, memory_weights

    def call_with_weights(self, x, memory, x_mask=None, memory_mask=None, training=None):
        """The call's output (B, T, D), and the weights (B, H, T, T) and (B, H, T, S), float32."""
        causal = causal_padding_mask(ops.shape(x)[1], x_mask)

        def attend_to_self(h):
            return self.self_attention.call_with_weights(h, mask=causal, training=training)

        def attend_to_memory(h):
            return self.memory_attention.call_with_weights(h, memory, memory_mask=memory_mask, training=training)

        return self._sublayers(x, attend_to_self, attend_to_memory, training)

    def call(self, x, memory, x_mask=None, memory_mask=None, training=None):
        return self.call_with_weights(x, memory, x_mask, memory_mask, training)[0]

    def compute_output_shape(self, x_shape, memory_shape):
        return x_shape

    def start(self, memory, num_hypotheses, max_length):
        """A cache with room for `max_length` tokens of W = `num_hypotheses` for each sentence."""
        memory_key, memory_value = self.memory_attention.project_memory(memory)
        rows = ops.shape(memory)[0] * num_hypotheses
        heads, d_k = memory_key.shape[1], memory_key.shape[-1]
        d_v = memory_value.shape[-1]
        return LayerCache(
            key=ops.zeros((rows, heads, max_length, d_k), memory_key.dtype),
            value=ops.zeros((rows, heads, max_length, d_v), memory_value.dtype),
            memory_key=memory_key,
            memory_value=memory_value,
        )

    def step(self, x, cache, slot, past_mask, memory_mask):
        """One token for each hypothesis.

        Args:
            x: (B, W, D).
            cache: a `LayerCache`.
            slot: (L, 1) bool, True at the token's position.
            past_mask: (1, 1, 1, L) bool, True up to the token's position.
            memory_mask: (B, S) bool.

        Returns:
            (B, W, D), and the cache that includes the token.
        """
        batch, width = ops.shape(x)[:2]
        d_model = x.shape[-1]

        def attend_to_self(h):
            nonlocal cache
            h = ops.reshape(h, (batch * width, 1, d_model))
            key, value = self.self_attention.project_memory(h)  # (B·W, H, 1, K)
            cache = cache._replace(
                key=ops.where(slot, key, cache.key),  # (B·W, H, L, d_k)
                value=ops.where(slot, value, cache.value),
            )
            query = self.self_attention.project_query(h)
            h, weights = self.self_attention.attend(query, cache.key, cache.value, past_mask)
            return ops.reshape(h, (batch, width, d_model)), weights

        def attend_to_memory(h):
            # The W hypotheses of a sentence share its keys: they stand where a target's length would.
            query = self.memory_attention.project_query(h)
            mask = memory_mask[:, None, None, :]
            return self.memory_attention.attend(query, cache.memory_key, cache.memory_value, mask)

        x, _, _ = self._sublayers(x, attend_to_self, attend_to_memory)
        return x, cache


@keras.saving.register_keras_serializable(package="keras_transformer")
class Decoder(Stack):
    """N decoder layers, with a final normalisation if they are pre-norm.

    Args:
        num_layers: N.
        **layer_options: what `DecoderLayer` takes.

    Call arguments and result: those of `DecoderLayer`.
    """

    layer_class = DecoderLayer

    def build(self, x_shape, memory_shape):
        self.build_layers(x_shape, memory_shape)

    def call_with_weights(self, x, memory, x_mask=None, memory_mask=None, training=None):
        """The call's output (B, T, D); N weights (B, H, T, T); N weights (B, H, T, S), float32."""
        self_weights, memory_weights = [], []
        for layer in self.layers:
            x, to_self, to_memory = layer.call_with_weights(x, memory, x_mask, memory_mask, training)
            self_weights.append(to_self)
            memory_weights.append(to_memory)
        return self.finish(x), self_weights, memory_weights

    def call(self, x, memory, x_mask=None, memory_mask=None, training=None):
        return self.call_with_weights(x, memory, x_mask, memory_mask, training)[0]

    def compute_output_shape(self, x_shape, memory_shape):
        return x_shape

    def start(self, memory, num_hypotheses, max_length):
        """One cache a layer; see `DecoderLayer.start`."""
        return [layer.start(memory, num_hypotheses, max_length) for layer in self.layers]

    def step(self, x, caches, position, memory_mask):
        """One token (B, W, D) at `position`, a scalar: the output (B, W, D) and the new caches."""
        positions = ops.arange(ops.shape(caches[0].key)[2])
        slot = ops.equal(positions, position)[:, None]  # (L, 1)
        past_mask = ops.less_equal(positions, position)[None, None, None, :]  # (1, 1, 1, L)
        new_caches = []
        for layer, cache in zip(self.layers, caches, strict=True):
            x, cache = layer.step(x, cache, slot, past_mask, memory_mask)
            new_caches.append(cache)
        return self.finish(x), new_caches
