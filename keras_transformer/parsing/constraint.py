"""Trees by construction: a constraint under which every output is a tree over exactly the words of the sentence."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.ids import END
from keras_transformer.inputs.numbers import whole
from keras_transformer.parsing.nodes import DEEPEST
from keras_transformer.parsing.vocabulary import read_tree_ids, read_word_ids

MOST_OPEN = DEEPEST - 1  # so `to_tree` finds nothing too deep


class TreeState(NamedTuple):
    """What the constraint knows of each hypothesis. Before the first token, the axis W is missing."""

    stack: Any  # (B, W, D) int32: the labels of the open brackets, the outermost first; the rest means nothing
    depth: Any  # (B, W) int32: the open brackets
    words_left: Any  # (B, W) int32: the words without a place
    is_empty: Any  # (B, W) bool: whether the innermost open bracket has nothing inside yet


class TreeConstraint:
    """A `keras_transformer.decoding.Constraint`: brackets balance, and each word of the source has one place.

    These tokens may come next:

    - an opening bracket, if a word is left, no more than `most_open` brackets are then open, and the limit leaves room
      to place all words and to close all brackets;
    - a word, if one is left and a bracket is open;
    - the closing bracket of the innermost open bracket, if it has something inside. The root can be closed only when
      no word is left;
    - END, when the root is closed.

    So there is one root, each bracket has a word inside, and the labels are those of the tokenizer. There is always a
    token that may come next if the limit allows 3 tokens more than words. `max_extra_length` of at least 2 does so.

    Example:
        ```python
        from keras import ops
        from keras_transformer import Tokenizer, TokenizerPair
        from keras_transformer.parsing import TreeConstraint, tokenizer_options

        trees = ["(S (NP XX )NP (VP XX )VP )S"]
        words = Tokenizer.train(["mice run"], vocabulary_size=270)
        pair = TokenizerPair(words, Tokenizer.train(trees, **tokenizer_options(trees)))
        constraint = TreeConstraint(pair)
        state = constraint.start(ops.array([[*words.encode("mice run"), 3]]))  # closed by END
        state = state._replace(**{name: x[:, None] for name, x in state._asdict().items()})  # W = 1
        may_begin = constraint.allowed(state, remaining=ops.array([9]))[0, 0]
        print([name for name, yes in zip(pair.target.pieces(range(may_begin.shape[0])), may_begin) if yes])
        ```

    Args:
        tokenizer: a `TokenizerPair`: a source of subwords that split at spaces, and a target in which each token of a
            tree is one piece, see `tokenizer_options`.
        most_open: int, D, the most brackets inside each other.

    Raises:
        ValueError: pieces of the source do not tell where words begin, the target has other pieces than tokens of
            trees, or `most_open` is not from 1 to 199.
        TypeError: `tokenizer` is no pair, or `most_open` no int.
    """

    def __init__(self, tokenizer: Any, most_open: int = MOST_OPEN) -> None:
        self.most_open = whole("most_open", most_open)
        if self.most_open > MOST_OPEN:
            raise ValueError(f"most_open={most_open} must be at most {MOST_OPEN}.")
        source, target = getattr(tokenizer, "source", None), getattr(tokenizer, "target", None)
        if source is None or target is None:
            raise TypeError(
                f"tokenizer must be a TokenizerPair, of sentences and of trees, got {type(tokenizer).__name__}."
            )
        self.word_ids, self.ids = read_word_ids(source), read_tree_ids(target)

    def start(self, source: Any) -> TreeState:
        """See `Constraint.start`."""
        words = self.count_words(source)
        zeros = ops.zeros_like(words)
        return TreeState(
            stack=ops.repeat(zeros[:, None], self.most_open, axis=1),
            depth=zeros,
            words_left=words,
            is_empty=ops.zeros_like(words, "bool"),
        )

    def count_words(self, source: Any) -> Any:
        """The words of each sentence: ids (B, S) int32 -> (B,) int32."""
        is_space, begins, goes_on = (ops.take(x, source, axis=0) for x in self.word_ids)  # (B, S) each
        after_space = ops.concatenate([ops.ones_like(is_space[:, :1]), is_space[:, :-1]], axis=1)
        starts = ops.logical_or(begins, ops.logical_and(goes_on, after_space))
        return ops.sum(ops.cast(starts, "int32"), axis=1)

    def allowed(self, state: TreeState, remaining: Any) -> Any:
        """See `Constraint.allowed`."""
        ids, depth = self.ids, state.depth
        is_open, word_is_left = depth > 0, state.words_left > 0
        # an opening bracket, the words, the closing brackets, END
        room = remaining[:, None] >= 1 + state.words_left + (depth + 1) + 1
        may_open = ops.logical_and(ops.logical_and(word_is_left, depth < self.most_open), room)
        may_place = ops.logical_and(word_is_left, is_open)
        is_last = ops.logical_or(depth > 1, ops.logical_not(word_is_left))
        may_close = ops.logical_and(ops.logical_and(is_open, ops.logical_not(state.is_empty)), is_last)
        may_end = ops.logical_not(ops.logical_or(is_open, word_is_left))
        top = ops.sum(ops.where(self._places() == depth[:, :, None] - 1, state.stack, 0), axis=-1)  # (B, W)
        closes_top = ops.logical_and(ids.closes, top[:, :, None] == ids.labels)  # (B, W, V)
        is_end = ops.arange(len(ids.tokens), dtype="int32") == END
        pairs = [(may_open, ids.opens), (may_place, ids.is_word), (may_close, closes_top), (may_end, is_end)]
        kinds = [ops.logical_and(may[:, :, None], of_kind) for may, of_kind in pairs]
        return ops.any(ops.stack(kinds), axis=0)

    def advance(self, state: TreeState, tokens: Any) -> TreeState:
        """See `Constraint.advance`."""
        opens, closes, is_word = (ops.take(x, tokens, axis=0) for x in self.ids[:3])
        labels = ops.take(self.ids.labels, tokens, axis=0)
        here = ops.logical_and(self._places() == state.depth[:, :, None], opens[:, :, None])
        return TreeState(
            stack=ops.where(here, labels[:, :, None], state.stack),
            depth=state.depth + ops.cast(opens, "int32") - ops.cast(closes, "int32"),
            words_left=state.words_left - ops.cast(is_word, "int32"),
            is_empty=opens,
        )

    def _places(self):
        return ops.arange(self.most_open, dtype="int32")

    def __repr__(self):
        return f"TreeConstraint({sum(self.ids.opens)} labels, most_open={self.most_open})"
