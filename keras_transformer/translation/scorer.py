"""Scores of translations that are given."""

import math

from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.kinds import SentenceError, check_iterable, check_text, read_sentences
from keras_transformer.translation.batches import by_length, progress_bar
from keras_transformer.translation.hypotheses import Score
from keras_transformer.translation.requests import check_batches, check_pair
from keras_transformer.translation.searcher import NOT_FINITE
from keras_transformer.translation.source_checks import check_codes, warn_of_decomposed
from keras_transformer.translation.word_alignment import word_links, words_of_pieces

PAIR = "pair {}"


class Scorer:
    """Scores of given translations.

    Args:
        graph: the `TranslationGraph` of the search whose scores these shall be.
        teacher_forcing: a `TeacherForcing` of the same models.
        pieces: the `Pieces` of their tokenizer.
    """

    def __init__(self, graph, teacher_forcing, pieces):
        self.graph, self.teacher_forcing, self.pieces = graph, teacher_forcing, pieces

    def score(self, sources, targets, batch_size, progress):
        """See `Translator.score`."""
        self.graph.check_unchanged()
        sources, targets, source_ids, target_ids = self._ids_of_pairs(sources, targets, batch_size)
        results, to_score = [None] * len(sources), []
        for number, (source, target, ids) in enumerate(zip(sources, targets, target_ids, strict=True)):
            if is_blank(source):
                results[number] = self._score_of_blank(target, ids)
            else:
                to_score.append(number)
        lengths = [len(source_ids[number]) + len(target_ids[number]) for number in to_score]
        with progress_bar("scoring", len(sources), progress, len(sources) - len(to_score)) as advance:
            for group in by_length(lengths, batch_size):
                numbers = [to_score[i] for i in group]
                scores = self._scores([source_ids[i] for i in numbers], [target_ids[i] for i in numbers])
                for number, score in zip(numbers, scores, strict=True):
                    if math.isnan(score.score):
                        raise SentenceError(number, f"got no score, {sources[number][:60]!r}: {NOT_FINITE}", PAIR)
                    results[number] = score
                advance(len(numbers))
        return results

    def _ids_of_pairs(self, sources, targets, batch_size):
        """Both lists, checked, and the ids of both, closed by END."""
        check_batches(batch_size)
        sources, targets = read_sentences("sources", sources), _read_translations(targets)
        if len(sources) != len(targets):
            raise ValueError(f"sources and targets must be of one length, got {len(sources)} and {len(targets)}.")
        check_codes(sources, self.pieces.codes)
        source_ids, target_ids = self.pieces.sources(sources), self.pieces.targets(targets)
        warn_of_decomposed(sources, source_ids, self.pieces)
        for number, pair in enumerate(zip(source_ids, target_ids, strict=True)):
            check_pair(sources[number], *pair, self.graph.positions, number, PAIR)
        return sources, targets, source_ids, target_ids

    def align_words(self, sources, targets, batch_size):
        """See `Translator.align_words`."""
        sources, targets, source_ids, target_ids = self._ids_of_pairs(sources, targets, batch_size)
        links = [[] for _ in sources]
        lengths = [len(source) + len(target) for source, target in zip(source_ids, target_ids, strict=True)]
        for group in by_length(lengths, batch_size):
            pairs = [(source_ids[number], target_ids[number]) for number in group]
            arrays = self.teacher_forcing.alignments(*map(list, zip(*pairs, strict=True)))
            for number, (source, target), weights in zip(group, pairs, arrays, strict=True):
                words = [
                    words_of_pieces(ids[:-1], tokenizer)
                    for ids, tokenizer in ((source, self.pieces.source), (target, self.pieces.target))
                ]
                links[number] = word_links(weights[:-1, :-1], *words, len(sources[number].split()))
        return links

    def _scores(self, sources, targets):
        """The `Score`s of one batch of ids."""
        rows = self.teacher_forcing.log_probabilities(sources, targets)
        scores = self.teacher_forcing.scores(sources, targets, rows, self.graph.options)
        return [
            Score(score, float(row.sum()), self.pieces.names_of(ids), tuple(row.tolist()))
            for score, row, ids in zip(scores, rows, targets, strict=True)
        ]

    def _score_of_blank(self, target, ids):
        """The `Score` of a blank sentence's translation: it is certain if it is blank too, and impossible otherwise."""
        if is_blank(target) if isinstance(target, str) else len(ids) == 1:
            return Score(0.0, 0.0, (), ())
        return Score(-math.inf, -math.inf, self.pieces.names_of(ids), (-math.inf,) * len(ids))


def _read_translations(targets):
    """The list of translations, each a string or a list of the names of its pieces.

    Raises:
        TypeError: something else. The message names the place.
    """
    check_iterable("targets", targets)
    targets = list(targets)
    for number, target in enumerate(targets):
        check_translation(f"targets[{number}]", target)
    return targets


def check_translation(name, target):
    """Raise TypeError if a translation is neither a string nor a list of the names of its pieces."""
    if isinstance(target, list | tuple):
        for place, piece in enumerate(target):
            check_text(f"{name}[{place}]", piece)
    else:
        check_text(name, target)
