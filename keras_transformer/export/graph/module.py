"""The signatures of an export, over one set of weights."""

import math

import tensorflow as tf

from keras_transformer.decoding.hypotheses import LOWEST_SCORE, UNREACHED
from keras_transformer.decoding.penalties import coverage_term, length_divisor
from keras_transformer.export.graph.answers import best_of_each_text
from keras_transformer.export.graph.requests import count_pieces, cut_to_valid_utf8, end_rows, trim_padding
from keras_transformer.export.graph.weights import Weights
from keras_transformer.ids import PAD
from keras_transformer.inputs.blank import BLANK
from keras_transformer.inputs.tokenizers import side_of

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
    """The number of tokens of a source that the export reads, END counted.

    It is `max_source_length`, or less if the model has learned positions: they must also hold the translation.

    Raises:
        ValueError: `max_source_length` or the learned positions leave no room for a piece and END.
    """
    options, positions = translator.options, translator.graph.positions
    if not isinstance(max_source_length, int) or isinstance(max_source_length, bool) or max_source_length < 2:
        raise ValueError(
            f"max_source_length must be an int of at least 2 (a piece and END), got {max_source_length!r}."
        )
    if positions is None:
        return max_source_length
    fits = [length for length in range(2, positions + 1) if options.limit(length) <= positions]
    if not fits:
        raise ValueError(
            f"The model has {positions} learned positions. They have no room for a translation of {options.limit(2)} "
            f"tokens, which a source of one piece and END may get. Lower max_extra_length={options.max_extra_length}, "
            "or give max_length."
        )
    return min(max_source_length, fits[-1])


class ServingModule(tf.Module):
    """Holds everything that the graphs of an export need, and nothing of Keras.

    Args:
        translator: a `Translator`.
        precision: one of `precision.PRECISIONS`.
        max_source_length: the most tokens of a source, END counted.

    Attributes:
        answers: {name: `tf.function`}, the signatures. `keras_transformer.export` describes them.
    """

    def __init__(self, translator, precision, max_source_length):
        super().__init__(name="translator")
        limit = source_limit(translator, max_source_length)
        weights = Weights(translator.models, precision)
        self.tokenizer, self.weights = translator.tokenizer, weights.tracked
        answers = Answers(translator, weights, limit)
        self.answers = {name: answers.signature(name) for name in INPUTS}


