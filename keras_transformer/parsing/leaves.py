"""What stands for the words in the tokens of a tree: their places, or their pieces."""

from typing import Any, NamedTuple

from keras import ops

from keras_transformer.ids import END, PAD, UNK


class Places:
    """Each word has one token, its place. The state is the number of words without a place, (B, W) int32.

    Args:
        ids: the `TreeIds` of the target.
        words: the `WordIds` of the source.
    """

    def __init__(self, ids, words):
        self.ids, self.words = ids, words

    def count_words(self, source):
        """The words of each sentence: ids (B, S) int32 -> (B,) int32."""
        is_space, begins, goes_on = (ops.take(x, source, axis=0) for x in self.words)  # (B, S) each
        after_space = ops.concatenate([ops.ones_like(is_space[:, :1]), is_space[:, :-1]], axis=1)
        starts = ops.logical_or(begins, ops.logical_and(goes_on, after_space))
        return ops.sum(ops.cast(starts, "int32"), axis=1)

    def start(self, source):
        return self.count_words(source)

    def left(self, state):
        """The tokens that words still need: (B, W) int32."""
        return state

    def between_words(self, state):
        """Whether a bracket may come: (B, W) bool."""
        return ops.ones_like(state, "bool")

    def next_tokens(self, state):
        """The tokens that may stand for the next word: (B, W, V) bool."""
        return ops.logical_and(state[:, :, None] > 0, self.ids.is_word)

    def advance(self, state, tokens):
        return state - ops.cast(ops.take(self.ids.is_word, tokens, axis=0), "int32")


class Copied(NamedTuple):
    """The pieces of a sentence, and how many of them have their place."""

    source: Any  # (B, W, S) int32
    place: Any  # (B, W) int32


class Copies:
    """A word stands for itself: its pieces are those of the source. The state is `Copied`.

    Args:
        ids: the `TreeIds` of the tokenizer.
        words: its `WordIds`.
    """

    def __init__(self, ids, words):
        self.begins, self.is_bracket = words.begins | words.is_space, ids.opens | ids.closes

    def count_words(self, source):
        """The words of each sentence: ids (B, S) int32 -> (B,) int32."""
        return ops.sum(ops.cast(ops.take(self.begins, source, axis=0), "int32"), axis=1)

    def start(self, source):
        # A bracket's piece in a sentence can only come from ids that no text has.
        source = ops.where(ops.take(self.is_bracket, source, axis=0), UNK, source)
        return Copied(source, ops.zeros_like(source[:, 0]))

    def left(self, state):
        """The tokens that words still need: (B, W) int32."""
        is_piece = ops.logical_and(state.source != PAD, state.source != END)
        return ops.sum(ops.cast(is_piece, "int32"), axis=-1) - state.place

    def _next(self, state):
        """The next piece of the sentence, or what comes after the last: (B, W) int32."""
        last = ops.shape(state.source)[2] - 1
        return ops.take_along_axis(state.source, ops.minimum(state.place, last)[:, :, None], axis=2)[:, :, 0]

    def between_words(self, state):
        """Whether a bracket may come: (B, W) bool."""
        return ops.logical_or(ops.take(self.begins, self._next(state), axis=0), self.left(state) == 0)

    def next_tokens(self, state):
        """The tokens that may stand for the next word: (B, W, V) bool."""
        is_next = self._next(state)[:, :, None] == ops.arange(len(self.begins), dtype="int32")
        return ops.logical_and(self.left(state)[:, :, None] > 0, is_next)

    def advance(self, state, tokens):
        special = ops.logical_or(tokens == END, tokens == PAD)
        is_piece = ops.logical_not(ops.logical_or(ops.take(self.is_bracket, tokens, axis=0), special))
        return state._replace(place=state.place + ops.cast(is_piece, "int32"))
