"""Search and sampling for lists of sentences of any length."""

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_transformer.decoding.hypotheses import LOWEST_SCORE
from keras_transformer.ids import PAD, UNK
from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.kinds import SentenceError, read_texts
from keras_transformer.translation.batches import at_the_same_time, by_length, progress_bar
from keras_transformer.translation.hypotheses import EMPTY, Hypothesis
from keras_transformer.translation.pieces import pad_rows
from keras_transformer.translation.requests import Request, check_batches, read_requests
from keras_transformer.translation.unknown import replace_unknown, source_words

logger = logging.getLogger("keras_transformer")

COLUMNS = ("ids", "texts", "scores", "log_probabilities", "finished")  # the outputs of `TranslationGraph.run`
NOT_FINITE = "the model's probabilities are not finite. Was its training stopped by NaN?"
NOTHING_ALLOWED = "the constraint allows nothing that ends within the limit, or the model gives NaN"


class SearchResult(NamedTuple):
    """One hypothesis of a search. Its ids have no names yet."""

    request: Request
    ids: list  # without padding
    text: str
    score: float
    log_probability: float
    finished: bool


class Searcher:
    """Searches and samples translations.

    Args:
        graph: a `TranslationGraph`.
        teacher_forcing: a `TeacherForcing` of the same models.
        pieces: the `Pieces` of their tokenizer.
    """

    def __init__(self, graph, teacher_forcing, pieces):
        self.graph, self.teacher_forcing, self.pieces = graph, teacher_forcing, pieces
        self.options = graph.options

    def search(self, sentences, prefixes, batches, n, details=False):
        """The `n` best translations of each sentence, or fewer if the search reached fewer different texts.

        Different pieces can make the same text. Of such hypotheses only the best counts.

        Args:
            sentences, prefixes: lists of strings; `prefixes` may be None.
            batches: `Batches`.
            details: give the tokens' log-probabilities.

        Returns:
            A list of `Hypothesis` for each sentence.
        """
        # For several, search for all: some may have equal texts. A tensor, so that one graph serves every n.
        inputs = {"num_results": tf.constant(n if n == 1 else self.options.beam_size, tf.int32)}
        return self._translate(sentences, prefixes, batches, lambda batch: inputs, details=details, most=n)

    def sample(self, sentences, prefixes, batches, n, sampling, seed):
        """`n` translations of each sentence, drawn with `SamplingOptions`; see `search`.

        The random numbers of a sentence depend only on the seed and on its place in the list.
        """
        inputs = {"temperature": tf.constant(sampling.temperature)}  # tensors, so that one graph serves every value
        if sampling.top_p < 1:
            inputs["top_p"] = tf.constant(sampling.top_p)

        def inputs_of(batch):
            numbers = np.zeros((len(batch), n, max(request.limit for request in batch)), np.float32)
            for row, request in zip(numbers, batch, strict=True):
                generator = np.random.default_rng([seed, request.number])
                row[:, : request.limit] = generator.random((n, request.limit), np.float32)
            return {**inputs, "random_numbers": tf.constant(numbers)}

        return self._translate(sentences, prefixes, batches, inputs_of, sampling.top_k, num_empty=n)

    def _translate(self, sentences, prefixes, batches, inputs_of, top_k=0, num_empty=1, details=False, most=None):
        """Lists of `Hypothesis`, in the order of the sentences.

        Args:
            inputs_of: a function from a list of `Request` to further inputs of `TranslationGraph.run`.
            top_k: of `TranslationGraph.run`.
            num_empty: how many empty translations a blank sentence gets.
            most: how many hypotheses of different texts each sentence gets at most. None keeps all, equal texts too.
        """
        self.graph.check_unchanged()
        check_batches(batches.size, batches.workers)
        sentences = read_texts("sentences", sentences)
        requests = read_requests(sentences, prefixes, self.pieces, self.options, self.graph.positions)
        empty = replace(EMPTY, token_log_probabilities=() if details else None)
        hypotheses = [[empty] * num_empty if is_blank(sentence) else [] for sentence in sentences]
        to_search = [request for request in requests if not is_blank(request.sentence)]
        without_words, done = [], len(requests) - len(to_search)
        with progress_bar("translating", len(requests), batches.progress, done) as advance:
            for batch, outputs in self._run(to_search, batches, inputs_of, top_k):
                results = self._read(batch, outputs)
                if self.options.replace_unknown:
                    results = [self._replace_unknown(result, without_words) for result in results]
                results = results if most is None else best_of_each_text(results, most)
                logs = self._log_probabilities(results, batches.size) if details else [None] * len(results)
                for (request, ids, *columns), row in zip(results, logs, strict=True):
                    hypotheses[request.number].append(Hypothesis(*columns, self.pieces.names_of(ids), row))
                advance(len(batch))
        if without_words:
            logger.warning(
                "replace_unknown left the unknown pieces of %d translations in place: the pieces of their sentences "
                "cannot be assigned to words. One of these sentences: %r",
                len(without_words),
                without_words[0],
            )
        return hypotheses

    def _run(self, requests, batches, inputs_of, top_k):
        """Yield batches of requests of similar length, each with the outputs of `TranslationGraph.run`, as arrays."""
        weights, with_prefix = self.graph.weights(), any(request.prefix for request in requests)

        def run(batch):
            inputs = {"source": tf.constant(pad_rows([request.source for request in batch])), "weights": weights}
            if with_prefix:
                inputs["prefix"] = tf.constant(pad_rows([request.prefix for request in batch]))
            outputs = self.graph.run({**inputs, **inputs_of(batch)}, top_k)
            return {name: tensor.numpy() for name, tensor in outputs.items()}

        groups = by_length([len(request.source) for request in requests], batches.size, batches.workers)
        return at_the_same_time(run, ([requests[i] for i in group] for group in groups), batches.workers)

    def _read(self, batch, outputs):
        """The `SearchResult`s of a batch of requests, in order.

        Raises:
            SentenceError: a sentence that the search has no hypothesis for.
        """
        results = []
        rows = zip(*(outputs[name] for name in COLUMNS), strict=True)
        for request, columns in zip(batch, rows, strict=True):
            hypotheses = [row for row in zip(*columns, strict=True) if row[COLUMNS.index("scores")] > LOWEST_SCORE]
            if not hypotheses:
                why = NOT_FINITE if self.options.constraint is None else NOTHING_ALLOWED
                raise SentenceError(request.number, f"got no translation, {request.sentence[:60]!r}: {why}")
            for ids, text, score, log_probability, finished in hypotheses:
                ids = ids[ids != PAD].tolist()
                results.append(
                    SearchResult(request, ids, text.decode(), float(score), float(log_probability), bool(finished))
                )
        return results

    def _replace_unknown(self, result, without_words):
        """The result with source words in the place of unknown pieces.

        Args:
            without_words: a list, to which the sentence is added if its pieces cannot be assigned to words.
        """
        if UNK not in result.ids:
            return result
        sentence, source = result.request.sentence, result.request.source
        words = source_words(sentence, source[:-1], self.pieces.tokenizer)
        if words is None:
            without_words.append(sentence)
            return result
        [alignment] = self.teacher_forcing.alignments([source], [result.ids])
        return result._replace(text=replace_unknown(result.ids, alignment, words, self.pieces.tokenizer))

    def _log_probabilities(self, results, batch_size):
        """The log-probabilities of each result's tokens: a list of tuples of float."""
        rows = []
        for start in range(0, len(results), batch_size):
            chunk = results[start : start + batch_size]
            sources, targets = [result.request.source for result in chunk], [result.ids for result in chunk]
            rows += [tuple(row.tolist()) for row in self.teacher_forcing.log_probabilities(sources, targets)]
        return rows


def best_of_each_text(results, most):
    """The first `most` `SearchResult`s of each request, without those whose text came before, in the order given."""
    kept, texts = [], {}
    for result in results:
        seen = texts.setdefault(result.request.number, set())
        if result.text not in seen and len(seen) < most:
            seen.add(result.text)
            kept.append(result)
    return kept
