"""What decoding carries from token to token, and what may be done to it between two steps."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import pick, take_rows


class StepWeights(NamedTuple):
    """The decoder's weights in the form that steps want; see `Transformer.step_weights`."""

    layers: Any  # one list a decoder layer: the self-attention's joint kernel, and bias; empty for 8-bit integers
    output: Any  # (D, V), the output map; () for 8-bit integers
    cast: Any  # the other large variables in the compute dtype; empty if they are in it already


class DecoderState(NamedTuple):
    """What decoding carries from token to token; see `Transformer.start`."""

    position: Any  # () int32: tokens decoded so far
    filled: Any  # () int32: how many of the caches' C rows of W slots are in use
    caches: Any  # one LayerCache a decoder layer
    past: Any  # (B, W', C, W) bool: the cache's slots that each of W' ≤ W hypotheses descends from
    memory_bias: Any  # (B, 1, 1, S) float32: what to add to scores, a large negative number at padding
    attention: Any  # (B, W', S) float32: whom the last step attended to; () if not asked for
    weights: Any  # StepWeights


def reorder(state, parents):
    """The state in which hypothesis w of sentence b continues what its hypothesis `parents[b, w]` was: (B, W') int32.

    No key or value moves; `past` remembers whose they are. W' may be another number than before, up to `start`'s W.
    """
    attention = state.attention if isinstance(state.attention, tuple) else pick(state.attention, parents)
    return state._replace(past=pick(state.past, parents), attention=attention)


def keep(state, sentences):
    """The state of some sentences alone: (B',) int32."""
    batch, _, room, _ = ops.shape(state.past)

    def kept(rows):
        heads = state.caches[0].memory_key.shape[1]
        by_sentence = ops.reshape(rows, (batch, heads * room, rows.shape[-1]))  # (B, H·C, W·K)
        return ops.reshape(take_rows(by_sentence, sentences), (-1, rows.shape[-1]))

    def of(x):
        return take_rows(x, sentences)

    return state._replace(
        caches=[
            cache._replace(
                key=kept(cache.key),
                value=kept(cache.value),
                memory_key=of(cache.memory_key),
                memory_value=of(cache.memory_value),
            )
            for cache in state.caches
        ],
        past=of(state.past),
        memory_bias=of(state.memory_bias),
        attention=state.attention if isinstance(state.attention, tuple) else of(state.attention),
    )


def grow(state, more):
    """The state with room for `more` tokens, without the slots that no hypothesis descends from any more.

    Hypotheses of one sentence soon share most of their past, so that far fewer than W slots a token stay.
    """
    if ops.shape(state.past)[1] > 1:
        state = compact(state)
    room = ops.shape(state.past)[2]

    def grown(cache, rows):
        batch, heads = ops.shape(cache.memory_key)[:2]
        by_slot = ops.reshape(rows, (batch * heads, room, rows.shape[-1]))  # (B·H, C, W·K)
        return ops.reshape(ops.pad(by_slot, ((0, 0), (0, more), (0, 0))), (-1, rows.shape[-1]))

    past = ops.pad(state.past, ((0, 0), (0, 0), (0, more), (0, 0)))
    return state._replace(caches=each_cache(state, grown), past=past)


def compact(state):
    """The state whose caches hold the slots that are still descended from, in their order, and as few others as can be.

    All sentences keep the same number of rows: that of the one whose hypotheses differ most.
    """
    batch, width, room, each = ops.shape(state.past)
    past = ops.reshape(state.past, (batch, width, room * each))
    used = ops.any(past, axis=1)  # (B, C·W)
    filled = (ops.max(ops.sum(ops.cast(used, "int32"), axis=1)) + each - 1) // each
    slots = ops.arange(room * each)
    order = ops.argsort(ops.where(used, slots, slots + room * each), axis=1)  # those in use first
    kept = ops.cast(order[:, : filled * each], "int32")  # (B, C'·W)

    def compacted(cache, rows):
        heads = cache.memory_key.shape[1]
        by_slot = ops.reshape(rows, (batch * heads, room * each, rows.shape[-1] // each))  # (B·H, C·W, K)
        return ops.reshape(pick(by_slot, ops.repeat(kept, heads, axis=0)), (-1, rows.shape[-1]))

    past = pick(ops.transpose(past, (0, 2, 1)), kept)
    past = ops.reshape(past, (batch, filled * each, width))  # for JAX, which loses an axis of size 0
    past = ops.reshape(ops.transpose(past, (0, 2, 1)), (batch, width, filled, each))
    return state._replace(filled=filled, caches=each_cache(state, compacted), past=past)


def each_cache(state, change):
    """The caches with `change(cache, rows)` of their keys and values."""
    return [cache._replace(key=change(cache, cache.key), value=change(cache, cache.value)) for cache in state.caches]