class Answers:
    """The functions behind the signatures. The public methods have the names of the signatures.

    Args:
        translator: a `Translator`.
        weights: the `Weights` of its models.
        limit: the most tokens of a source, END counted.
    """

    def __init__(self, translator, weights, limit):
        self.translator, self.graph, self.options = translator, translator.graph, translator.options
        self.tokenizer, self.weights, self.limit = translator.tokenizer, weights, limit
        self.source, self.target = side_of(self.tokenizer, "source"), side_of(self.tokenizer, "target")
        longest = self.options.limit(limit)
        self.target_limit = min(longest, self.graph.positions or longest)
        # Each is a `tf.function`, so the file holds its graph once and all signatures share it.
        self._read = tensor_function(self._read, STRINGS)
        self._search = tensor_function(self._search, IDS, tf.TensorSpec([], tf.int32))
        self._log_probabilities_and_attention = tensor_function(self._log_probabilities_and_attention, IDS, IDS)
        self._source_texts = tensor_function(self.source.detokenize, IDS)
        self._texts = tensor_function(self.graph.texts, IDS, IDS)

    def signature(self, name):
        """The `tf.function` of a signature."""
        specs = [tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in INPUTS[name].items()]
        return tensor_function(getattr(self, name), *specs)

    def _read(self, sentences):
        """Sentences [B] -> ids (B, S); [B] bool, True where blank; [B] bool, True where cut."""
        return self._ids(sentences, self.limit, "source")

    def _ids(self, strings, limit, side):
        """Strings [B] -> ids (B, L); [B] bool, True where blank; [B] bool, True where cut."""
        texts, text_is_cut = cut_to_valid_utf8(strings, limit)
        is_blank = tf.strings.regex_full_match(texts, BLANK)
        if side == "source":
            texts = self.graph.clean(texts)
            # The search of a blank sentence is not used. An empty text keeps it short, so others do not wait.
            texts = tf.where(is_blank, "", texts)
        pieces = self.tokenizer.tokenize(texts, side)
        ids, is_cut = end_rows(pieces.to_tensor(), pieces.row_lengths(), limit)
        return ids, is_blank, is_cut | text_is_cut

    def _search(self, source, num_results):
        """Ids (B, S) -> ids (B, W, L) and scores (B, W) of the hypotheses; the first `num_results` are the best."""
        with self.weights.scope():
            hypotheses = self.graph.search_ids(source, num_results, weights=self.weights.step_weights())
        return hypotheses.ids, hypotheses.scores

    def _log_probabilities_and_attention(self, source, labels):
        """The translator's method of this name, with the weights of the export."""
        with self.weights.scope():
            return self.translator.log_probabilities_and_attention(source, labels)

    def _translate(self, source, is_blank):
        """The ids (B, T) and scores [B] of the best translations."""
        ids, scores = self._search(source, 1)
        return trim_padding(tf.where(is_blank[:, None], PAD, ids[:, 0])), tf.where(is_blank, 0.0, scores[:, 0])

    def serving_default(self, sentences):
        source, is_blank, truncated = self._read(sentences)
        ids, scores = self._translate(source, is_blank)
        return {"translations": self._texts(ids, source), "scores": scores, "truncated": truncated}

    def n_best(self, sentences):
        source, is_blank, truncated = self._read(sentences)
        ids, scores = self._search(source, self.options.beam_size)
        is_best = tf.range(self.options.beam_size)[None, :] == 0
        scores = tf.where(is_blank[:, None], tf.where(is_best, 0.0, UNREACHED), scores)
        is_reached = scores > LOWEST_SCORE
        ids = tf.where((is_reached & ~is_blank[:, None])[:, :, None], ids, PAD)
        sources = tf.repeat(source, self.options.beam_size, axis=0)
        texts = tf.reshape(self._texts(tf.reshape(ids, [-1, tf.shape(ids)[2]]), sources), tf.shape(scores))
        texts, scores = best_of_each_text(texts, tf.where(is_reached, scores, UNREACHED))
        return {"translations": texts, "scores": scores, "truncated": truncated}

    def score(self, sentences, translations):
        same_number = tf.debugging.assert_equal(
            *(tf.size(sentences), tf.size(translations)),
            message="sentences and translations must have the same number of strings",
        )
        with tf.control_dependencies([same_number]):
            source, is_blank, source_is_cut = self._read(sentences)
        labels, target_is_blank, target_is_cut = self._ids(translations, self.target_limit, "target")
        counts = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
        log_probabilities, attention = self._log_probabilities_and_attention(source, labels)
        totals = tf.reduce_sum(log_probabilities, axis=1)
        scores = totals / length_divisor(counts, self.options.length_penalty, self.options.length_normalization)
        if self.options.coverage_penalty:
            attention = tf.where((labels != PAD)[:, :, None], attention, 0.0)
            coverage = tf.where(source == PAD, 1.0, tf.reduce_sum(attention, axis=1))
            scores += coverage_term(coverage, self.options.coverage_penalty)
        # The translation of a blank sentence is certainly blank.
        of_blank = tf.where(target_is_blank, 0.0, -math.inf)
        return {
            "scores": tf.where(is_blank, of_blank, scores),
            "log_probabilities": tf.where(is_blank, of_blank, totals),
            "token_counts": tf.where(is_blank & target_is_blank, 0, counts),
            "truncated": source_is_cut | target_is_cut,
        }

    def ids(self, source_ids):
        lengths = count_pieces(source_ids, self.source.vocabulary_size)
        source, truncated = end_rows(source_ids, lengths, self.limit)
        ids, scores = self._translate(source, tf.strings.regex_full_match(self._source_texts(source), BLANK))
        return {"ids": ids, "scores": scores, "truncated": truncated}

    def align(self, sentences):
        source, is_blank, truncated = self._read(sentences)
        ids, scores = self._translate(source, is_blank)
        _, attention = self._log_probabilities_and_attention(source, ids)
        is_token = (ids != PAD)[:, :, None] & (source != PAD)[:, None, :]
        target_names = names_of(self.target)
        source_names = target_names if self.source is self.target else names_of(self.source)
        return {
            "translations": self._texts(ids, source),
            "scores": scores,
            "source_pieces": tf.gather(source_names, source),
            "target_pieces": tf.gather(target_names, ids),
            "alignment": tf.where(is_token, attention, 0.0),
            "truncated": truncated,
        }


def names_of(tokenizer):
    """The name of each id of a `Tokenizer`, "" for PAD: [V] string."""
    pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
    return tf.constant(["" if i == PAD else piece for i, piece in enumerate(pieces)])


def tensor_function(function, *specs):
    """`function` as a `tf.function` of tensors that match these `tf.TensorSpec`s."""
    return tf.function(function, input_signature=specs, autograph=False)
