"""Scaled dot-product attention and multi-head attention, section 3.2."""

from typing import Any

import keras
from keras import ops

from keras_transformer.backend.compat import in_one_line
from keras_transformer.backend.values import kind_of_numbers, shape_of
from keras_transformer.backend.xla import is_symbol
from keras_transformer.layers.arguments import plain
from keras_transformer.layers.attention_scores import GivesWeights, note, record
from keras_transformer.layers.call_checks import ChecksInputs
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.initializers import glorot
from keras_transformer.layers.masks import (
    MASKED_SCORE,
    causal_mask,
    check_boolean,
    check_sizes,
    combined,
    mask_of_output,
    over_heads,
    window_mask,
)
from keras_transformer.layers.parts import LayerOfParts
from keras_transformer.layers.projection import Projection
from keras_transformer.layers.window import restricted


def attention_weights(query, key, mask=None):
    """softmax(QKᵀ/√d_k), equation 1 without its V.

    Args:
        query: (..., T, K).
        key: (..., S, K).
        mask: bool, broadcastable to (..., T, S); True = may attend. A row without any True gets uniform weights.

    Returns:
        (..., T, S) float32, whatever the inputs' dtype.

    Raises:
        ValueError: a mask that is not boolean.
    """
    scale = float(query.shape[-1]) ** -0.5
    scores = ops.matmul(query * ops.cast(scale, query.dtype), ops.swapaxes(key, -1, -2))  # (..., T, S)
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(check_boolean(mask), scores, MASKED_SCORE)
    return softmax(scores)


def softmax(scores, kernel=ops.softmax):
    """softmax over the last axis, computed with `kernel`."""
    if scores.shape[-1] == 1:
        return ops.ones_like(scores)  # the same values, without Keras' warning that softmax is pointless here
    return kernel(scores)


