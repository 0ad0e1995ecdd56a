"""The way from strings to strings in TensorFlow ops: what runs here and in an export."""

import threading

import tensorflow as tf

from keras_transformer.decoding import (
    BeamOptions,
    Bounds,
    Ensemble,
    Rules,
    SamplingOptions,
    beam_search,
    greedy_search,
    sample,
)
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.files import BLANK
from keras_transformer.ids import END, PAD
from keras_transformer.translation.options import suppressed_ids

SEGMENT = 8  # tokens between two looks at which sentences are done


class TranslationGraph:
    """Tokenizer, search over one model or several, detokenizer.

    Args:
        models: `Transformer`s of the tokenizer's vocabulary.
        tokenizer: a `Tokenizer`.
        options: `SearchOptions`.
    """

    def __init__(self, models, tokenizer, options):
        self.models, self.tokenizer, self.options = models, tokenizer, options
        self.decoder = models[0] if len(models) == 1 else Ensemble(models)
        self.rules = Rules(suppressed_ids(options.suppress, tokenizer), options.no_repeat_ngram)
        self.weights = tf.function(lambda: [model.step_weights() for model in models], autograph=False)
        self._compiled, self._compiling = {}, threading.Lock()
        self._quantised = [model.quantised for model in models]

    @property
    def positions(self):
        """How many positions every model has learnt; None for sinusoids, which have no end."""
        configs = [model.get_config() for model in self.models]
        return min((config["max_length"] for config in configs if config["positions"] == "learned"), default=None)

    def refuse_changed(self):
        """Raise RuntimeError if a model has been quantised since: what was traced before holds its old weights."""
        if self._quantised != [model.quantised for model in self.models]:
            raise RuntimeError("a model was quantised after this Translator was made: make another of it.")

    def run(self, inputs, **static):
        """`search`, or `sample` where there is `luck`, compiled once for each kind of call; from any thread.

        Args:
            inputs: a dictionary of their arguments that are tensors.
            **static: the others: `num_results` of the one, `top_k` of the other.
        """
        width = inputs["luck"].shape[1] if "luck" in inputs else None
        kind = (*sorted(inputs), *static.items(), width)
        with self._compiling:
            if kind not in self._compiled:
                self._compiled[kind] = self._compile(inputs, static, width)
        return self._compiled[kind](inputs)

    def _compile(self, inputs, static, width):
        def find(inputs):
            return (self.search if width is None else self.sample)(**inputs, **static)

        strings = tf.TensorSpec([None], tf.string)
        free = {"sentences": strings, "prefix": strings, "luck": tf.TensorSpec([None, width, None], tf.float32)}
        specs = {
            name: free.get(name) or tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), value)
            for name, value in inputs.items()
        }
        return tf.function(find, input_signature=[specs], autograph=False)

    def source_ids(self, sentences):
        """Strings [B] -> ids (B, S) int32, pieces + END, padded."""
        pieces = self.tokenizer.tokenize(sentences)
        end = tf.fill([tf.shape(sentences)[0], 1], END)
        return tf.concat([pieces, end], axis=1).to_tensor(PAD)

    def search(self, sentences, num_results=1, prefix=None, weights=None):
        """The whole way in TensorFlow ops, for `tf.function` and export.

        Args:
            sentences: string tensor [B].
            num_results: how many of the W hypotheses must be the best.
            prefix: string tensor [B], what each translation begins with, or None.
            weights: a list of `Transformer.step_weights()`, one a model, if at hand.

        Returns:
            A dictionary of "texts" (B, W) string, "ids" (B, W, L) int32, "scores" and
            "log_probabilities" (B, W) float32 and "finished" (B, W) bool, best first.
        """
        found = self.search_ids(self.source_ids(sentences), num_results, prefix, weights)
        first = tf.range(self.options.beam_size)[None, :] == 0
        return self._strings(sentences, found, tf.where(first, 0.0, UNREACHED))

    def search_ids(self, source, num_results=1, prefix=None, weights=None):
        """The search alone, from ids to ids.

        Args:
            source: (B, S) int32, pieces + END, padded.
            The others: as in `search`.

        Returns:
            `Hypotheses` of W.
        """
        options = self.options
        penalty = {"length_penalty": options.length_penalty, "length_normalization": options.length_normalization}
        with_attention = options.coverage_penalty > 0
        source, bounds, state = self._start(source, prefix, weights, options.beam_size, with_attention)
        longest = _longest(bounds)
        if options.beam_size == 1 and not options.coverage_penalty:
            return greedy_search(self.decoder, state, bounds, longest, rules=self.rules, segment=SEGMENT, **penalty)
        beam = BeamOptions(
            options.beam_size,
            coverage_penalty=options.coverage_penalty,
            rules=self.rules,
            num_results=num_results,
            **penalty,
        )
        return beam_search(self.decoder, state, bounds, longest, beam, source != PAD, SEGMENT)

    def sample(self, sentences, luck, temperature=1.0, top_k=0, top_p=1.0, prefix=None, weights=None):
        """Translations drawn by chance; no coverage penalty is in their scores.

        Args:
            luck: (B, n, L) float32, uniform in [0, 1); L at least the longest limit.
            temperature, top_k, top_p: of a `SamplingOptions`.
            The others: as in `search`.

        Returns:
            As `search`, n translations a sentence, in the order drawn.
        """
        penalty = {
            "length_penalty": self.options.length_penalty,
            "length_normalization": self.options.length_normalization,
        }
        _, bounds, state = self._start(self.source_ids(sentences), prefix, weights, luck.shape[1])
        draw = SamplingOptions(temperature, top_k, top_p)
        found = sample(
            self.decoder, state, bounds, _longest(bounds), luck, draw, rules=self.rules, segment=SEGMENT, **penalty
        )
        return self._strings(sentences, found, tf.zeros_like(found.scores))

    def _start(self, source, prefix, weights, width, with_attention=False):
        """Source ids (B, S), `Bounds`, and the decoder's state."""
        lengths = tf.math.count_nonzero(source, axis=1, dtype=tf.int32)
        limits = self.options.limit(lengths, tf.minimum)
        least = self.options.least(lengths, tf.maximum)
        begun = ()
        if prefix is not None:
            begun = self.tokenizer.tokenize(prefix, side="target").to_tensor(PAD)
        bounds = Bounds(limits, () if least is None else tf.minimum(least, limits), begun)
        longest = _longest(bounds)
        if self.positions is not None:
            message = f"a sentence and its translation need more than the model's {self.positions} learned positions"
            needed = tf.maximum(longest, tf.shape(source)[1])
            with tf.control_dependencies([tf.debugging.assert_less_equal(needed, self.positions, message)]):
                source = tf.identity(source)
        states = tuple(
            model.start(model.encode(source), source, longest * 0, width, ready, with_attention)
            for model, ready in zip(self.models, weights or [None] * len(self.models), strict=True)
        )
        return source, bounds, states[0] if len(states) == 1 else states

    def _strings(self, sentences, found, nothing):
        """The dictionary of `search`; where a sentence is blank, empty texts with the scores `nothing`."""
        texts = self.tokenizer.detokenize(tf.reshape(found.ids, [-1, tf.shape(found.ids)[2]]))
        blank = tf.strings.regex_full_match(sentences, BLANK)[:, None]
        return {
            "texts": tf.where(blank, "", tf.reshape(texts, tf.shape(found.scores))),
            "ids": tf.where(blank[:, :, None], PAD, found.ids),
            "scores": tf.where(blank, nothing, found.scores),
            "log_probabilities": tf.where(blank, nothing, found.log_probabilities),
            "finished": blank | found.finished,
        }


def _longest(bounds):
    return tf.maximum(tf.reduce_max(bounds.limits), 1)  # an empty batch has no longest sentence
