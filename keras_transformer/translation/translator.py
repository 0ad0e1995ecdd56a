"""Sentences in, translations out: trained models with their tokenizer."""

from pathlib import Path

import keras
import numpy as np

from keras_transformer.decoding.lines import Draw, check_draw
from keras_transformer.files import MODEL_FILE, TOKENIZER_FILE, written_beside
from keras_transformer.ids import START
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.translation.batches import WORKERS, Batches
from keras_transformer.translation.graph import TranslationGraph
from keras_transformer.translation.hypotheses import Hypothesis, Score
from keras_transformer.translation.loading import load_model, one_tokenizer
from keras_transformer.translation.options import SearchOptions
from keras_transformer.translation.pieces import Pieces
from keras_transformer.translation.searcher import Searcher
from keras_transformer.translation.teacher_forcing import TeacherForcing, judged
from keras_transformer.translation.whole_file import translate_file

__all__ = ["Hypothesis", "Score", "Translator", "load_model"]


def check_backend():
    """RuntimeError on another backend of Keras than TensorFlow, whose graphs translate."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise RuntimeError(
            f"a Translator needs Keras' TensorFlow backend, and this process runs on {backend!r}. Save the model, by "
            "Checkpoint for example, and load the folder in a process with KERAS_BACKEND=tensorflow."
        )


class Translator:
    """Translates with beam search, section 6.1: strings to strings, in one TensorFlow graph.

    The translation of an empty sentence, or one of white space alone, is empty and scores 0.

    Args:
        model: a `Transformer`, or a list of them: an ensemble, whose next-token probabilities are the
            mean of its members'.
        tokenizer: the `Tokenizer` they were trained with.
        beam_size, length_penalty, max_extra_length, **more: see `SearchOptions`.

    Attributes:
        model, models: the first model, and all.
        tokenizer, options: the `Tokenizer` and the `SearchOptions`.
        folder: where one model was loaded from, else None.
        graph: the `TranslationGraph`, for an export.

    Raises:
        ValueError: a tokenizer of another size than a model's vocabulary, or an option out of range.
        TypeError: an unknown option, or one of another type.
        RuntimeError: another backend of Keras than TensorFlow.
    """

    def __init__(self, model, tokenizer, beam_size=4, length_penalty=0.6, max_extra_length=50, **more):
        check_backend()
        self.models = tuple(model) if isinstance(model, (list, tuple)) else (model,)
        if not self.models:
            raise ValueError("model is an empty list. Give a Transformer, or a list of at least one.")
        self.model, self.tokenizer = self.models[0], tokenizer
        self.options = SearchOptions(beam_size, length_penalty, max_extra_length, **more)
        size = tokenizer.vocabulary_size
        for member in self.models:
            for side in ("vocabulary_size", "target_vocabulary_size"):
                if getattr(member, side) != size:
                    raise ValueError(
                        f"the tokenizer has {size} pieces, the model's {side} is {getattr(member, side)}: "
                        "they were not trained together."
                    )
        if beam_size > size:
            raise ValueError(f"beam_size={beam_size} is wider than the vocabulary of {size} pieces.")
        self.folder = None
        self._pieces = Pieces(tokenizer)
        self._given = TeacherForcing(self.models)
        self.graph = TranslationGraph(self.models, tokenizer, self.options)
        self._searcher = Searcher(self.graph, self._given, self._pieces)

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
        """Translate a list of strings; the result has the same order.

        Args:
            sentences: a list of strings.
            prefixes: what each translation must begin with, a list of as many strings; "" for nothing.
            batch_size: the most sentences decoded at a time.
            progress: show a progress bar on standard error, where that is a terminal.
            workers: batches decoded at the same time, each with the whole memory of one.

        Raises:
            ValueError: a prefix that leaves no room for END, that has unknown pieces, or for an empty sentence; a
                sentence longer than learned positions; a model whose probabilities are not finite.
        """
        found = self._searcher.find(sentences, prefixes, Batches(batch_size, progress, workers))
        return [hypotheses[0].text for hypotheses in found]

    def n_best(self, sentences, n=None, prefixes=None, batch_size=64, progress=False, details=False, workers=WORKERS):
        """The `n` best translations of each sentence, best first, as lists of `Hypothesis`.

        A sentence gets fewer where the search reached fewer.

        Args:
            n: at most the beam's size, which is the default.
            details: give `token_log_probabilities` too, for one more pass of the models.
            The others: as in a call.

        Raises:
            ValueError: `n` larger than the beam, and as in a call.
        """
        n = self.beam_size if n is None else n
        if not 1 <= n <= self.beam_size:
            raise ValueError(f"n must be between 1 and beam_size={self.beam_size}, got {n}.")
        kind = {"details": details, "num_results": n}
        return self._searcher.find(sentences, prefixes, Batches(batch_size, progress, workers), n, **kind)

    def sample(self, sentences, n=1, temperature=1.0, top_k=0, top_p=1.0, seed=0, prefixes=None, batch_size=64, **more):
        """`n` translations of each sentence drawn by chance, as lists of `Hypothesis` in the order drawn.

        What is drawn depends on the seed and the sentence's place in the list, and not on the batches.
        Log-probabilities are the models' own, whatever the temperature.

        Args:
            temperature: logits are divided by it; above 0.
            top_k: draw among the k likeliest tokens; 0 is all.
            top_p: draw among the likeliest tokens that reach this probability together.
            seed: an int, at least 0.
            prefixes, batch_size, **more: as in a call; `progress` and `workers` too.

        Raises:
            ValueError: an argument out of range, and as in a call.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}.")
        draw = Draw(float(temperature), top_k, float(top_p))
        check_draw(draw)

        def luck(chosen, limits):
            numbers = np.zeros((len(chosen), n, max(limits)), np.float32)
            for row, index, limit in zip(numbers, chosen, limits, strict=True):
                row[:, :limit] = np.random.default_rng([seed, index]).random((n, limit), np.float32)
            return numbers

        return self._searcher.find(sentences, prefixes, Batches(batch_size, **more), luck=luck, draw=draw)

    def score(self, sources, targets, batch_size=64, progress=False):
        """What the models make of given translations: a list of `Score`.

        Args:
            sources: a list of strings.
            targets: the translation of each: a string, or a list of pieces such as a hypothesis' `tokens`,
                which the search may have cut otherwise than the tokenizer would.
            batch_size, progress: as in a call.

        Returns:
            `Score`s in the order given. The score has the length and coverage penalties of the search, so
            a finished hypothesis' tokens score as it did. An empty sentence has the empty translation
            for certain, with score 0; any other has score -inf.

        Raises:
            ValueError: lists of unlike length, an unknown piece name, or a pair longer than learned positions; a model
                whose probabilities are not finite.
        """
        return self._searcher.score(sources, targets, batch_size, progress)

    def attention(self, sentence, translation):
        """Whom every head of the first model attends to while it reads and writes this pair, for plots.

        Args:
            sentence: a string.
            translation: a string, or a list of pieces such as a hypothesis' `tokens`.

        Returns:
            The source's pieces and END (S), the target's pieces and END (T) as labels, and a dictionary
            of float32 arrays: "encoder" (N, H, S, S), "decoder" (N, H, T, T), "cross" (N, H, T, S). Row t
            is the step that predicts target label t.

        Raises:
            ValueError: an unknown piece name, or a pair longer than learned positions, of any of the models.
        """
        source, target = self._pair(sentence, translation)
        weights = self.model.attention_weights(np.array([source]), np.array([[START, *target[:-1]]]))
        arrays = {name: keras.ops.convert_to_numpy(array)[:, 0] for name, array in weights.items()}
        return self.tokenizer.pieces(source), self.tokenizer.pieces(target), arrays

    def alignment(self, sentence, translation):
        """Whom each token of a translation attends to: the mean over the last layer's heads, and the models.

        Args:
            sentence, translation: as in `attention`.

        Returns:
            The source's labels (S) and the target's (T), as `attention` gives them, and float32 (T, S).

        Raises:
            ValueError: as in `attention`.
        """
        self.graph.refuse_changed()
        source, target = self._pair(sentence, translation)
        [array] = self._given.alignments([source], [target])
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
        return judged(self.models, source, labels)

    def _pair(self, sentence, translation):
        """The ids of both, closed by END, if the models have positions for them."""
        [source], target = self._pieces.source([sentence]), self._pieces.target(translation)
        self._searcher.refuse_long_pair("the pair", sentence, source, target)
        return source, target

    def translate_file(self, source_path, target_path, batch_size=64, window=2000, overwrite=False, progress=True):
        """Translate a file line by line, and go on after a break; see `keras_transformer.translation.whole_file`."""
        translate_file(self, source_path, target_path, batch_size, window, overwrite, progress)

    def save(self, folder, overwrite=False):
        """Write `model.keras` and the tokenizer's file into a new folder.

        Raises:
            FileExistsError: the folder exists and `overwrite` is False, or it holds other files too.
            ValueError: an ensemble, whose members are saved each in its folder.
        """
        if len(self.models) > 1:
            raise ValueError(f"a folder holds one model, this translator has {len(self.models)}: save each by itself.")
        with written_beside(folder, overwrite, {MODEL_FILE, TOKENIZER_FILE}) as beside:
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
            FileNotFoundError: one of the two files is missing.
            ValueError: a file that is no such model or tokenizer, or tokenizers that differ; a `dtype` that is no
                policy for a model; an empty list.
            RuntimeError: another backend of Keras than TensorFlow; 8-bit integers on a machine that cannot add them up
                exactly.
        """
        check_backend()
        folders = [Path(one) for one in (folder if isinstance(folder, (list, tuple)) else [folder])]
        if not folders:
            raise ValueError("folder is an empty list. Give a folder, or a list of at least one.")
        models = [load_model(one / MODEL_FILE, dtype) for one in folders]
        translator = cls(models, Tokenizer.load(one_tokenizer(folders)), **options)
        translator.folder = folders[0] if len(folders) == 1 else None
        return translator

    def export(self, path, overwrite=False, **options):
        """Write a SavedModel that takes strings and gives strings; see `keras_transformer.export`.

        Args:
            path, overwrite, **options: as there.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
            ValueError: `replace_unknown`, which no exported graph does, and as there.
        """
        from keras_transformer.export.write import export

        if self.options.replace_unknown:
            raise ValueError("replace_unknown=True is not possible in an export: build the Translator without it.")
        export(self, path, overwrite, **options)
