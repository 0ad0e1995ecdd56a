"""A decoder that chooses among a part of the vocabulary."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.backend.kernels import take_rows
from keras_transformer.decoding.hypotheses import UNREACHED


class ShortlistState(NamedTuple):
    """The state of a `ShortlistDecoder`."""

    inner: Any  # the state of its decoder
    pieces: Any  # (U,) int32: the ids that the batch chooses among
    allowed: Any  # (B, U) bool: those that each sentence may have
    weights: Any  # what the decoder computes their logits with


class ShortlistDecoder:
    """A decoder whose tokens are places in a list of U pieces, the shortlist of a batch.

    Each sentence of the batch may have some of them. The probabilities of the others are 0, so that a sentence gets the
    same translation alone and in a batch. The reserved ids come first in the list, so that they are their own places.

    Args:
        decoder: besides the functions that `keras_transformer.decoding` names, it has `chosen_weights(ids)` and
            `step_among(ids, state, weights)`; see `IncrementalDecoder`.
    """

    def __init__(self, decoder):
        self.decoder = decoder

    def start(self, state, pieces, allowed):
        """The state before the first token.

        Args:
            state: that of the decoder.
            pieces: (U,) int32, different ids. The first are those of `keras_transformer.ids`, in order.
            allowed: (B, U) bool.
        """
        return ShortlistState(state, pieces, allowed, self.decoder.chosen_weights(pieces))

    def step(self, ids, state):
        """Logits (B, W', U) float32 of the next place, UNREACHED at those that a sentence may not have."""
        ids = take_rows(state.pieces, ids)
        logits, inner = self.decoder.step_among(ids, state.inner, state.weights)
        return ops.where(state.allowed[:, None, :], logits, UNREACHED), state._replace(inner=inner)

    def reorder(self, state, parents):
        return state._replace(inner=self.decoder.reorder(state.inner, parents))

    def keep(self, state, sentences):
        inner = self.decoder.keep(state.inner, sentences)
        return state._replace(inner=inner, allowed=take_rows(state.allowed, sentences))

    def grow(self, state, more):
        return state._replace(inner=self.decoder.grow(state.inner, more))

    def attention(self, state):
        return self.decoder.attention(state.inner)
