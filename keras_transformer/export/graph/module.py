"""What an export answers: its signatures, over one set of weights."""

import math

import tensorflow as tf

from keras_transformer.decoding.hypotheses import LOWEST_SCORE, UNREACHED
from keras_transformer.decoding.penalties import coverage_term, length_divisor
from keras_transformer.export.graph.requests import closed, pieces_of, readable, trimmed
from keras_transformer.export.graph.weights import Weights
from keras_transformer.files import BLANK
from keras_transformer.ids import PAD
from keras_transformer.translation.teacher_forcing import teacher_forced

STRINGS = tf.TensorSpec([None], tf.string)
IDS = tf.TensorSpec([None, None], tf.int32)
INPUTS = {
    "serving_default": {"sentences": STRINGS},
    "n_best": {"sentences": STRINGS},
    "score": {"sentences": STRINGS, "translations": STRINGS},
    "ids": {"source_ids": IDS},
    "align": {"sentences": STRINGS},
}


def source_limit(translator, max_source_length):
    """How many tokens of a source the export reads, END counted.

    Raises:
        ValueError: a limit without room for a piece and END, or learned positions without.
    """
    options, positions = translator.options, translator.graph.positions
    if not isinstance(max_source_length, int) or isinstance(max_source_length, bool) or max_source_length < 2:
        raise ValueError(f"max_source_length must be an int of at least 2, a piece and END, got {max_source_length!r}.")
    if positions is None:
        return max_source_length
    fits = [length for length in range(2, positions + 1) if options.limit(length) <= positions]
    if not fits:
        raise ValueError(
            f"the model's {positions} learned positions have no room for a piece, its END and a translation of "
            f"{options.limit(2)} tokens: lower max_extra_length={options.max_extra_length}, or give max_length."
        )
    return min(max_source_length, fits[-1])


class ServingModule(tf.Module):
    """Holds what the graphs of an export need, and nothing of Keras.

    Attributes:
        answers: {name: `tf.function`}, the signatures; see `keras_transformer.export` for what each gives.
    """

    def __init__(self, translator, precision, max_source_length):
        super().__init__(name="translator")
        limit = source_limit(translator, max_source_length)
        weights = Weights(translator.models, precision)
        self.tokenizer, self.weights = translator.tokenizer, weights.tracked
        answers = Answers(translator, weights, limit)
        self.answers = {name: answers.signature(name) for name in INPUTS}


