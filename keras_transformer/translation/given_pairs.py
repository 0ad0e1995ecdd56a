"""Scores and attention of sentences with given translations."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_transformer.ids import START
from keras_transformer.inputs.kinds import Texts, check_text
from keras_transformer.translation.hypotheses import Score
from keras_transformer.translation.requests import check_pair
from keras_transformer.translation.scorer import check_translation
from keras_transformer.translation.teacher_forcing import teacher_forced


class GivenPairs:
    """The methods of a `Translator` that take translations instead of searching for them."""

    def score(
        self, sources: Texts, targets: Texts | Sequence[Texts], batch_size: int = 64, progress: bool = False
    ) -> list[Score]:
        """The models' scores of given translations: a list of `Score`.

        The score has the length and coverage penalties of the search. So the tokens of a finished hypothesis get the
        score that the search gave them. The empty translation of an empty sentence is certain: its score is 0. Any
        other translation of an empty sentence has score -inf.

        Args:
            sources: a list of strings.
            targets: the translation of each: a string, or a list of pieces, such as a hypothesis' `tokens`. The
                tokenizer may cut a hypothesis' text into other pieces than the search did.
            batch_size, progress: as in a call.

        Returns:
            `Score`s in the order given.

        Raises:
            ValueError: lists of different length, an unknown piece name, or a pair longer than learned positions; a
                model whose probabilities are not finite.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            tokenizer = Tokenizer.train("text", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            [score] = Translator(model, tokenizer).score(["one two"], ["six five"])
            print(score.score, list(zip(score.tokens, score.token_log_probabilities)))
            ```
        """
        return self._scorer.score(sources, targets, batch_size, progress)

    def attention(
        self, sentence: str, translation: str | Sequence[str]
    ) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
        """The attention of every head of the first model for a sentence and its translation, for plots.

        Args:
            sentence: a string.
            translation: a string, or a list of pieces, such as a hypothesis' `tokens`.

        Returns:
            The source's pieces and END (S), the target's pieces and END (T) as labels, and a dictionary
            of float32 arrays: "encoder" (N, H, S, S), "decoder" (N, H, T, T), "cross" (N, H, T, S). Row t
            is the step that predicts target label t.

        Raises:
            ValueError: an unknown piece name, or a pair longer than the learned positions of any of the models.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            tokenizer = Tokenizer.train("text", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            source, target, weights = Translator(model, tokenizer).attention("one two", "six five")
            print(source, target, weights["cross"].shape)
            ```
        """
        source, target = self._ids_of_pair(sentence, translation)
        weights = self.model.attention_weights(np.array([source]), np.array([[START, *target[:-1]]]))
        arrays = {name: keras.ops.convert_to_numpy(array)[:, 0] for name, array in weights.items()}
        return self._pieces.source.pieces(source), self._pieces.target.pieces(target), arrays

    def alignment(self, sentence: str, translation: str | Sequence[str]) -> tuple[list[str], list[str], np.ndarray]:
        """The attention of each token of a translation to the source: the mean over the last layer's heads and models.

        Args:
            sentence, translation: as in `attention`.

        Returns:
            The source's labels (S) and the target's (T), as `attention` gives them, and float32 (T, S).

        Raises:
            ValueError: as in `attention`.
        """
        self.graph.check_unchanged()
        source, target = self._ids_of_pair(sentence, translation)
        [array] = self._teacher_forcing.alignments([source], [target])
        return self._pieces.source.pieces(source), self._pieces.target.pieces(target), array

    def align_words(self, sentences: Texts, translations: Texts | Sequence[Texts], batch_size: int = 64) -> list[Any]:
        """The source word of each word of given translations: the one that it attends to most.

        Words are what white space separates. The attention is that of `alignment`. Attention says where the model
        looked. It is no exact word alignment.

        Args:
            sentences: a list of strings.
            translations: as many, each a string or a list of pieces, such as a hypothesis' `tokens`.
            batch_size: pairs computed at a time.

        Returns:
            A list for each pair: (source word, target word), counted from 0, in the order of the translation.

        Raises:
            TypeError, ValueError: as in `score`.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            tokenizer = Tokenizer.train("text", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            print(Translator(model, tokenizer).align_words(["one two"], ["six five"]))
            ```
        """
        self.graph.check_unchanged()
        return self._scorer.align_words(sentences, translations, batch_size)

    def log_probabilities_and_attention(self, source, labels):
        """Score given translations in TensorFlow ops. The graph of an export calls this.

        Args:
            source: the ids of the sentences (B, S) with END, padded.
            labels: the ids of the translations (B, T), padded.

        Returns:
            log P of each token, (B, T) float32, 0 at padding. The attention of each token to the source, (B, T, S)
            float32, averaged over the heads of the last layer and over the models.
        """
        return teacher_forced(self.models, source, labels)

    def _ids_of_pair(self, sentence, translation):
        """The ids of both, closed by END, if the models have positions for them."""
        check_text("sentence", sentence)
        check_translation("translation", translation)
        [source], [target] = self._pieces.sources([sentence]), self._pieces.targets([translation])
        check_pair(sentence, source, target, self.graph.positions)
        return source, target
