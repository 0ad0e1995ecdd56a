"""From ids to trees in brackets, in TensorFlow ops: what a parser's graph and its export give."""

import tensorflow as tf

from keras_transformer.inputs.tokenizers import is_pair, side_of
from keras_transformer.parsing.nodes import TAG
from keras_transformer.parsing.vocabulary import read_tree_ids
from keras_transformer.parsing.words import escaped
from keras_transformer.translation.graph import TranslationGraph

WHITE_SPACE = r"[ \t\n\r\f\v]+"


class TreeGraph(TranslationGraph):
    """A `TranslationGraph` whose texts are trees in brackets, with the words of the sentence.

    It takes outputs that are trees over the words of their sources, as `TreeConstraint` makes them. Its texts are then
    what `to_tree` makes, each tree on one line.
    """

    about = (
        "A parser of sentences as a TensorFlow SavedModel. A sentence has spaces between its words, and each of "
        "`translations` is its tree in brackets. Only `score` takes trees in another form: as tokens, such as "
        "`(S (NP XX )NP )S`. Tokenizers, search, the constraint that makes trees, and weights are inside."
    )

    def __init__(self, models, tokenizer, options):
        super().__init__(models, tokenizer, options)
        self._copies = not is_pair(tokenizer)
        ids = read_tree_ids(side_of(tokenizer, "target"), self._copies)
        tokens = [TAG if self._copies and word else token for token, word in zip(ids.tokens, ids.is_word, strict=True)]
        rows = zip(tokens, ids.opens, ids.closes, ids.is_word, strict=True)
        self._is_word = ids.is_word
        self._before = [self._text_before(*row) for row in rows]

    @staticmethod
    def _text_before(token, opens, closes, is_word):
        """What a token of a tree becomes, before its word if it has one."""
        if closes:
            return ")"
        if is_word:
            return f" ({token} "
        return f" {token}" if opens else ""

    def clean(self, sentences):
        """See `TranslationGraph.clean`: one space between words, and brackets by name if words are copied."""
        sentences = tf.strings.strip(tf.strings.regex_replace(sentences, WHITE_SPACE, " "))
        return with_names_of_brackets(sentences) if self._copies else sentences

    def texts(self, ids, source):
        """See `TranslationGraph.texts`."""
        sentences = with_names_of_brackets(side_of(self.tokenizer, "source").detokenize(source))
        words = tf.strings.split(sentences).to_tensor()  # (R, N)
        words = tf.pad(words, [[0, 0], [0, 1]], constant_values="")  # at least one column
        is_word = tf.gather(tf.constant(self._is_word), ids)  # (R, L)
        number = tf.cumsum(tf.cast(is_word, tf.int32), axis=1, exclusive=True)
        word = tf.gather(words, tf.minimum(number, tf.shape(words)[1] - 1), batch_dims=1)
        before = tf.gather(tf.constant(self._before), ids)
        after = tf.where(is_word, ")", "")
        parts = tf.strings.join([before, tf.where(is_word, word, ""), after])
        return tf.strings.strip(tf.strings.reduce_join(parts, axis=1))


def with_names_of_brackets(texts):
    """ "(" and ")" in texts as trees have them."""
    for sign in "()":
        texts = tf.strings.regex_replace(texts, f"\\{sign}", escaped(sign))
    return texts
