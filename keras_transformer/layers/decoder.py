"""The decoder: training over whole targets, and decoding token by token over the same layers."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.backend.kernels import by_size, empty_rows, take_rows, write_rows
from keras_transformer.layers.attention import MultiHeadAttention, normalised
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.layer_options import LayerOptions, Stack
from keras_transformer.layers.masks import MASKED_SCORE, causal_padding_mask
from keras_transformer.layers.residual import Residual


class LayerCache(NamedTuple):
    """What one decoder layer remembers of up to W hypotheses for each of B sentences.

    Keys and values of the C tokens there is room for stay where they were written: hypotheses that
    share a past read the same slots, and `past` says which.
    """

    key: Any  # (B·H·C, W·d_k)
    value: Any  # (B·H·C, W·d_v)
    memory_key: Any  # (B, H, S, d_k): of the source, once a sentence, times 1/√d_k
    memory_value: Any  # (B, H, S, d_v)


class Places(NamedTuple):
    """Where the tokens of one step stand and what they may read; the same for every layer."""

    slots: Any  # (B·H,) int32: rows of a layer's cache to write to
    cache_shape: Any  # B, H, C·W: how a layer's cache is seen
    past_bias: Any  # (B, 1, W', C·W) float32: MASKED_SCORE at slots a hypothesis does not descend from
    memory_bias: Any  # (B, 1, 1, S) float32: MASKED_SCORE at padding
    to_heads: Any  # (B, H, W') int32: rows of (B, W', H) in this order; None for one hypothesis
    joint_to_heads: Any  # (3, B, H, W') int32: rows of (B, W', 3, H) in this order
    from_heads: Any  # (B·W'·H,) int32: rows of (B, H, W') in this order


def bias_of(mask):
    """What to add to scores: 0 where True, MASKED_SCORE where False, float32."""
    return ops.where(mask, 0.0, MASKED_SCORE)


def places(past, row, memory_bias, num_heads):
    """The `Places` of the step that fills the caches' `row`, and `past` (B, W', C, W) with its slots in it."""
    batch, width, room, slots = ops.shape(past)
    here = ops.equal(ops.arange(room), row)[None, None, :, None]  # (1, 1, C, 1)
    past = ops.where(here, ops.cast(ops.eye(width, slots), "bool")[None, :, None, :], past)
    to_heads = joint_to_heads = from_heads = None
    if width > 1:
        rows = ops.reshape(ops.arange(batch * width * 3 * num_heads), (-1, width, 3, num_heads))
        joint_to_heads = ops.transpose(rows, (2, 0, 3, 1))
        rows = ops.reshape(ops.arange(batch * width * num_heads), (-1, width, num_heads))
        to_heads = ops.transpose(rows, (0, 2, 1))
        rows = ops.reshape(ops.arange(batch * width * num_heads), (-1, num_heads, width))
        from_heads = ops.reshape(ops.transpose(rows, (0, 2, 1)), (-1,))
    step = Places(
        slots=ops.arange(batch * num_heads) * room + row,
        cache_shape=(batch, num_heads, room * slots),
        past_bias=bias_of(ops.reshape(past, (-1, 1, width, room * slots))),
        memory_bias=memory_bias,
        to_heads=to_heads,
        joint_to_heads=joint_to_heads,
        from_heads=from_heads,
    )
    return step, past


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
        if not self.built:
            self.build(x.shape, memory.shape)
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

    def step_weights(self):
        """The self-attention's `joint_weights`, to be computed once for many steps."""
        return self.self_attention.joint_weights()

    @property
    def step_kernels(self):
        """The other large variables that a step reads, but for 8-bit integers."""
        projections = [
            self.self_attention.output_projection,
            self.memory_attention.query_projection,
            self.memory_attention.output_projection,
            self.feed_forward.inner,
            self.feed_forward.outer,
        ]
        return [projection.kernel for projection in projections if not projection.quantization_mode]

    def start(self, memory, num_hypotheses, room):
        """A cache with room for `room` tokens of W = `num_hypotheses` for each sentence."""
        memory_key, memory_value = self.memory_attention.project_memory(memory)
        memory_key = memory_key * ops.cast(float(memory_key.shape[-1]) ** -0.5, memory_key.dtype)
        heads, d_k, d_v = memory_key.shape[1], memory_key.shape[-1], memory_value.shape[-1]
        rows = ops.shape(memory)[0] * heads * room
        return LayerCache(
            key=empty_rows(rows, num_hypotheses * d_k, memory_key.dtype),
            value=empty_rows(rows, num_hypotheses * d_v, memory_value.dtype),
            memory_key=memory_key,
            memory_value=memory_value,
        )

    def step(self, x, cache, step, weights):
        """One token for each hypothesis.

        Args:
            x: (B·W', D).
            cache: a `LayerCache`; used up, as its buffers are written to.
            step: `Places`.
            weights: `step_weights()`.

        Returns:
            (B·W', D), the cache that includes the token, and the weights (B, H, W', S) over the source.
        """
        batch, heads, slots = step.cache_shape
        width = step.past_bias.shape[2]

        def heads_of(x):
            """(B·W', H·K) -> (B, H, W', K)."""
            size = x.shape[-1] // heads
            if width == 1:
                return ops.reshape(x, (-1, heads, 1, size))
            return take_rows(ops.reshape(x, (-1, size)), step.to_heads)

        def joint_heads(joint):
            """(B·W', H·(2d_k + d_v)) -> queries, keys, values (B, H, W', K)."""
            d_k, d_v = self.self_attention.head_sizes
            if width > 1 and d_k == d_v:
                return ops.unstack(take_rows(ops.reshape(joint, (-1, d_k)), step.joint_to_heads))
            return map(heads_of, ops.split(joint, [heads * d_k, 2 * heads * d_k], axis=-1))

        def written(rows, x):
            """The cache's rows with (B, H, W', K) in them; zeros where W' < W."""
            x = ops.reshape(x, (-1, width * x.shape[-1]))  # (B·H, W'·K)
            missing = rows.shape[1] - x.shape[1]
            return write_rows(rows, step.slots, ops.pad(x, ((0, 0), (0, missing))) if missing else x)

        def attended(attention, query, key, value, bias, length):
            def compute(kernels):
                scores = ops.cast(kernels.product_transposed(query, key), "float32") + bias  # (B, H, W', N)
                found = normalised(scores, kernels)
                return kernels.product(ops.cast(found, value.dtype), value), found

            h, found = by_size(batch * heads, width, length, query.shape[-1], self.compute_dtype, compute)
            h = ops.reshape(h, (-1, h.shape[-1]))  # (B·H·W', d_v)
            h = h if width == 1 else take_rows(h, step.from_heads)
            h = ops.reshape(h, (-1, heads * h.shape[-1]))  # (B·W', H·d_v)
            return attention.output_projection(h), found

        def attend_to_self(h):
            nonlocal cache
            query, key, value = joint_heads(self.self_attention.project_jointly(h, *weights))
            d_k, d_v = self.self_attention.head_sizes
            cache = cache._replace(key=written(cache.key, key), value=written(cache.value, value))
            keys = ops.reshape(cache.key, (batch, heads, slots, d_k))
            values = ops.reshape(cache.value, (batch, heads, slots, d_v))
            return attended(self.self_attention, query, keys, values, step.past_bias, slots)

        def attend_to_memory(h):
            # The hypotheses of a sentence share its keys: they stand where a target's length would.
            query = heads_of(self.memory_attention.query_projection(h))
            length = ops.shape(cache.memory_key)[2]
            return attended(
                self.memory_attention, query, cache.memory_key, cache.memory_value, step.memory_bias, length
            )

        x, _, found = self._sublayers(x, attend_to_self, attend_to_memory)
        return x, cache, found


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
        if not self.built:
            self.build(x.shape, memory.shape)
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

    def step_weights(self):
        """One list a layer; see `DecoderLayer.step_weights`."""
        return [layer.step_weights() for layer in self.layers]

    def start(self, memory, num_hypotheses, room):
        """One cache a layer; see `DecoderLayer.start`."""
        return [layer.start(memory, num_hypotheses, room) for layer in self.layers]

    def step(self, x, caches, past, row, memory_bias, weights):
        """One token for each hypothesis, through all layers.

        Args:
            x: (B, W', D).
            caches: one a layer; used up.
            past: (B, W', C, W) bool, True where a hypothesis descends from what stood in a slot; W' is at most W.
            row: () int32, the caches' row that is filled, below C.
            memory_bias: `bias_of` the source's tokens, (B, 1, 1, S) float32.
            weights: `step_weights()`.

        Returns:
            (B, W', D), the new caches, the new `past`, and the last layer's weights (B, H, W', S) float32
            over the source.
        """
        batch, width = ops.shape(x)[:2]
        d_model = x.shape[-1]
        step, past = places(past, row, memory_bias, self.layers[0].options["num_heads"])
        x = ops.reshape(x, (-1, d_model))  # (B·W', D)
        new_caches = []
        for layer, cache, layer_weights in zip(self.layers, caches, weights, strict=True):
            x, cache, found = layer.step(x, cache, step, layer_weights)
            new_caches.append(cache)
        return ops.reshape(self.finish(x), (batch, width, d_model)), new_caches, past, found
