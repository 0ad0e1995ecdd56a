"""Cached decoding as keras-hub's samplers ask for it: a function of the prompt, a cache and a position."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.ids import END, PAD, START
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.incremental.state import DecoderState

EXCLUDED = -1e9  # the logit of a token that cannot be generated: its probability is 0 in float32


class Cache(NamedTuple):
    """What a sampler carries from token to token, and repeats and reorders along the first axis. N is B or B·beams."""

    layers: Any  # for each decoder layer a `LayerCache` of keys and values (N, H, T, d_k) and (N, H, T, d_v)
    memory_bias: Any  # (N, 1, 1, S) float32
    limits: Any  # (N,) int32: the most tokens after START


class Steps:
    """The steps of an `IncrementalDecoder` for one batch.

    Args:
        transformer: a `Transformer`.
    """

    def __init__(self, transformer):
        self.transformer = transformer
        self.decoder = IncrementalDecoder(transformer)
        self.weights = self.decoder.step_weights()
        ids = ops.arange(transformer.target_vocabulary_size, dtype="int32")
        self.never = ops.logical_or(ops.equal(ids, PAD), ops.equal(ids, START))  # (V,)
        self.not_end = ops.not_equal(ids, END)

    def start(self, source, limits, room):
        """The `Cache` before the first token.

        Args:
            source: ids (B, S) int32, padded.
            limits: (B,) int32.
            room: T, the length of the prompt's rows.
        """
        state = self.decoder.start(self.transformer.encode(source), source, room, weights=self.weights)
        return Cache(_by_row(state.caches, ops.shape(source)[0], room), state.memory_bias, limits)

    def step(self, prompt, cache, index):
        """Decode the token before `index`.

        Args:
            prompt: (N, T) int32.
            cache: a `Cache`. A TensorFlow graph writes to its buffers: do not use it again.
            index: () int32, the place of the next token, from 1.

        Returns:
            The logits of the next token (N, V) float32, the vectors that they come from (N, D), and the new cache.
        """
        size, room = ops.shape(prompt)
        last = ops.take(prompt, ops.reshape(index - 1, (1,)), axis=1)  # (N, 1)
        past = ops.less(ops.arange(room, dtype="int32"), index - 1)[None, None, :, None]
        layers = [layer._replace(key=_joined(layer.key), value=_joined(layer.value)) for layer in cache.layers]
        state = DecoderState(
            position=index - 1,
            filled=index - 1,
            caches=layers,
            past=ops.broadcast_to(past, (size, 1, room, 1)),
            memory_bias=cache.memory_bias,
            attention=(),
            weights=self.weights,
        )
        x, state = self.decoder.vectors(last, state)  # (N, 1, D)
        logits = self._with_rules(self.decoder.logits(x, state)[:, 0], last[:, 0], cache.limits, index)
        return logits, x[:, 0], cache._replace(layers=_by_row(state.caches, size, room))

    def _with_rules(self, logits, last, limits, index):
        """Logits without PAD and START, and with nothing but END after END or after the limit."""
        closed = ops.logical_or(ops.equal(last, END), ops.greater(index, limits))[:, None]  # (N, 1)
        return ops.where(ops.logical_or(self.never, ops.logical_and(closed, self.not_end)), EXCLUDED, logits)

    def read_prompt(self, prompt, cache, index):
        """Decode the tokens before `index`, one at a time.

        Returns:
            The vectors (N, T, D) of these tokens, zeros behind them, and the cache that knows them.
        """
        size, room = ops.shape(prompt)
        vectors = ops.zeros((size, room, self.transformer.d_model), self.transformer.compute_dtype)

        def body(place, vectors, cache):
            _, x, cache = self.step(prompt, cache, place)
            return place + 1, ops.slice_update(vectors, (0, place - 1, 0), x[:, None]), cache

        first = ops.ones((), "int32")
        _, vectors, cache = ops.while_loop(lambda place, *_: place <= index, body, (first, vectors, cache))
        return vectors, cache


def _by_row(layers, size, room):
    """The `LayerCache`s of a `DecoderState` with rows in front: (N·H·T, K) -> (N, H, T, K)."""

    def rows(layer, x):
        return ops.reshape(x, (size, layer.memory_key.shape[1], room, x.shape[-1]))

    return [layer._replace(key=rows(layer, layer.key), value=rows(layer, layer.value)) for layer in layers]


def _joined(x):
    """(N, H, T, K) -> (N·H·T, K)."""
    return ops.reshape(x, (-1, x.shape[-1]))
