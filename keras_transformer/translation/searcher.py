"""Lists of sentences and of pairs through the models: what goes in is checked, what comes out is read."""

import math
from dataclasses import replace

import tensorflow as tf

from keras_transformer.decoding.hypotheses import LOWEST_SCORE
from keras_transformer.ids import PAD, UNK
from keras_transformer.translation.batches import at_the_same_time, by_length, progress_bar
from keras_transformer.translation.hypotheses import Hypothesis, Score
from keras_transformer.translation.pieces import listed
from keras_transformer.translation.unknown import replace_unknown, source_words

COLUMNS = ("texts", "scores", "log_probabilities", "finished", "ids")
NOT_FINITE = "the model's probabilities are not finite. Was its training stopped by NaN?"


class SentenceError(ValueError):
    """What is wrong with one sentence: `rule`, of the sentence of this `number` in its list."""

    def __init__(self, number, rule):
        super().__init__(f"sentence {number} {rule}")
        self.number, self.rule = number, rule


class Searcher:
    """Search and scores for lists of any length.

    Args:
        graph: a `TranslationGraph`.
        given: a `TeacherForcing` over the same models.
        pieces: the `Pieces` of their tokenizer.
    """

    def __init__(self, graph, given, pieces):
        self.graph, self.given, self.pieces = graph, given, pieces
        self.options = graph.options

    def find(self, sentences, prefixes, batches, n=None, luck=None, draw=None, details=False, **kind):
        """Lists of `Hypothesis`, in the order of the sentences; those of like length share a batch.

        Args:
            batches: `Batches`.
            n: how many a sentence, as far as there are; None for all.
            luck: a function from indices and limits of sentences to the luck (B, n, L) of a sample.
            draw: how a sample is drawn, `SamplingOptions`.
            details: with the tokens' log-probabilities.
            **kind: of `TranslationGraph.run`.
        """
        self.graph.refuse_changed()
        sentences = listed(sentences, batches.size, batches.workers)
        sources = self.pieces.source(sentences)
        limits = [self.options.limit(len(ids)) for ids in sources]
        self._refuse_long(sentences, sources, limits)
        if prefixes is not None:
            prefixes = self._listed_prefixes(prefixes, sentences, limits)
        shared = {"weights": self.graph.weights()}
        if draw is not None:
            shared["temperature"] = tf.constant(draw.temperature)  # a graph serves all
            shared |= {"top_p": tf.constant(draw.top_p)} if draw.top_p < 1 else {}
            kind["top_k"] = draw.top_k

        def search(chosen):
            inputs = {"sentences": tf.constant([sentences[i] for i in chosen]), **shared}
            if prefixes is not None:
                inputs["prefix"] = tf.constant([prefixes[i] for i in chosen])
            if luck is not None:
                inputs["luck"] = tf.constant(luck(chosen, [limits[i] for i in chosen]))
            found = self.graph.run(inputs, **kind)
            return [found[name].numpy() for name in COLUMNS]

        results = [None] * len(sentences)
        alike = by_length([len(ids) for ids in sources], batches.size, batches.workers)
        with progress_bar("translating", len(sentences), batches.progress) as advance:
            for chosen, columns in at_the_same_time(search, alike, batches.workers):
                for index, *rows in zip(chosen, *columns, strict=True):
                    results[index] = self._read(index, sentences[index], sources[index], rows)[:n]
                if details:
                    self._add_details(results, sources, chosen, batches.size)
                advance(len(chosen))
        return results

    def _read(self, index, sentence, source, rows):
        """The hypotheses of one sentence."""
        found = []
        for text, score, log_probability, finished, ids in zip(*rows, strict=True):
            if score > LOWEST_SCORE:
                text = text.decode()
                if self.options.replace_unknown and UNK in ids:
                    text = self._without_unknown(text, sentence, source, ids[ids != PAD].tolist())
                tokens = self.pieces.named(ids)
                found.append(Hypothesis(text, float(score), float(log_probability), bool(finished), tokens))
        if not found:
            raise SentenceError(index, f"got no translation, {sentence[:60]!r}: {NOT_FINITE}")
        return found

    def _without_unknown(self, text, sentence, source, ids):
        words = source_words(sentence, self.pieces.tokenizer)
        if words is None:
            return text
        [alignment] = self.given.alignments([source], [ids])
        return replace_unknown(ids, alignment, words, self.pieces.tokenizer)

    def _add_details(self, results, sources, chosen, batch_size):
        """Give the hypotheses of the `chosen` sentences their tokens' log-probabilities."""
        places = [(index, rank) for index in chosen for rank in range(len(results[index]))]
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            targets = [[self.pieces.ids[name] for name in results[i][rank].tokens] for i, rank in some]
            logs = self.given.tokens([sources[i] for i, _ in some], targets)
            for (index, rank), row in zip(some, logs, strict=True):
                results[index][rank] = replace(results[index][rank], token_log_probabilities=tuple(row.tolist()))

    def _refuse_long(self, sentences, sources, limits):
        positions = self.graph.positions
        for number, (sentence, source, limit) in enumerate(zip(sentences, sources, limits, strict=True)):
            if positions is not None and max(len(source), limit) > positions:
                raise SentenceError(
                    number,
                    f"has {len(source) - 1} pieces; with its END, or in a translation of up to {limit} tokens, that "
                    f"is more than the model's {positions} learned positions: {sentence[:60]!r}.",
                )

    def _listed_prefixes(self, prefixes, sentences, limits):
        prefixes = listed(prefixes, batch_size=1, name="prefixes")
        if len(prefixes) != len(sentences):
            raise ValueError(
                f'prefixes must be as many as the sentences, "" for none: got {len(prefixes)} for {len(sentences)}.'
            )
        tokens = self.pieces.tokenizer.encode(prefixes, side="target") if prefixes else []
        for number, (ids, sentence, limit) in enumerate(zip(tokens, sentences, limits, strict=True)):
            if ids and not sentence.strip():
                raise ValueError(
                    f"sentence {number} is empty, and so is its translation: it cannot begin with {prefixes[number]!r}."
                )
            if UNK in ids:
                raise ValueError(
                    f"the prefix of sentence {number} has text the tokenizer has no piece for: {prefixes[number]!r}."
                )
            if len(ids) + 1 > limit:
                raise ValueError(
                    f"the prefix of sentence {number} has {len(ids)} pieces; with END that is more than the "
                    f"{limit} tokens its translation may have: {prefixes[number][:60]!r}."
                )
        return prefixes

    def refuse_long_pair(self, name, sentence, source, target):
        """Raise ValueError for a pair, of these ids, that has more tokens on a side than learned positions."""
        positions = self.graph.positions
        if positions is not None and max(len(source), len(target)) > positions:
            raise ValueError(
                f"{name} has {len(source)} and {len(target)} tokens, END counted; the model has {positions} learned "
                f"positions: {sentence[:60]!r}."
            )

    def score(self, sources, targets, batch_size, progress):
        """See `Translator.score`."""
        self.graph.refuse_changed()
        sources, targets = listed(sources, batch_size, name="sources"), listed(targets, batch_size, name="targets")
        if len(sources) != len(targets):
            raise ValueError(f"sources and targets must be of one length, got {len(sources)} and {len(targets)}.")
        source_ids, target_ids = self.pieces.source(sources), [self.pieces.target(target) for target in targets]
        for number, pair in enumerate(zip(source_ids, target_ids, strict=True)):
            self.refuse_long_pair(f"pair {number}", sources[number], *pair)
        lengths = [sum(map(len, pair)) for pair in zip(source_ids, target_ids, strict=True)]
        results = [None] * len(sources)
        with progress_bar("scoring", len(sources), progress) as advance:
            for chosen in by_length(lengths, batch_size):
                pairs = [source_ids[i] for i in chosen], [target_ids[i] for i in chosen]
                logs = self.given.tokens(*pairs)
                scores = self.given.scores(*pairs, logs, self.options)
                for index, row, score in zip(chosen, logs, scores, strict=True):
                    tokens = self.pieces.named(target_ids[index])
                    results[index] = Score(score, float(row.sum()), tokens, tuple(row.tolist()))
                    if not sources[index].strip():
                        results[index] = _score_for_nothing(targets[index], tokens)
                    if math.isnan(results[index].score):
                        raise ValueError(f"pair {index} got no score, {sources[index][:60]!r}: {NOT_FINITE}")
                advance(len(chosen))
        return results


def _score_for_nothing(target, tokens):
    """The `Score` of an empty sentence's translation: certain if it is empty too, otherwise impossible."""
    if (not target.strip()) if isinstance(target, str) else len(tokens) == 1:
        return Score(0.0, 0.0, (), ())
    return Score(-math.inf, -math.inf, tokens, (-math.inf,) * len(tokens))
