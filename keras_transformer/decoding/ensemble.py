"""Several models of one vocabulary as one decoder."""

import math

from keras import ops


class Ensemble:
    """A decoder whose next-token probabilities are the mean of its members' probabilities.

    Its state is a tuple of the members' states. Its logits are the logarithms of the mean probabilities.

    Args:
        decoders: at least one decoder, with the functions that `keras_transformer.decoding` names.

    Raises:
        ValueError: no decoder.

    Example:
        ```python
        from types import SimpleNamespace
        from keras import ops, random
        from keras_transformer.decoding import Bounds, Ensemble, greedy_search

        tables = [random.normal((9, 9), seed=seed) for seed in (1, 2)]  # the next token's logits after each token
        member = SimpleNamespace(step=lambda ids, table: (ops.take(table, ids, axis=0), table))
        bounds = Bounds(limits=ops.array([6]))
        print(greedy_search(Ensemble([member, member]), tuple(tables), bounds, max_length=6).ids)
        ```
    """

    def __init__(self, decoders):
        self.decoders = tuple(decoders)
        if not self.decoders:
            raise ValueError("an ensemble needs at least one decoder, got none.")

    def _call_each(self, states, name, *arguments):
        pairs = zip(self.decoders, states, strict=True)
        return tuple(getattr(decoder, name)(state, *arguments) for decoder, state in pairs)

    def step(self, ids, states):
        pairs = [decoder.step(ids, state) for decoder, state in zip(self.decoders, states, strict=True)]
        states = tuple(state for _, state in pairs)
        if len(pairs) == 1:
            return pairs[0][0], states
        members = ops.stack([ops.log_softmax(logits, axis=-1) for logits, _ in pairs])  # (n, B, W, V)
        return ops.logsumexp(members, axis=0) - math.log(len(pairs)), states

    def reorder(self, states, parents):
        return self._call_each(states, "reorder", parents)

    def keep(self, states, sentences):
        return self._call_each(states, "keep", sentences)

    def grow(self, states, more):
        return self._call_each(states, "grow", more)

    def attention(self, states):
        """The mean of the members' attention, (B, W, S)."""
        return ops.mean(ops.stack(self._call_each(states, "attention")), axis=0)
