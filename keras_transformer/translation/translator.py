"""Sentences in, translations out: trained models with their tokenizer."""

import keras
import numpy as np

from keras_transformer.decoding.sampling import SamplingOptions, check_sampling
from keras_transformer.files import MODEL_FILE, TOKENIZER_FILE, written_beside
from keras_transformer.ids import START
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.translation.batches import WORKERS, Batches
from keras_transformer.translation.graph import TranslationGraph
from keras_transformer.translation.hypotheses import Hypothesis, Score
from keras_transformer.translation.loading import load_model, one_tokenizer, training_folders
from keras_transformer.translation.options import SearchOptions
from keras_transformer.translation.pieces import Pieces
from keras_transformer.translation.requests import check_backend, check_pair, check_vocabulary
from keras_transformer.translation.scorer import Scorer
from keras_transformer.translation.searcher import Searcher
from keras_transformer.translation.teacher_forcing import TeacherForcing, teacher_forced
from keras_transformer.translation.whole_file import translate_file

__all__ = ["Hypothesis", "Score", "Translator", "load_model"]


class Translator:
    """Translates sentences with beam search, as in section 6.1 of the paper.

    The translation of a sentence that is empty, or white space only, is empty and has score 0.

    Args:
        model: a `Transformer`, or a list of them: an ensemble. The next-token probabilities of an ensemble are the
            mean of its members' probabilities.
        tokenizer: the `Tokenizer` that they were trained with.
        beam_size, length_penalty, max_extra_length, **more: see `SearchOptions`.

    Attributes:
        model, models: the first model, and all.
        tokenizer, options: the `Tokenizer` and the `SearchOptions`.
        folder: the folder that one model was loaded from, else None.
        graph: the `TranslationGraph`, for an export.

    Raises:
        ValueError: a tokenizer of another size than a model's vocabulary, or an option out of range.
        TypeError: an unknown option, or one of another type.
        RuntimeError: another backend of Keras than TensorFlow.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, Transformer, Translator

        Path("text").write_text("one two three four five six")
        tokenizer = Tokenizer.train("text", vocabulary_size=280)
        model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
        translator = Translator(model, tokenizer, beam_size=2, max_extra_length=5)
        print(translator(["one two", "three"]))
        ```
    """

    def __init__(self, model, tokenizer, beam_size=4, length_penalty=0.6, max_extra_length=50, **more):
        check_backend()
        self.models = tuple(model) if isinstance(model, (list, tuple)) else (model,)
        if not self.models:
            raise ValueError("model is an empty list. Give a Transformer, or a list of at least one.")
        self.model, self.tokenizer = self.models[0], tokenizer
        self.options = SearchOptions(beam_size, length_penalty, max_extra_length, **more)
        check_vocabulary(self.models, tokenizer, beam_size)
        self.folder = None
        self._pieces = Pieces(tokenizer)
        self._teacher_forcing = TeacherForcing(self.models)
        self.graph = TranslationGraph(self.models, tokenizer, self.options)
        self._searcher = Searcher(self.graph, self._teacher_forcing, self._pieces)
        self._scorer = Scorer(self.graph, self._teacher_forcing, self._pieces)

    @property
    def beam_size(self):
        return self.options.beam_size

    @property
    def length_penalty(self):
        return self.options.length_penalty

    @property
    def max_extra_length(self):
        return self.options.max_extra_length

    def __call__(self, sentences, prefixes=None, batch_size=64, progress=False, workers=WORKERS):
        """Translate a list of strings. The result has the same order.

        Args:
            sentences: a list of strings.
            prefixes: a list of as many strings. Each translation begins with its prefix; "" is no prefix.
            batch_size: the most sentences decoded at a time.
            progress: show a progress bar on standard error, if that is a terminal.
            workers: batches decoded at the same time. Each needs the memory of a batch.

        Returns:
            A list of strings.

        Raises:
            ValueError: a prefix that leaves no room for END, or has unknown pieces, or is for an empty sentence; a
                sentence longer than learned positions; a model whose probabilities are not finite.
        """
        best = self._searcher.search(sentences, prefixes, Batches(batch_size, progress, workers), 1)
        return [hypothesis.text for [hypothesis] in best]

    def n_best(self, sentences, n=None, prefixes=None, batch_size=64, progress=False, details=False, workers=WORKERS):
        """The `n` best translations of each sentence, best first, as lists of `Hypothesis`.

        A sentence gets fewer if the search reached fewer.

        Args:
            n: at most the beam size, which is the default.
            details: give `token_log_probabilities` too. This takes one more pass of the models.
            The others: as in a call.

        Raises:
            ValueError: `n` larger than the beam size, and as in a call.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            tokenizer = Tokenizer.train("text", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            for hypothesis in Translator(model, tokenizer, max_extra_length=5).n_best(["one two"], 3)[0]:
                print(hypothesis.score, hypothesis.finished, hypothesis.tokens)
            ```
        """
        n = self.beam_size if n is None else n
        if not 1 <= n <= self.beam_size:
            raise ValueError(f"n must be between 1 and beam_size={self.beam_size}, got {n}.")
        return self._searcher.search(sentences, prefixes, Batches(batch_size, progress, workers), n, details)

    def sample(self, sentences, n=1, temperature=1.0, top_k=0, top_p=1.0, seed=0, prefixes=None, batch_size=64, **more):
        """`n` translations of each sentence, drawn by chance, as lists of `Hypothesis` in the order drawn.

        The draws depend on the seed and on the sentence's place in the list, and not on the batches.
        The log-probabilities are the models' own, whatever the temperature.

        Args:
            temperature: logits are divided by it; above 0.
            top_k: draw among the k likeliest tokens; 0 is all.
            top_p: draw among the likeliest tokens that reach this probability together.
            seed: an int, at least 0.
            prefixes, batch_size, **more: as in a call; `progress` and `workers` too.

        Raises:
            ValueError: an argument out of range, and as in a call.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            tokenizer = Tokenizer.train("text", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            for hypothesis in Translator(model, tokenizer, max_extra_length=5).sample(["one two"], n=3, seed=1)[0]:
                print(hypothesis.log_probability, hypothesis.tokens)
            ```
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}.")
        sampling = SamplingOptions(float(temperature), top_k, float(top_p))
        check_sampling(sampling)
        return self._searcher.sample(sentences, prefixes, Batches(batch_size, **more), n, sampling, seed)

    def score(self, sources, targets, batch_size=64, progress=False):
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

    def attention(self, sentence, translation):
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
        return self.tokenizer.pieces(source), self.tokenizer.pieces(target), arrays

    def alignment(self, sentence, translation):
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
        return self.tokenizer.pieces(source), self.tokenizer.pieces(target), array

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
        [source], [target] = self._pieces.sources([sentence]), self._pieces.targets([translation])
        check_pair("the pair", sentence, source, target, self.graph.positions)
        return source, target

    def translate_file(self, source_path, target_path, batch_size=64, window=2000, overwrite=False, progress=True):
        """Translate a file line by line, and resume after a break; see `keras_transformer.translation.whole_file`.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("source.txt").write_text("one two three four five six")
            tokenizer = Tokenizer.train("source.txt", vocabulary_size=280)
            model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
            Translator(model, tokenizer, max_extra_length=5).translate_file("source.txt", "target.txt")
            ```
        """
        translate_file(self, source_path, target_path, batch_size, window, overwrite, progress)

    def save(self, folder, overwrite=False):
        """Write `model.keras` and the tokenizer's file into a new folder.

        Raises:
            FileExistsError: the folder exists and `overwrite` is False, or it holds other files too.
            ValueError: an ensemble. Save each member in a folder of its own.
        """
        if len(self.models) > 1:
            raise ValueError(
                f"a folder holds one model, and this translator has {len(self.models)}. Save each in its own folder."
            )
        with written_beside(folder, overwrite, {MODEL_FILE, TOKENIZER_FILE}, argument="folder") as beside:
            beside.mkdir()
            self.model.save(beside / MODEL_FILE)
            self.tokenizer.save(beside / TOKENIZER_FILE)

    @classmethod
    def load(cls, folder, dtype=None, **options):
        """Read a folder that `save` or training wrote, or several: an ensemble.

        Args:
            folder: holds `model.keras` and `tokenizer.model`; a list of them for an ensemble.
            dtype: the Keras dtype policy to translate under, such as "float32" after training in
                "mixed_bfloat16", or "int8_from_float32" for products in 8-bit integers, see
                `Transformer.quantize`. Default: the trained one.
            **options: the constructor's: `beam_size` and so on.

        Raises:
            OSError: no such folder, or one of the two files is missing. The message says what is there instead.
            ValueError: a file that is no such model or tokenizer, or tokenizers that differ; a `dtype` that is no
                policy for a model; an empty list.
            RuntimeError: another backend of Keras than TensorFlow; 8-bit integers on a machine that cannot add them up
                exactly.
        """
        check_backend()
        folders = training_folders(folder)
        models = [load_model(path / MODEL_FILE, dtype) for path in folders]
        translator = cls(models, Tokenizer.load(one_tokenizer(folders)), **options)
        translator.folder = folders[0] if len(folders) == 1 else None
        return translator

    def export(self, path, overwrite=False, **options):
        """Write a SavedModel that takes strings and gives strings; see `keras_transformer.export`.

        Args:
            path, overwrite, **options: see `keras_transformer.export.export`.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
            ValueError: `replace_unknown`, which no exported graph does; and what `keras_transformer.export` raises.
        """
        from keras_transformer.export.write import export

        if self.options.replace_unknown:
            raise ValueError("replace_unknown=True is not possible in an export: build the Translator without it.")
        export(self, path, overwrite, **options)
