"""Sentences in, translations out: trained models with their tokenizer."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self, Unpack

from keras_transformer.decoding.sampling import SamplingOptions, check_sampling
from keras_transformer.files import MODEL_FILE, written_beside
from keras_transformer.inputs.kinds import Texts, read_sentences
from keras_transformer.inputs.numbers import real, whole
from keras_transformer.inputs.options import check_arguments, check_options, refuses_unknown
from keras_transformer.inputs.paths import AnyPath
from keras_transformer.inputs.tokenizers import TOKENIZER_FILES, save_tokenizer
from keras_transformer.model import Transformer
from keras_transformer.text import Tokenizer, TokenizerPair
from keras_transformer.translation.batches import WORKERS, Batches
from keras_transformer.translation.given_pairs import GivenPairs
from keras_transformer.translation.graph import TranslationGraph
from keras_transformer.translation.hypotheses import Hypothesis, Score
from keras_transformer.translation.loading import load_model, load_tokenizer, training_folders
from keras_transformer.translation.options import AllOptions, MoreOptions, SearchOptions
from keras_transformer.translation.pieces import Pieces
from keras_transformer.translation.requests import check_backend, check_models, check_vocabulary
from keras_transformer.translation.scorer import Scorer
from keras_transformer.translation.searcher import Searcher
from keras_transformer.translation.sentences import translated_by_sentence, warn_of_lost_sentences
from keras_transformer.translation.teacher_forcing import TeacherForcing
from keras_transformer.translation.whole_file import translate_file

__all__ = ["Hypothesis", "Score", "Translator", "load_model"]

OPTIONS = [field.name for field in fields(SearchOptions)]


class Translator(GivenPairs):
    """Translates sentences with beam search, as in section 6.1 of the paper.

    The translation of a blank sentence, without a visible character, is empty and has score 0. A translator can be
    pickled and copied. It does not work in a process that was forked after TensorFlow was used.

    Args:
        model: a `Transformer`, or a list of them: an ensemble. The next-token probabilities of an ensemble are the
            mean of its members' probabilities.
        tokenizer: the `Tokenizer`, or the `TokenizerPair`, that they were trained with.
        beam_size, length_penalty, max_extra_length, **more: see `SearchOptions`.

    Attributes:
        model, models: the first model, and all.
        tokenizer, options: the `Tokenizer` or `TokenizerPair`, and the `SearchOptions`.
        folder: the folder that one model was loaded from, else None.
        graph: the `TranslationGraph`, for an export.

    Raises:
        ValueError: a tokenizer of another size than a model's vocabulary, or an option out of range.
        TypeError: an unknown option (the message has the nearest name), or an argument of another type.
        RuntimeError: another backend of Keras than TensorFlow, or a forked process.

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

    _graph_class = TranslationGraph

    def __init__(
        self,
        model: Transformer | Sequence[Transformer],
        tokenizer: Tokenizer | TokenizerPair,
        beam_size: int = 4,
        length_penalty: float = 0.6,
        max_extra_length: int = 50,
        **more: Unpack[MoreOptions],
    ) -> None:
        check_backend()
        check_options(more, OPTIONS, "Translator")
        self.models = tuple(model) if isinstance(model, (list, tuple)) else (model,)
        if not self.models:
            raise ValueError("model is an empty list. Give a Transformer, or a list of at least one.")
        check_models(self.models, tokenizer)
        self.model, self.tokenizer = self.models[0], tokenizer
        self.options = SearchOptions(beam_size, length_penalty, max_extra_length, **more)
        check_vocabulary(self.models, tokenizer, self.options)
        self.folder = None
        self._pieces = Pieces(tokenizer)
        self._teacher_forcing = TeacherForcing(self.models)
        self.graph = self._graph_class(self.models, tokenizer, self.options)
        self._searcher = Searcher(self.graph, self._teacher_forcing, self._pieces)
        self._scorer = Scorer(self.graph, self._teacher_forcing, self._pieces)

    def __reduce__(self):
        return _remade, (type(self), self.models, self.tokenizer, self.options.as_keywords(), self.folder)

    def with_models(self, models: Transformer | Sequence[Transformer]) -> Self:
        """A translator with the same tokenizer and options over other models, a `Transformer` or a list of them.

        Example:
            ```python
            from pathlib import Path
            from keras_transformer import Tokenizer, Transformer, Translator

            Path("text").write_text("one two three four five six")
            models = [Transformer.from_preset("quickstart", vocabulary_size=280) for _ in range(2)]  # not trained
            one = Translator(models[0], Tokenizer.train("text", vocabulary_size=280))
            assert one.with_models(models).models == tuple(models)
            ```
        """
        return _remade(type(self), models, self.tokenizer, self.options.as_keywords(), None)

    @property
    def beam_size(self) -> int:
        return self.options.beam_size

    @property
    def length_penalty(self) -> float:
        return self.options.length_penalty

    @property
    def max_extra_length(self) -> int:
        return self.options.max_extra_length

    @refuses_unknown(constructor=OPTIONS)
    def __call__(
        self,
        sentences: Texts,
        prefixes: Texts | None = None,
        batch_size: int = 64,
        progress: bool = False,
        workers: int = WORKERS,
        split_sentences: bool = False,
    ) -> list[str]:
        """Translate a list of strings. The result has the same order.

        Args:
            sentences: a list of strings.
            prefixes: a list of as many strings. Each translation begins with its prefix; "" is no prefix.
            batch_size: the most sentences decoded at a time.
            progress: show a progress bar on standard error, if that is a terminal.
            workers: batches decoded at the same time. Each needs the memory of a batch.
            split_sentences: translate each sentence of a string by itself, and join the translations with spaces.
                Without it, a warning is logged if translations have fewer sentences than their sources.

        Returns:
            A list of strings, one for each string.

        Raises:
            ValueError: a prefix that leaves no room for END, or has unknown pieces, or is for an empty sentence; a
                sentence longer than learned positions, or with an unknown `>>code<<` of a target language; a model
                whose probabilities are not finite; prefixes together with `split_sentences`.
            TypeError: an argument is of another kind. The message gives the place of a sentence that is no string.
        """
        batches, texts = Batches(batch_size, progress, workers), read_sentences("sentences", sentences)

        def translate(texts):
            return [hypothesis.text for [hypothesis] in self._searcher.search(texts, prefixes, batches, 1)]

        if not split_sentences:
            translations = translate(texts)
            warn_of_lost_sentences(texts, translations)
            return translations
        if prefixes is not None:
            raise ValueError("prefixes and split_sentences=True cannot go together: give each sentence its own prefix.")
        return translated_by_sentence(translate, texts)

    @refuses_unknown(constructor=OPTIONS)
    def n_best(
        self,
        sentences: Texts,
        n: int | None = None,
        prefixes: Texts | None = None,
        batch_size: int = 64,
        progress: bool = False,
        details: bool = False,
        workers: int = WORKERS,
    ) -> list[list[Hypothesis]]:
        """The `n` best translations of each sentence, best first, as lists of `Hypothesis`.

        The texts are different: where different pieces make the same text, only the best of these hypotheses is given,
        here as in an export. A sentence gets fewer than `n` if the search reached fewer texts.

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
        n = self.beam_size if n is None else whole("n", n, 0)
        if not 1 <= n <= self.beam_size:
            raise ValueError(f"n must be between 1 and beam_size={self.beam_size}, got {n}.")
        texts = read_sentences("sentences", sentences)
        return self._searcher.search(texts, prefixes, Batches(batch_size, progress, workers), n, details)

    def sample(
        self,
        sentences: Texts,
        n: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        prefixes: Texts | None = None,
        batch_size: int = 64,
        **more: Any,
    ) -> list[list[Hypothesis]]:
        """`n` translations of each sentence, drawn by chance, as lists of `Hypothesis` in the order drawn.

        The draws depend on the seed and on the sentence's place in the list, and not on the batches. The
        log-probabilities are the models' own, whatever the temperature.

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
        n, seed, texts = whole("n", n), whole("seed", seed, 0), read_sentences("sentences", sentences)
        check_options(more, ("progress", "workers"), "sample")
        sampling = SamplingOptions(real("temperature", temperature), whole("top_k", top_k, 0), real("top_p", top_p))
        check_sampling(sampling)
        return self._searcher.sample(texts, prefixes, Batches(batch_size, **more), n, sampling, seed)

    def translate_file(
        self,
        source_path: AnyPath,
        target_path: AnyPath,
        batch_size: int = 64,
        window: int = 2000,
        overwrite: bool = False,
        **more: Any,
    ) -> None:
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
        check_options(more, ("progress", "split_sentences", "references_path"), "translate_file")
        translate_file(self, source_path, target_path, batch_size, window, overwrite, **more)

    def save(self, folder: AnyPath, overwrite: bool = False) -> None:
        """Write `model.keras` and the tokenizer's file, or the two of a `TokenizerPair`, into a new folder.

        Raises:
            FileExistsError: the folder exists and `overwrite` is False, or it holds other files too.
            ValueError: an ensemble. Save each member in a folder of its own.
        """
        if len(self.models) > 1:
            raise ValueError(
                f"a folder holds one model, and this translator has {len(self.models)}. Save each in its own folder."
            )
        with written_beside(folder, overwrite, {MODEL_FILE, *TOKENIZER_FILES}, argument="folder") as beside:
            beside.mkdir()
            self.model.save(beside / MODEL_FILE)
            save_tokenizer(self.tokenizer, beside)

    @classmethod
    def load(cls, folder: AnyPath | Sequence[AnyPath], dtype: Any = None, **options: Unpack[AllOptions]) -> Self:
        """Read a folder that `save` or training wrote, or several: an ensemble.

        Args:
            folder: holds `model.keras` and `tokenizer.model`, or `source_tokenizer.model` and
                `target_tokenizer.model`; a list of them for an ensemble. In place of a path, "hf://user/model" or
                "hf://user/model@revision" downloads the folder from Hugging Face, and
                "kaggle://user/model/framework/variation" from Kaggle.
            dtype: the Keras dtype policy to translate under, by default the trained one, such as "float32" or
                "int8_from_float32" for products in 8-bit integers, see `Transformer.quantize`.
            **options: the constructor's: `beam_size` and so on.

        Raises:
            OSError: no such folder, or one of its files is missing. The message says what is there instead. Or the
                download failed.
            ImportError: the package that downloads is not installed.
            ValueError: a file that is no such model or tokenizer, or tokenizers that differ; a `dtype` that is no
                policy for a model; an empty list; an address of another form.
            RuntimeError: another backend of Keras than TensorFlow; 8-bit integers on a machine that cannot add them up
                exactly.
        """
        check_backend()
        check_options(options, OPTIONS, "Translator.load")
        folders = training_folders(folder)
        models = [load_model(path / MODEL_FILE, dtype) for path in folders]
        return _remade(cls, models, load_tokenizer(folders), options, folders[0] if len(folders) == 1 else None)

    def export(self, path: AnyPath, overwrite: bool = False, **options: Any) -> None:
        """Write a SavedModel that takes strings and gives strings; see `keras_transformer.export`.

        Args:
            path, overwrite, **options: see `keras_transformer.export.export`.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
            ValueError: `replace_unknown`, which no exported graph does; and what `keras_transformer.export` raises.
        """
        from keras_transformer.export.write import export

        check_arguments(export, options, "export", without=("translator", "path", "overwrite"))
        if self.options.replace_unknown:
            raise ValueError("replace_unknown=True is not possible in an export: build the Translator without it.")
        export(self, path, overwrite, **options)


def _remade(cls, models, tokenizer, options, folder):
    """A `Translator` with the folder that its model was loaded from, or None."""
    translator = cls(models, tokenizer, **options)
    translator.folder = folder
    return translator
