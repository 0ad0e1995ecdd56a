"""Sentences in, translations out: a trained model with its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import Progress

from keras_transformer.decoding import beam_search, greedy_search
from keras_transformer.decoding.beam import BeamOptions
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.decoding.rules import Bounds
from keras_transformer.files import BLANK, MODEL_FILE, TOKENIZER_FILE, written_beside
from keras_transformer.ids import END, PAD, START
from keras_transformer.model import Transformer
from keras_transformer.text import Tokenizer

SEGMENT = 8  # tokens between two looks at which sentences are done


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence."""

    text: str
    score: float  # log P / length penalty, what the search ranks by
    log_probability: float  # natural logarithm of P(translation | sentence), END included
    finished: bool  # False where the length limit cut it off


class Translator(tf.Module):
    """Translates with beam search, section 6.1: strings to strings, in one TensorFlow graph.

    The translation of an empty sentence, or one of white space alone, is empty and scores 0.

    Args:
        model: a `Transformer`.
        tokenizer: the `Tokenizer` it was trained with.
        beam_size: W; 1 is greedy search. The paper's is 4.
        length_penalty: α of ((5+|Y|)/6)^α, at least 0. The paper's is 0.6.
        max_extra_length: a translation has at most this many tokens more than its source, both counted
            with their END. The paper's is 50.

    Raises:
        ValueError: a tokenizer of another size than the model's vocabulary, or an option out of range.
    """

    def __init__(self, model, tokenizer, beam_size=4, length_penalty=0.6, max_extra_length=50):
        super().__init__(name="translator")
        for side in ("vocabulary_size", "target_vocabulary_size"):
            if getattr(model, side) != tokenizer.vocabulary_size:
                raise ValueError(
                    f"the tokenizer has {tokenizer.vocabulary_size} pieces, the model's {side} is "
                    f"{getattr(model, side)}: they were not trained together."
                )
        if beam_size < 1:
            raise ValueError(f"beam_size must be at least 1, got {beam_size}.")
        if length_penalty < 0:
            raise ValueError(f"length_penalty must not be negative, got {length_penalty}.")
        if max_extra_length < 0:
            raise ValueError(f"max_extra_length must not be negative, got {max_extra_length}.")
        self.model = model
        self.tokenizer = tokenizer
        self.beam_size = beam_size
        self.length_penalty = length_penalty
        self.max_extra_length = max_extra_length
        self._best_in_graph = self._in_graph(num_results=1)
        self._all_in_graph = self._in_graph(num_results=beam_size)

    def _in_graph(self, num_results):
        sentences = tf.TensorSpec([None], tf.string, name="sentences")
        return tf.function(lambda x: self.search(x, num_results), input_signature=[sentences], autograph=False)

    def source_ids(self, sentences):
        """Strings [B] -> ids (B, S) int32, pieces + END, padded."""
        pieces = self.tokenizer.tokenize(sentences)
        end = tf.fill([tf.shape(sentences)[0], 1], END)
        return tf.concat([pieces, end], axis=1).to_tensor(PAD)

    def search(self, sentences, num_results=1):
        """The whole way in TensorFlow ops, for `tf.function` and export.

        Args:
            sentences: string tensor [B].
            num_results: how many of the W hypotheses must be the best.

        Returns:
            A dictionary of "texts" (B, W) string, "scores" and "log_probabilities" (B, W) float32 and
            "finished" (B, W) bool, best first.
        """
        source = self.source_ids(sentences)
        lengths = tf.math.count_nonzero(source, axis=1, dtype=tf.int32)
        limits = lengths + self.max_extra_length
        max_length = tf.maximum(tf.reduce_max(limits), 1)  # an empty batch has no longest sentence
        if (positions := self._learned_positions()) is not None:
            message = f"a sentence and its translation need more than the model's {positions} learned positions"
            with tf.control_dependencies([tf.debugging.assert_less_equal(max_length, positions, message)]):
                source = tf.identity(source)
        state = self.model.start(self.model.encode(source), source, max_length * 0, self.beam_size)
        bounds = Bounds(limits, (), ())
        if self.beam_size == 1:
            found = greedy_search(self.model, state, bounds, max_length, alpha=self.length_penalty, segment=SEGMENT)
        else:
            options = BeamOptions(self.beam_size, self.length_penalty, num_results=num_results)
            found = beam_search(self.model, state, bounds, max_length, options, segment=SEGMENT)
        texts = self.tokenizer.detokenize(tf.reshape(found.ids, [-1, tf.shape(found.ids)[2]]))
        texts = tf.reshape(texts, tf.shape(found.scores))
        blank = tf.strings.regex_full_match(sentences, BLANK)[:, None]
        first = tf.range(self.beam_size)[None, :] == 0
        nothing = tf.where(first, 0.0, UNREACHED)
        return {
            "texts": tf.where(blank, "", texts),
            "scores": tf.where(blank, nothing, found.scores),
            "log_probabilities": tf.where(blank, nothing, found.log_probabilities),
            "finished": blank | found.finished,
        }

    def _run(self, graph, sentences, batch_size, progress):
        """Hypotheses for each sentence, in the order given; sentences of like length share a batch."""
        if isinstance(sentences, str):
            raise TypeError("sentences must be a list of strings, got one string: write [sentence].")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        sentences = list(sentences)
        lengths = [len(ids) for ids in self.tokenizer.encode(sentences)] if sentences else []
        self._refuse_long(sentences, lengths)
        order = np.argsort(lengths, kind="stable")[::-1]
        results = [None] * len(sentences)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
            task = bar.add_task("translating", total=len(sentences))
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                found = graph(tf.constant([sentences[i] for i in chosen]))
                columns = [found[name].numpy() for name in ("texts", "scores", "log_probabilities", "finished")]
                for index, *rows in zip(chosen, *columns, strict=True):
                    results[index] = [
                        Hypothesis(text.decode(), float(score), float(log), bool(closed))
                        for text, score, log, closed in zip(*rows, strict=True)
                        if score > UNREACHED / 2
                    ]
                    if not results[index]:
                        raise ValueError(
                            f"sentence {index} got no translation, {sentences[index][:60]!r}: the model's "
                            "probabilities are not finite. Was its training stopped by NaN?"
                        )
                bar.advance(task, len(chosen))
        return results

    def _learned_positions(self):
        """How many positions the model has learnt; None for sinusoids, which have no end."""
        config = self.model.get_config()
        return config["max_length"] if config["positions"] == "learned" else None

    def _refuse_long(self, sentences, lengths):
        limit = self._learned_positions()
        if limit is None:
            return
        for number, (sentence, length) in enumerate(zip(sentences, lengths, strict=True)):
            if length + 1 + self.max_extra_length > limit:
                raise ValueError(
                    f"sentence {number} has {length} pieces; with its END and max_extra_length={self.max_extra_length} "
                    f"that is more than the model's {limit} learned positions: {sentence[:60]!r}."
                )

    def __call__(self, sentences, batch_size=64, progress=False):
        """Translate a list of strings; the result has the same order.

        Args:
            sentences: a list of strings.
            batch_size: sentences decoded at a time.
            progress: show a progress bar on standard error, where that is a terminal.
        """
        found = self._run(self._best_in_graph, sentences, batch_size, progress)
        return [hypotheses[0].text for hypotheses in found]

    def n_best(self, sentences, n=None, batch_size=64, progress=False):
        """The `n` best translations of each sentence, best first, as lists of `Hypothesis`.

        A sentence gets fewer where the search reached fewer.

        Raises:
            ValueError: `n` larger than the beam.
        """
        n = self.beam_size if n is None else n
        if not 1 <= n <= self.beam_size:
            raise ValueError(f"n must be between 1 and beam_size={self.beam_size}, got {n}.")
        found = self._run(self._all_in_graph, sentences, batch_size, progress)
        return [hypotheses[:n] for hypotheses in found]

    def attention(self, sentence, translation):
        """Whom every head attends to while it reads and writes this pair, for plots.

        Returns:
            The source's pieces and END (S), the target's pieces and END (T) as labels, and a dictionary
            of float32 arrays: "encoder" (N, H, S, S), "decoder" (N, H, T, T), "cross" (N, H, T, S). Row t
            is the step that predicts target label t.
        """
        source = self.tokenizer.encode(sentence)
        target = self.tokenizer.encode(translation, side="target")
        weights = self.model.attention_weights(np.array([[*source, END]]), np.array([[START, *target]]))
        arrays = {name: keras.ops.convert_to_numpy(array)[:, 0] for name, array in weights.items()}
        return self.tokenizer.pieces([*source, END]), self.tokenizer.pieces([*target, END]), arrays

    def save(self, folder, overwrite=False):
        """Write `model.keras` and the tokenizer's file into a new folder.

        Raises:
            FileExistsError: the folder exists and `overwrite` is False.
        """
        with written_beside(folder, overwrite) as beside:
            beside.mkdir()
            self.model.save(beside / MODEL_FILE)
            self.tokenizer.save(beside / TOKENIZER_FILE)

    @classmethod
    def load(cls, folder, dtype=None, **options):
        """Read a folder that `save` or training wrote.

        Args:
            folder: holds `model.keras` and `tokenizer.model`.
            dtype: the Keras dtype policy to translate under, such as "float32" after training in
                "mixed_bfloat16". Default: the trained one.
            **options: the constructor's: `beam_size` and so on.

        Raises:
            FileNotFoundError: one of the two files is missing.
            ValueError: a file that is no such model or tokenizer.
        """
        folder = Path(folder)
        return cls(load_model(folder / MODEL_FILE, dtype), Tokenizer.load(folder / TOKENIZER_FILE), **options)

    def export(self, path, overwrite=False):
        """Write a SavedModel that takes strings and gives strings; see `keras_transformer.export`."""
        from keras_transformer.export import export

        export(self, path, overwrite)


def load_model(path, dtype=None):
    """Read a `.keras` file that holds a `Transformer`, for translating: without its optimizer.

    Args:
        path: the file.
        dtype: a Keras dtype policy instead of the trained one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken file, or another kind of model; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. A training folder holds {MODEL_FILE} and {TOKENIZER_FILE}.")
    try:
        model = keras.saving.load_model(path, compile=False)  # an optimizer's state would treble the memory
    except Exception as error:  # whatever a broken archive makes Keras, zipfile or h5py raise
        raise ValueError(f"{path} cannot be read as a Keras model: {error}") from error
    if not isinstance(model, Transformer):
        raise ValueError(f"{path} holds a {type(model).__name__}, not a Transformer of keras_transformer.")
    if dtype is None:
        return model
    recast = Transformer.from_config({**model.get_config(), "dtype": dtype})
    recast.set_weights(model.get_weights())
    return recast
