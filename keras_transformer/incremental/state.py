"""The state of decoding: what is carried from token to token, and what may be done to it between two steps."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import pick, take_rows


class StepWeights(NamedTuple):
    """The decoder's weights in the form that steps need; see `IncrementalDecoder.step_weights`."""

    layers: (
        Any  # for each decoder layer a list: the joint kernel of its self-attention and the bias; empty for integers
    )
    output: Any  # (D, V), the output map; () for integers
    cast: Any  # the other large variables in the compute dtype; empty if they have that dtype already


class LayerCache(NamedTuple):
    """The keys and values that one decoder layer has computed, for up to W hypotheses of each of B sentences.

    Keys and values are never moved. Hypotheses that share a past read the same slots; `DecoderState.past` says which.
    """

    key: Any  # (B·H·C, W·d_k), C the tokens that there is room for
    value: Any  # (B·H·C, W·d_v)
    memory_key: Any  # (B, H, S, d_k): of the source, once for each sentence, times 1/√d_k
    memory_value: Any  # (B, H, S, d_v)


class DecoderState(NamedTuple):
    """What decoding carries from token to token; see `IncrementalDecoder.start`."""

    position: Any  # () int32: tokens decoded so far
    filled: Any  # () int32: how many of the caches' C rows of W slots are in use
    caches: Any  # one LayerCache for each decoder layer
    past: Any  # (B, W', C, W) bool: the slots that belong to the past of each of W' ≤ W hypotheses, and to its window
    memory_bias: Any  # (B, 1, 1, S) float32: what to add to scores, a large negative number at padding
    attention: Any  # (B, W', S) float32: the attention of the last step over the source; () if nobody asked for it
    weights: Any  # StepWeights


def reorder(state, parents):
    """The state after a choice of hypotheses: hypothesis w of sentence b continues hypothesis `parents[b, w]`.

    No key or value moves: only `past` changes.

    Args:
        state: a `DecoderState`.
        parents: (B, W') int32. W' may differ from the number before, up to the W of `start`.
    """
    attention = state.attention if isinstance(state.attention, tuple) else pick(state.attention, parents)
    return state._replace(past=pick(state.past, parents), attention=attention)


def keep(state, sentences):
    """The state of some of the sentences: (B',) int32."""
    batch, _, room, _ = ops.shape(state.past)

    def cache_rows(rows):
        heads = state.caches[0].memory_key.shape[1]
        by_sentence = ops.reshape(rows, (batch, heads * room, rows.shape[-1]))  # (B, H·C, W·K)
        return ops.reshape(take_rows(by_sentence, sentences), (-1, rows.shape[-1]))

    def rows(x):
        return take_rows(x, sentences)

    return state._replace(
        caches=[
            LayerCache(
                key=cache_rows(cache.key),
                value=cache_rows(cache.value),
                memory_key=rows(cache.memory_key),
                memory_value=rows(cache.memory_value),
            )
            for cache in state.caches
        ],
        past=rows(state.past),
        memory_bias=rows(state.memory_bias),
        attention=state.attention if isinstance(state.attention, tuple) else rows(state.attention),
    )


def grow(state, more, has_window=False):
    """The state with room for `more` tokens. It drops the slots that no hypothesis needs any more.

    Hypotheses of one sentence soon share most of their past, so that far fewer than W slots for each token remain. With
    a window of r positions, the past of a hypothesis has at most (r+1)/2 slots.
    """
    if ops.shape(state.past)[1] > 1 or has_window:
        state = compact(state)
    room = ops.shape(state.past)[2]

    def with_room(cache, rows):
        batch, heads = ops.shape(cache.memory_key)[:2]
        by_slot = ops.reshape(rows, (batch * heads, room, rows.shape[-1]))  # (B·H, C, W·K)
        return ops.reshape(ops.pad(by_slot, ((0, 0), (0, more), (0, 0))), (-1, rows.shape[-1]))

    past = ops.pad(state.past, ((0, 0), (0, 0), (0, more), (0, 0)))
    return state._replace(caches=map_caches(state, with_room), past=past)


def compact(state):
    """The state whose caches hold, in their order, the slots that some hypothesis needs, and as few others as possible.

    All sentences have the same number of rows: that of the sentence whose hypotheses differ most.
    """
    batch, width, room, slots_a_row = ops.shape(state.past)
    past = ops.reshape(state.past, (batch, width, room * slots_a_row))
    used = ops.any(past, axis=1)  # (B, C·W)
    most = ops.max(ops.sum(ops.cast(used, "int32"), axis=1), initial=0)  # the batch may be empty
    filled = (most + slots_a_row - 1) // slots_a_row
    slots = ops.arange(room * slots_a_row, dtype="int32")
    order = ops.argsort(ops.where(used, slots, slots + room * slots_a_row), axis=1)  # slots in use first
    chosen = ops.cast(order[:, : filled * slots_a_row], "int32")  # (B, C'·W)

    def only_chosen(cache, rows):
        heads = cache.memory_key.shape[1]
        by_slot = ops.reshape(rows, (batch * heads, room * slots_a_row, rows.shape[-1] // slots_a_row))  # (B·H, C·W, K)
        return ops.reshape(pick(by_slot, ops.repeat(chosen, heads, axis=0)), (-1, rows.shape[-1]))

    past = pick(ops.transpose(past, (0, 2, 1)), chosen)
    past = ops.reshape(past, (batch, filled * slots_a_row, width))  # JAX loses an axis of size 0
    past = ops.reshape(ops.transpose(past, (0, 2, 1)), (batch, width, filled, slots_a_row))
    return state._replace(filled=filled, caches=map_caches(state, only_chosen), past=past)


def map_caches(state, change):
    """The caches with `change(cache, rows)` in place of their keys and of their values."""
    return [cache._replace(key=change(cache, cache.key), value=change(cache, cache.value)) for cache in state.caches]
