"""Constraints: what may come next depends on what came before, by a state that moves with each hypothesis."""

from typing import Any, Protocol, runtime_checkable

import keras
from keras import ops

from keras_transformer.backend.kernels import pick


@runtime_checkable
class Constraint(Protocol):
    """A rule that knows, token by token, what may come next in each hypothesis.

    A search carries a state for each hypothesis: a nest of tensors. When a hypothesis continues another one, it takes
    over its state. The tokens that a constraint allows keep the model's probabilities, as with every other rule.

    Shapes must not depend on values, and the functions use `keras.ops`. A search calls `advance` for hypotheses that
    are closed too, with PAD or END: their states may be anything.

    A constraint that runs out of tokens loses the hypothesis. So `allowed` should see to it, by `remaining`, that
    each hypothesis can still be closed.

    `translate_file` goes on after a break only under the same settings. It knows them by the bytes of `pickle`. Where
    these do not do, a constraint may have an attribute `digest`, a string that is another one for other settings.

    Example:
        A constraint under which no token comes twice in a row:

        ```python
        from types import SimpleNamespace
        from keras import ops, random
        from keras_transformer.decoding import Bounds, Rules, greedy_search

        class NoDoubles:
            size = 9  # V

            def start(self, source):
                return ops.zeros_like(source[:, 0])  # the last token: none

            def allowed(self, last, remaining):
                return ops.not_equal(last[:, :, None], ops.arange(self.size, dtype="int32"))

            def advance(self, last, tokens):
                return tokens

        table = random.normal((9, 9), seed=1)  # the state: the logits of the next token, after each token
        decoder = SimpleNamespace(step=lambda ids, table: (ops.take(table, ids, axis=0), table))
        rule, source = NoDoubles(), ops.ones((2, 3), "int32")
        bounds = Bounds(limits=ops.array([6, 4]), constraint=rule.start(source))
        print(greedy_search(decoder, table, bounds, max_length=6, rules=Rules(constraint=rule)).ids)
        ```
    """

    def start(self, source: Any) -> Any:
        """The state before the first token: source ids (B, S) int32, closed by END and padded -> nest of (B, ...)."""
        ...

    def allowed(self, state: Any, remaining: Any) -> Any:
        """What may come next.

        Args:
            state: a nest of (B, W, ...).
            remaining: (B,) int32, the tokens that there is room for: the next one, and all after it, END included.

        Returns:
            (B, W, V) bool, True at ids that may come next.
        """
        ...

    def advance(self, state: Any, tokens: Any) -> Any:
        """The state after one more token: a nest of (B, W, ...), and ids (B, W) int32 -> a nest of (B, W, ...)."""
        ...


def for_width(state, width):
    """The states of `width` hypotheses that begin alike: a nest of (B, ...) -> a nest of (B, W, ...)."""
    return keras.tree.map_structure(lambda x: ops.repeat(x[:, None], width, axis=1), state)


def taken_over(constraint, state, parents, tokens):
    """The states of hypotheses that continue `parents` (B, W') with `tokens` (B, W')."""
    if constraint is None:
        return state
    return constraint.advance(keras.tree.map_structure(lambda x: pick(x, parents), state), tokens)


def allowed_tokens(constraint, state, position, limits):
    """What may be the token at `position`: (B, W, V) bool, or None without a constraint."""
    return None if constraint is None else constraint.allowed(state, limits - position)
