"""Scores of translations that are given."""

import math

from keras_transformer.translation.batches import by_length, progress_bar
from keras_transformer.translation.hypotheses import Score
from keras_transformer.translation.requests import check_pair, check_sentences, is_blank
from keras_transformer.translation.searcher import NOT_FINITE


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
        sources = check_sentences(sources, batch_size, name="sources")
        targets = check_sentences(targets, batch_size, name="targets")
        if len(sources) != len(targets):
            raise ValueError(f"sources and targets must be of one length, got {len(sources)} and {len(targets)}.")
        source_ids, target_ids = self.pieces.sources(sources), self.pieces.targets(targets)
        for number, pair in enumerate(zip(source_ids, target_ids, strict=True)):
            check_pair(f"pair {number}", sources[number], *pair, self.graph.positions)
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
                        raise ValueError(f"pair {number} got no score, {sources[number][:60]!r}: {NOT_FINITE}")
                    results[number] = score
                advance(len(numbers))
        return results

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