@keras.saving.register_keras_serializable(package="keras_transformer")
class MultiHeadAttention(ChecksInputs, GivesWeights, LayerOfParts):
    """MultiHead(Q, K, V) = Concat(head_1, …, head_H) W^O, section 3.2.2.

    Keys and values come from one sequence, `memory`. Without it, the layer attends to `query` itself. Each of the four
    kernels is one matrix, so that Glorot's initialization sees its true fan-in and fan-out.

    It differs from the paper only by option: `dropout` on the attention weights, and `use_bias`.

    With a `window`, self-attention sees only the positions around each one, and its time and memory grow with the
    length, not with its square (section 4 proposes this). The results are those under a mask of the band.

    Example:
        ```python
        import numpy as np
        from keras_transformer import MultiHeadAttention

        attention = MultiHeadAttention(num_heads=4)
        query, memory = np.ones((2, 7, 16), "float32"), np.ones((2, 5, 16), "float32")  # (B, T, D), (B, S, D)
        mask = np.array([[True] * 5, [True] * 3 + [False] * 2])  # (B, S), True at tokens
        y, weights = attention.call_with_weights(query, memory, memory_mask=mask)
        assert y.shape == (2, 7, 16) and weights.shape == (2, 4, 7, 5)
        ```

    Args:
        num_heads: H.
        d_k: width of a head's queries and keys. Default: d_model / num_heads.
        d_v: width of a head's values. Default: `d_k`.
        dropout: rate on the attention weights. The paper has none.
        use_bias: whether the four projections have biases. The paper has none.
        initial_gain: a factor for the initial values of W^V and W^O; see `residual_gain`.
        window: r, odd: a position attends to itself and to (r-1)/2 positions on each side. Default: to all positions.
        causal: whether a position attends only to itself and to earlier ones.

    Call arguments:
        query: (B, T, D).
        memory: (B, S, D'), or None for self-attention, which `window` and `causal` are for.
        mask: bool, True = may attend: (B, S) over the memory, (B, T, S) or (B, H, T, S). Dimensions may be 1. If there
            is no memory, the default is the Keras mask of `query`.
        memory_mask: bool (B, S), True at the memory's tokens. It is combined with `mask`. The default is the Keras mask
            of `memory`.
        return_attention_scores: whether to return the weights, too.

    Returns:
        (B, T, D), in the layer's compute dtype. With `return_attention_scores=True`, and from `call_with_weights`, also
        the weights (B, H, T, S) float32.

    Raises:
        ValueError: an argument of another kind or range; a d_model that `num_heads` does not divide, without `d_k`; a
            mask that is not boolean, or that does not fit; a memory with `window` or `causal`; inputs of another shape
            or dtype.
        TypeError: an input that is no array.
    """

    input_shapes = {"query": "(B, T, D)", "memory": "(B, S, D)"}
    may_be_left_out = ("memory",)

    def __init__(
        self,
        num_heads: int,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = False,
        initial_gain: float = 1.0,
        window: int | None = None,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.d_k, self.d_v = plain(num_heads=num_heads, d_k=d_k, d_v=d_v)
        self.dropout, self.use_bias, self.initial_gain = plain(
            dropout=dropout, use_bias=use_bias, initial_gain=initial_gain
        )
        self.window, self.causal = plain(window=window, causal=causal)
        self.supports_masking = True

    def check_call(self, *args, **kwargs):
        super().check_call(*args, **kwargs)
        memory, third = args[1:3] if len(args) > 2 else (None, None)
        if memory is None or not hasattr(third, "dtype") or kind_of_numbers(third)[1] != "float":
            return
        if shape_of(third) == shape_of(memory):  # (query, key, value) or (query, value, key) elsewhere
            raise in_one_line(
                TypeError(
                    f"the third argument of a call of {self._kind} is the mask, got floats of shape {shape_of(third)}. "
                    "Keys and values are made of one sequence: give (query, memory), or (query) for self-attention."
                )
            )

    def build(self, query_shape, memory_shape=None):
        d_model = query_shape[-1]
        if self.d_k is None and d_model % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} does not divide d_model={d_model}. "
                "Choose a divisor, or give d_k (and d_v) explicitly."
            )
        d_k = self.d_k or d_model // self.num_heads
        d_v = self.d_v or d_k
        memory_shape = memory_shape or query_shape
        self.input_widths = d_model, memory_shape[-1]

        def projection(name, input_shape, width, gain=1.0):
            options = {"use_bias": self.use_bias, "kernel_initializer": glorot(gain), "trainable": self.trainable}
            layer = Projection(width, **options, dtype=self.dtype_policy, name=name)
            layer.build((None, input_shape[-1]))
            return layer

        self.query_projection = projection("query", query_shape, self.num_heads * d_k)
        self.key_projection = projection("key", memory_shape, self.num_heads * d_k)
        gain = self.initial_gain
        self.value_projection = projection("value", memory_shape, self.num_heads * d_v, gain)
        self.output_projection = projection("output", (None, self.num_heads * d_v), d_model, gain)
        self.weights_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="weights_dropout")
        self.built = True

    def _split_heads(self, x):
        x = ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, x.shape[-1] // self.num_heads))  # (B, T, H, K)
        return ops.transpose(x, (0, 2, 1, 3))  # (B, H, T, K)

    def project_query(self, query):
        """(B, T, D) -> (B, H, T, d_k)."""
        return self._split_heads(self.query_projection(query))

    def project_memory(self, memory):
        """(B, S, D) -> keys (B, H, S, d_k), values (B, H, S, d_v)."""
        return self._split_heads(self.key_projection(memory)), self._split_heads(self.value_projection(memory))

    @property
    def head_sizes(self):
        """d_k and d_v."""
        return self.query_projection.units // self.num_heads, self.value_projection.units // self.num_heads

    def attend(self, query, key, value, mask=None, training=None):
        """Attention over projected heads, which are then joined and multiplied by W^O.

        Args:
            query: (B, H, T, d_k).
            key: (B, H, S, d_k).
            value: (B, H, S, d_v).
            mask: bool, broadcastable to (B, H, T, S), or None.

        Returns:
            The output (B, T, D), and the weights before dropout (B, H, T, S) float32; with a window, None instead of
            them while nobody records weights.
        """

        def weigh(query, key, mask):
            weights = attention_weights(query, key, mask)
            return weights, self.weights_dropout(ops.cast(weights, value.dtype), training=training)

        length = ops.shape(query)[2]
        if self.window is not None and not is_symbol(length):
            heads, weights = restricted(weigh, query, key, value, mask, self.window, self.causal, training)
        else:
            if self.window is not None:  # the number of blocks has no name
                mask = combined(mask, over_heads(window_mask(length, self.window)))
            if self.causal:
                mask = combined(mask, over_heads(causal_mask(length)))
            weights, used = weigh(query, key, mask)
            heads = ops.matmul(used, value)  # (B, H, T, d_v)
        heads = ops.transpose(heads, (0, 2, 1, 3))  # (B, T, H, d_v)
        joined = ops.reshape(heads, (-1, ops.shape(heads)[1], heads.shape[2] * heads.shape[3]))  # (B, T, H·d_v)
        return self.output_projection(joined), weights

    def call(
        self,
        query: Any,
        memory: Any = None,
        mask: Any = None,
        memory_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        if return_attention_scores:
            with record() as found:
                output = MultiHeadAttention.call(self, query, memory, mask, memory_mask, training)
            return output, *self.weights_in(found)
        if memory is not None and (self.window is not None or self.causal):
            raise ValueError(
                f"window={self.window} and causal={self.causal} are for self-attention, got a memory. "
                "Leave out the memory, or these options."
            )
        source = query if memory is None else memory
        sizes = query.shape[0], self.num_heads, query.shape[1], source.shape[1]
        mask, memory_mask = over_heads(mask), over_heads(memory_mask, "memory_mask")
        check_sizes(mask, sizes)
        check_sizes(memory_mask, sizes, "memory_mask")
        key, value = self.project_memory(source)
        output, weights = self.attend(self.project_query(query), key, value, combined(mask, memory_mask), training)
        note(self, weights)
        return output

    def weights_in(self, found):
        """What `call_with_weights` adds to the output, from a `Record`."""
        return (found.of(self),)

    def compute_mask(self, query, previous_mask=None):
        # Not `previous_mask`, which may be the memory's. On JAX only Keras knows the mask of the query.
        return mask_of_output(query)

    def compute_output_shape(self, query_shape, memory_shape=None):
        return query_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "d_k": self.d_k,
            "d_v": self.d_v,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "initial_gain": self.initial_gain,
            "window": self.window,
            "causal": self.causal,
        }
