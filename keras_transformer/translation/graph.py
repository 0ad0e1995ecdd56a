"""The search as TensorFlow graphs, from ids to translations. An export has the same search."""

import threading

import tensorflow as tf

from keras_transformer.decoding import (
    BeamOptions,
    Bounds,
    Ensemble,
    Hypotheses,
    Rules,
    SamplingOptions,
    beam_search,
    greedy_search,
    sample,
)
from keras_transformer.decoding.shortlist import ShortlistDecoder
from keras_transformer.export.readme import ABOUT
from keras_transformer.ids import PAD
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.translation.options import suppressed_ids

SEGMENT = 8  # tokens between two times at which sentences that are done leave the batch


def together(decoders):
    """The decoder of one model, or an `Ensemble` of several."""
    return decoders[0] if len(decoders) == 1 else Ensemble(decoders)


def together_states(states):
    """The state of `together`, from a state of each decoder."""
    return states[0] if len(states) == 1 else tuple(states)


class TranslationGraph:
    """Search over one model or several, and the detokenizer.

    Args:
        models: `Transformer`s of the tokenizer's vocabulary.
        tokenizer: a `Tokenizer` or a `TokenizerPair`.
        options: `SearchOptions`.
    """

    about = ABOUT  # the first words of an export's README.md

    def __init__(self, models, tokenizer, options):
        self.models, self.tokenizer, self.options = models, tokenizer, options
        self.decoders = [IncrementalDecoder(model) for model in models]
        self.decoder = together(self.decoders)
        self.rules = Rules(suppressed_ids(options.suppress, tokenizer), options.no_repeat_ngram, options.constraint)
        self.weights = tf.function(lambda: [decoder.step_weights() for decoder in self.decoders], autograph=False)
        self._compiled, self._compiling = {}, threading.Lock()
        self._made_of = self._parts()

    @property
    def positions(self):
        """How many learned positions every model has; None for sinusoids, which have no end."""
        configs = [model.get_config() for model in self.models]
        return min((config["max_length"] for config in configs if config["positions"] == "learned"), default=None)

    @property
    def penalty(self):
        """The options of the length penalty, as the searches take them."""
        names = ("length_penalty", "length_normalization")
        return {name: getattr(self.options, name) for name in names}

    def _parts(self):
        """Of each model, whether it is quantized, and the paths of its weights."""
        return [(model.quantized, [variable.path for variable in model.weights]) for model in self.models]

    def check_unchanged(self):
        """Raise RuntimeError if a model was quantized or got other weights: the compiled graphs hold the old ones.

        `enable_lora` adds weights. New values of the same weights are no change.
        """
        for (quantized, paths), (is_quantized, present) in zip(self._made_of, self._parts(), strict=True):
            if quantized != is_quantized:
                raise RuntimeError("a model was quantized after this Translator was made. Make a new Translator of it.")
            if paths != present:
                first = next(iter(set(present) ^ set(paths)), "in another order")
                raise RuntimeError(
                    f"a model has other weights ({first}) than when this Translator was made, as after enable_lora. "
                    "Make a new Translator of it."
                )

    def run(self, inputs, top_k=0):
        """Run the compiled search, or the compiled sampling if there are random numbers. Any thread may call it.

        One graph serves batches of all sizes and every `num_results`, and one every number of samples. There is
        another graph for each other set of inputs, and for each `top_k`.

        Args:
            inputs: a dictionary of tensors, the arguments of `search_ids` or of `sample_ids`.
            top_k: of `sample_ids`.

        Returns:
            A dictionary of "texts" (B, n) string, "ids" (B, n, L) int32, "scores" and "log_probabilities"
            (B, n) float32, and "finished" (B, n) bool. In a search, n is `num_results`, best first.
        """
        key = (*sorted(inputs), top_k)
        with self._compiling:
            if key not in self._compiled:
                self._compiled[key] = self._compile(inputs, top_k)
        return self._compiled[key](inputs)

    def _compile(self, inputs, top_k):
        def translate(inputs):
            if "random_numbers" in inputs:
                return self._with_texts(self.sample_ids(**inputs, top_k=top_k), inputs["source"])
            hypotheses = self.search_ids(**inputs)
            best = Hypotheses(*(x[:, : inputs["num_results"]] for x in hypotheses))
            return self._with_texts(best, inputs["source"])

        def spec(name, x):
            by_batch = name in ("source", "prefix", "random_numbers")
            return tf.TensorSpec([None] * len(x.shape) if by_batch else x.shape, x.dtype)

        specs = {name: tf.nest.map_structure(lambda x, name=name: spec(name, x), inputs[name]) for name in inputs}
        return tf.function(translate, input_signature=[specs], autograph=False)

    def search_ids(self, source, num_results=1, prefix=None, weights=None):
        """Greedy search or beam search, from ids to ids, in TensorFlow ops.

        Args:
            source: (B, S) int32, the sentences' ids, closed by END and padded.
            num_results: how many of the W hypotheses must be the best; an int or a scalar tensor.
            prefix: (B, P) int32, the ids that each translation begins with, padded; or None.
            weights: a list of `IncrementalDecoder.step_weights()`, one for each model, if they are known.

        Returns:
            `Hypotheses` of W.
        """
        options = self.options
        with_attention = options.coverage_penalty > 0
        bounds, states, max_length = self._start(source, prefix, weights, options.beam_size, with_attention)
        decoders, pieces = self.decoders, None
        if options.shortlist is not None:
            pieces, allowed, prefix = options.shortlist.of_batch(source, prefix)
            decoders = [ShortlistDecoder(decoder) for decoder in decoders]
            states = [decoder.start(x, pieces, allowed) for decoder, x in zip(decoders, states, strict=True)]
            bounds = bounds if isinstance(bounds.prefix, tuple) else bounds._replace(prefix=prefix)
        decoder, state = together(decoders), together_states(states)
        if options.beam_size == 1 and not with_attention:
            found = greedy_search(decoder, state, bounds, max_length, rules=self.rules, segment=SEGMENT, **self.penalty)
        else:
            beam = BeamOptions(
                options.beam_size,
                coverage_penalty=options.coverage_penalty,
                rules=self.rules,
                num_results=num_results,
                **self.penalty,
            )
            found = beam_search(decoder, state, bounds, max_length, beam, source != PAD, SEGMENT)
        return found if pieces is None else found._replace(ids=tf.gather(pieces, found.ids))

    def sample_ids(self, source, random_numbers, temperature=1.0, top_k=0, top_p=1.0, prefix=None, weights=None):
        """Sampling, from ids to ids, in TensorFlow ops. The scores have no coverage penalty.

        Args:
            random_numbers: (B, n, L) float32, uniform in [0, 1). L is at least the longest limit.
            temperature, top_k, top_p: of `SamplingOptions`.
            The others: see `search_ids`.

        Returns:
            `Hypotheses` of n, in the order drawn.
        """
        bounds, states, max_length = self._start(source, prefix, weights, width=1)
        size, count, length = tf.unstack(tf.shape(random_numbers))
        # Each sample becomes a sentence of its own with one hypothesis: decoders need a width that is known here,
        # and so one graph serves every n.
        rows = tf.repeat(tf.range(size), count)  # (B·n,)
        samples = sample(
            self.decoder,
            self.decoder.keep(together_states(states), rows),
            tf.nest.map_structure(lambda x: tf.gather(x, rows), bounds),
            max_length,
            tf.reshape(random_numbers, [size * count, 1, length]),
            SamplingOptions(temperature, top_k, top_p),
            rules=self.rules,
            segment=SEGMENT,
            **self.penalty,
        )
        ids, *columns = samples
        return Hypotheses(tf.reshape(ids, [size, count, max_length]), *(tf.reshape(x, [size, count]) for x in columns))

    def _start(self, source, prefix, weights, width, with_attention=False):
        """`Bounds`, the decoders' states before the first token, and the longest limit."""
        lengths = tf.math.count_nonzero(source, axis=1, dtype=tf.int32)
        limits = self.options.limit(lengths, tf.minimum)
        minimums = self.options.minimum(lengths, tf.maximum)
        max_length = tf.maximum(tf.reduce_max(limits), 1)  # the maximum of an empty batch is below 1
        bounds = Bounds(
            limits,
            () if minimums is None else tf.minimum(minimums, limits),
            () if prefix is None else prefix,
            self.options.constraint.start(source) if self.options.constraint else (),
        )
        if self.positions is not None:
            message = f"a sentence and its translation need more than the model's {self.positions} learned positions"
            needed = tf.maximum(max_length, tf.shape(source)[1])
            with tf.control_dependencies([tf.debugging.assert_less_equal(needed, self.positions, message)]):
                source = tf.identity(source)
        no_room = max_length * 0  # `grow` makes room; a tensor, because the shape is not fixed
        states = tuple(
            decoder.start(decoder.model.encode(source), source, no_room, width, ready, with_attention)
            for decoder, ready in zip(self.decoders, weights or [None] * len(self.decoders), strict=True)
        )
        return bounds, states, max_length

    def clean(self, sentences):
        """The sentences as an export tokenizes them: [B] string -> [B] string. Here, as they are."""
        return sentences

    def texts(self, ids, source):
        """What the outputs of sources are as texts: ids (R, L) and source ids (R, S) int32 -> [R] string."""
        return self.tokenizer.detokenize(ids)

    def _with_texts(self, hypotheses, source):
        """The `Hypotheses` as a dictionary, with their texts."""
        ids = hypotheses.ids
        texts = self.texts(tf.reshape(ids, [-1, tf.shape(ids)[2]]), tf.repeat(source, tf.shape(ids)[1], axis=0))
        return {"texts": tf.reshape(texts, tf.shape(hypotheses.scores)), **hypotheses._asdict()}