class Answers:
    """The functions behind the signatures.

    Args:
        translator: a `Translator`.
        weights: `Weights` of its models.
        limit: the most tokens of a source, END counted.
    """

    def __init__(self, translator, weights, limit):
        self.models, self.graph, self.options = translator.models, translator.graph, translator.options
        self.tokenizer, self.weights, self.limit = translator.tokenizer, weights, limit
        longest = self.options.limit(limit)
        self.target_limit = min(longest, self.graph.positions or longest)
        # Functions of their own, so that the file has each graph once however many signatures use it.
        self._read = compiled(self._read, STRINGS)
        self._search = compiled(self._search, IDS, tf.TensorSpec([], tf.int32))
        self._judge = compiled(self._judge, IDS, IDS)
        self._texts = compiled(self.tokenizer.detokenize, IDS)

    def signature(self, name):
        """The `tf.function` of a signature."""
        specs = [tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in INPUTS[name].items()]
        return compiled(getattr(self, name), *specs)

    def _read(self, sentences):
        """Strings [B] -> ids (B, S), and which are blank and which were cut, [B] bool."""
        return self._ids(sentences, self.limit, "source")

    def _ids(self, strings, limit, side):
        """Strings [B] -> ids (B, L), and which are blank and which were cut, [B] bool."""
        texts, cut_text = readable(strings, limit)
        blank = tf.strings.regex_full_match(texts, BLANK)
        if side == "source":
            texts = tf.where(blank, "", texts)  # or neighbours would wait for a search that nobody reads
        pieces = self.tokenizer.tokenize(texts, side)
        ids, cut = closed(pieces.to_tensor(), pieces.row_lengths(), limit)
        return ids, blank, cut | cut_text

    def _search(self, source, num_results):
        """Ids (B, S) -> ids (B, W, L) and scores (B, W); as many results are the best."""
        with self.weights.scope():
            found = self.graph.search_ids(source, num_results, weights=self.weights.step_weights())
        return found.ids, found.scores

    def _judge(self, source, labels):
        """`teacher_forced` by the export's weights."""
        with self.weights.scope():
            return teacher_forced(self.models, source, labels)

    def _translated(self, source, blank):
        """The best translations' ids (B, T) and scores [B]."""
        ids, scores = self._search(source, 1)
        return trimmed(tf.where(blank[:, None], PAD, ids[:, 0])), tf.where(blank, 0.0, scores[:, 0])

    def serving_default(self, sentences):
        source, blank, truncated = self._read(sentences)
        ids, scores = self._translated(source, blank)
        return {"translations": self._texts(ids), "scores": scores, "truncated": truncated}

    def n_best(self, sentences):
        source, blank, truncated = self._read(sentences)
        ids, scores = self._search(source, self.options.beam_size)
        first = tf.range(self.options.beam_size)[None, :] == 0
        scores = tf.where(blank[:, None], tf.where(first, 0.0, UNREACHED), scores)
        reached = scores > LOWEST_SCORE
        ids = tf.where((reached & ~blank[:, None])[:, :, None], ids, PAD)
        texts = self._texts(tf.reshape(ids, [-1, tf.shape(ids)[2]]))
        return {
            "translations": tf.reshape(texts, tf.shape(scores)),
            "scores": tf.where(reached, scores, UNREACHED),
            "truncated": truncated,
        }

    def score(self, sentences, translations):
        same = tf.debugging.assert_equal(
            *(tf.size(sentences), tf.size(translations)),
            message="sentences and translations must be of one length",
        )
        with tf.control_dependencies([same]):
            source, blank, truncated = self._read(sentences)
        labels, nothing, cut = self._ids(translations, self.target_limit, "target")
        counts = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
        logs, attention = self._judge(source, labels)
        totals = tf.reduce_sum(logs, axis=1)
        scores = totals / length_divisor(counts, self.options.length_penalty, self.options.length_normalization)
        if self.options.coverage_penalty:
            attended = tf.where((labels != PAD)[:, :, None], attention, 0.0)
            coverage = tf.where(source == PAD, 1.0, tf.reduce_sum(attended, axis=1))
            scores += coverage_term(coverage, self.options.coverage_penalty)
        certain = tf.where(nothing, 0.0, -math.inf)  # a blank sentence's translation is blank
        return {
            "scores": tf.where(blank, certain, scores),
            "log_probabilities": tf.where(blank, certain, totals),
            "token_counts": tf.where(blank & nothing, 0, counts),
            "truncated": truncated | cut,
        }

    def ids(self, source_ids):
        lengths = pieces_of(source_ids, self.tokenizer.vocabulary_size)
        source, truncated = closed(source_ids, lengths, self.limit)
        ids, scores = self._translated(source, tf.strings.regex_full_match(self._texts(source), BLANK))
        return {"ids": ids, "scores": scores, "truncated": truncated}

    def align(self, sentences):
        source, blank, truncated = self._read(sentences)
        ids, scores = self._translated(source, blank)
        _, attention = self._judge(source, ids)
        tokens = (ids != PAD)[:, :, None] & (source != PAD)[:, None, :]
        names = self.tokenizer.pieces(range(self.tokenizer.vocabulary_size))
        names = tf.constant(["" if i == PAD else name for i, name in enumerate(names)])
        return {
            "translations": self._texts(ids),
            "scores": scores,
            "source_pieces": tf.gather(names, source),
            "target_pieces": tf.gather(names, ids),
            "alignment": tf.where(tokens, attention, 0.0),
            "truncated": truncated,
        }


def compiled(function, *specs):
    """`function` as a `tf.function` of tensors with these `tf.TensorSpec`s."""
    return tf.function(function, input_signature=specs, autograph=False)
