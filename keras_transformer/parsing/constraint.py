"""Trees by construction: a constraint under which every output is a tree over exactly the words of the sentence."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.ids import END
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.tokenizers import is_pair, side_of
from keras_transformer.parsing.leaves import Copies, Places
from keras_transformer.parsing.nodes import DEEPEST
from keras_transformer.parsing.vocabulary import read_tree_ids, read_word_ids

MOST_OPEN = DEEPEST - 1  # so `to_tree` finds nothing too deep
MOST_IN_A_ROW = 12  # trees of English have up to 8


class TreeState(NamedTuple):
    """What the constraint knows of each hypothesis. Before the first token, the axis W is missing."""

    stack: Any  # (B, W, D) int32: the labels of the open brackets, the outermost first; the rest means nothing
    depth: Any  # (B, W) int32: the open brackets
    opened: Any  # (B, W) int32: the brackets opened since the last other token
    words: Any  # the state of the words, see `leaves`


class TreeConstraint:
    """A `keras_transformer.decoding.Constraint`: brackets balance, and each word of the source has one place.

    These tokens may come next:

    - an opening bracket, if a word is left, no more than `most_open` brackets are then open and no more than
      `most_in_a_row` were opened one after another, and the limit leaves room to place all words and to close all
      brackets;
    - the next word, if a bracket is open. With a pair of tokenizers a word is one token, its place or its tag. With one
      tokenizer it is its pieces, one after another, and no bracket comes between them;
    - the closing bracket of the innermost open bracket, if it has something inside. The root can be closed only when
      no word is left;
    - END, when the root is closed.

    So there is one root, each bracket has a word inside, and the labels are those of the tokenizer. There is always a
    token that may come next if the limit allows 3 tokens more than the words have. `max_extra_length` of 2 does so.

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
        tokenizer: a `TokenizerPair`, whose source has subwords that split at spaces, and whose target makes each token
            of a tree one piece; or one `Tokenizer` of words and brackets, for trees with `leaves="words"`. See
            `tokenizer_options`.
        most_open: int, D, the most brackets inside each other.
        most_in_a_row: int, the most opening brackets one after another. Without such a limit, a model that finds no
            allowed word likely could open brackets up to the other limits.

    Raises:
        ValueError: pieces of the source do not tell where words begin, the target has other pieces than it should,
            `most_open` is not from 1 to 199, or `most_in_a_row` is below 1.
        TypeError: `tokenizer` is no tokenizer.
    """

    def __init__(self, tokenizer: Any, most_open: int = MOST_OPEN, most_in_a_row: int = MOST_IN_A_ROW) -> None:
        self.most_open = whole("most_open", most_open)
        self.most_in_a_row = whole("most_in_a_row", most_in_a_row)
        if self.most_open > MOST_OPEN:
            raise ValueError(f"most_open={most_open} must be at most {MOST_OPEN}.")
        if not (is_pair(tokenizer) or hasattr(tokenizer, "pieces")):
            raise TypeError(f"tokenizer must be a TokenizerPair or a Tokenizer, got {type(tokenizer).__name__}.")
        self.copies = not is_pair(tokenizer)
        self.ids = read_tree_ids(side_of(tokenizer, "target"), self.copies)
        self.words = (Copies if self.copies else Places)(self.ids, read_word_ids(side_of(tokenizer, "source")))

    def start(self, source: Any) -> TreeState:
        """See `Constraint.start`."""
        zeros = ops.zeros_like(source[:, 0])
        stack = ops.repeat(zeros[:, None], self.most_open, axis=1)
        return TreeState(stack, zeros, zeros, self.words.start(source))

    def allowed(self, state: TreeState, remaining: Any) -> Any:
        """See `Constraint.allowed`."""
        ids, depth, left = self.ids, state.depth, self.words.left(state.words)
        is_open, is_left, between = depth > 0, left > 0, self.words.between_words(state.words)
        # an opening bracket, the words, the closing brackets, END
        room = remaining[:, None] >= 1 + left + (depth + 1) + 1
        may_open = all_of(between, is_left, depth < self.most_open, state.opened < self.most_in_a_row, room)
        is_last = ops.logical_or(depth > 1, ops.logical_not(is_left))
        may_close = all_of(between, is_open, state.opened == 0, is_last)
        may_end = ops.logical_not(ops.logical_or(is_open, is_left))
        top = ops.sum(ops.where(self._places() == depth[:, :, None] - 1, state.stack, 0), axis=-1)  # (B, W)
        is_end = ops.arange(len(ids.tokens), dtype="int32") == END
        kinds = [
            ops.logical_and(may_open[:, :, None], ids.opens),
            ops.logical_and(is_open[:, :, None], self.words.next_tokens(state.words)),
            all_of(may_close[:, :, None], ids.closes, top[:, :, None] == ids.labels),
            ops.logical_and(may_end[:, :, None], is_end),
        ]
        return ops.any(ops.stack(kinds), axis=0)

    def advance(self, state: TreeState, tokens: Any) -> TreeState:
        """See `Constraint.advance`."""
        opens, closes = (ops.take(x, tokens, axis=0) for x in (self.ids.opens, self.ids.closes))
        labels = ops.take(self.ids.labels, tokens, axis=0)
        here = ops.logical_and(self._places() == state.depth[:, :, None], opens[:, :, None])
        return TreeState(
            stack=ops.where(here, labels[:, :, None], state.stack),
            depth=state.depth + ops.cast(opens, "int32") - ops.cast(closes, "int32"),
            opened=ops.where(opens, state.opened + 1, 0),
            words=self.words.advance(state.words, tokens),
        )

    def _places(self):
        return ops.arange(self.most_open, dtype="int32")

    def __repr__(self):
        return f"TreeConstraint({self.ids.label_count} labels, most_open={self.most_open})"


def all_of(first, *others):
    """`ops.logical_and` of several."""
    for each in others:
        first = ops.logical_and(first, each)
    return first
