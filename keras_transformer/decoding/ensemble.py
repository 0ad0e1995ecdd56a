"""Several models of one vocabulary as one decoder."""

import math

from keras import ops


class Ensemble:
    """A decoder whose next-token probabilities are the mean of its members'.

    Its state is a tuple of theirs, and its "logits" are the logarithms of the mean probabilities.

    Args:
        decoders: what has the functions of `keras_transformer.decoding`, at least one.
    """

    def __init__(self, decoders):
        self.decoders = tuple(decoders)
        if not self.decoders:
            raise ValueError("an ensemble needs at least one decoder, got none.")

    def _each(self, states, name, *arguments):
        pairs = zip(self.decoders, states, strict=True)
        return tuple(getattr(decoder, name)(state, *arguments) for decoder, state in pairs)

    def step(self, ids, states):
        stepped = [decoder.step(ids, state) for decoder, state in zip(self.decoders, states, strict=True)]
        states = tuple(state for _, state in stepped)
        if len(stepped) == 1:
            return stepped[0][0], states
        members = ops.stack([ops.log_softmax(logits, axis=-1) for logits, _ in stepped])  # (n, B, W, V)
        return ops.logsumexp(members, axis=0) - math.log(len(stepped)), states

    def reorder(self, states, parents):
        return self._each(states, "reorder", parents)

    def keep(self, states, sentences):
        return self._each(states, "keep", sentences)

    def grow(self, states, more):
        return self._each(states, "grow", more)

    def attention(self, states):
        """The mean of the members' attention, (B, W, S)."""
        return ops.mean(ops.stack(self._each(states, "attention")), axis=0)
