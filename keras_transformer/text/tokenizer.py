"""Tokenizer: text to subword ids and back, the same in Python and in an exported graph."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, PAD, START
from keras_transformer.text import marian_subwords
from keras_transformer.text.subwords import MODELS, learn, read

SIDES = ("source", "target")


class Tokenizer(tf.Module):
    """Subwords of one vocabulary for both languages, with the ids PAD 0, UNK 1, START 2, END 3.

    `Tokenizer.train` learns one, `Tokenizer.load` reads one. The Python side (`encode`, `decode`) and
    the graph side (`tokenize`, `detokenize`) run the same ops and give the same ids; the graph side
    works in `tf.function` and, because a tokenizer is a `tf.Module`, in a SavedModel of any
    `tf.Module` that holds it as an attribute.

    Three kinds, named by `model`:

    - `"bpe"` and `"unigram"` (SentencePiece): any text comes back exactly, with its spaces, tabs and
      characters never seen, which are written as bytes.
    - `"wordpiece"`: words cut greedily into the longest pieces, "##" before a piece inside a word; a
      space belongs to the word after it, so text comes back exactly too, except that a word with a
      character never seen in training (or NUL) is one UNK, decoded as "⁇".

    In all three a typed "[PAD]" or "</s>" is text, never a control id. The one exception to exactness:
    U+2581 (▁), by which pieces write a space, comes back as a space. Bytes that are not UTF-8 can
    reach the graph side alone; they come back as U+FFFD, or as UNK in WordPiece.

    A fourth kind, `"marian"`, comes from `keras_transformer.interop.marian` and cannot be trained here:
    a SentencePiece model for each language over one list of pieces, so `side` counts when text is cut.
    It normalises text as its models say, so that text need not come back exactly; a piece that the list
    lacks is UNK, decoded as "⁇". A `>>code<<` in front of the text is one piece, UNK if it is unknown.

    Args:
        data: bytes, what `save` wrote: a SentencePiece model, a WordPiece vocabulary as UTF-8 text with
            one piece a line, or the JSON of a Marian tokenizer.

    Raises:
        ValueError: bytes that are neither, or whose special ids are others.
    """

    def __init__(self, data):
        super().__init__(name="tokenizer")
        self._data = bytes(data)
        if marian_subwords.is_marian(self._data):
            self._source, self._target = marian_subwords.read(self._data)
        else:
            self._source = self._target = read(self._data)

    @classmethod
    def train(cls, files, vocabulary_size=10_000, model="bpe"):
        """Learn a vocabulary from text files, one sentence a line; the same files give the same tokenizer.

        The files are read twice and never held: from more than 1 million lines the pieces are learnt
        on a random sample of 1 million. Every character of the files has a piece of its own, in "bpe"
        and "unigram" all but tabs and the rarest 1 in 50,000, which are written as bytes. The pieces of
        "wordpiece" are learnt by merging as in BPE.

        Args:
            files: a path or a list of paths, plain or `.gz`, UTF-8.
            vocabulary_size: int, number of pieces, the four special ones among them.
            model: "bpe", "unigram" or "wordpiece".

        Returns:
            A `Tokenizer` of exactly `vocabulary_size` pieces.

        Raises:
            ValueError: an unknown `model`, no files, a file without text or not UTF-8, or a
                `vocabulary_size` below or above what these files allow; the message gives the limit.
            TypeError: a `vocabulary_size` that is not an int.
        """
        if model not in MODELS:
            raise ValueError(f"model={model!r} is unknown. The models are {', '.join(map(repr, MODELS))}.")
        if not isinstance(vocabulary_size, int) or isinstance(vocabulary_size, bool):
            raise TypeError(f"vocabulary_size must be an int, got {vocabulary_size!r}.")
        if vocabulary_size <= NUM_RESERVED:
            raise ValueError(f"vocabulary_size={vocabulary_size} leaves nothing beside {NUM_RESERVED} special pieces.")
        files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        if not files:
            raise ValueError("files is empty. Give at least one text file to learn from.")
        return cls(learn(files, vocabulary_size, model))

    @classmethod
    def load(cls, path):
        """Read the file that `save` wrote, or a SentencePiece model trained elsewhere with ids 0 to 3 as here.

        Raises:
            ValueError: not a tokenizer file, a damaged one, or other special ids; the message names the file.
            OSError: a file that cannot be read.
        """
        data = Path(path).read_bytes()
        try:
            return cls(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path, overwrite=False):
        """Write the tokenizer to one file: a SentencePiece `.model`, WordPiece text with one piece a line, or JSON.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
        """
        with written_beside(path, overwrite) as beside:
            beside.write_bytes(self._data)

    @property
    def fingerprint(self):
        """str, the SHA-256 of what `save` writes: the same for the same tokenizer."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def model(self):
        """str, the kind: one of "bpe", "unigram", "wordpiece", "marian"."""
        return self._source.kind

    @property
    def vocabulary_size(self):
        """int, number of pieces, the four special ones among them; ids run from 0 to one less."""
        return self._source.size

    def pieces(self, ids):
        """Name the pieces of one sequence of ids, for plots and inspection: list of int -> list of str."""
        row = _to_python(ids)
        self._check_ids(row)
        return [self._source.piece(i) for i in row]

    def encode(self, text, side="source"):
        """Text to ids, without START and END: str -> list of int, list of str -> list of lists.

        Args:
            text: a str or a list of str.
            side: "source" or "target", the language; it makes a difference in kind "marian" alone.

        Raises:
            ValueError: another `side`, or a text that is not Unicode (a lone surrogate), by its number from 0.
            TypeError: something other than str, or a list of str.
        """
        texts = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else [text]
        encoded = []
        for number, one in enumerate(texts):
            if not isinstance(one, str):
                raise TypeError(f"encode takes a str or a list of str, got {one!r} ({type(one).__name__}).")
            try:
                encoded.append(one.encode())
            except UnicodeEncodeError as error:
                at = f"its character {error.start + 1}, {one[error.start]!r}"
                raise ValueError(f"text {number} is not Unicode: {at}, is half a pair.") from error
        rows = self.tokenize(tf.constant(encoded, tf.string), side).to_list()
        return rows[0] if isinstance(text, str) else rows

    def decode(self, ids):
        """Ids to text, leaving out PAD, START and END: list of int -> str, list of lists -> list of str.

        Takes arrays and tensors too. An empty list is one empty sequence: "".

        Raises:
            ValueError: an id outside the vocabulary.
            TypeError: an id that is not an integer.
        """
        rows = _to_python(ids)
        one = not (isinstance(rows, list) and rows and isinstance(rows[0], list))
        rows = [rows] if one else rows
        for row in rows:
            self._check_ids(row)
        flat = np.array([i for row in rows for i in row], np.int32)
        ragged = tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])
        texts = [text.decode() for text in self.detokenize(ragged).numpy()]
        return texts[0] if one else texts

    def tokenize(self, strings, side="source"):
        """Text to ids in the graph, without START and END: (N,) string -> ragged (N, None) int32; see `encode`."""
        if side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, got {side!r}.")
        strings = tf.convert_to_tensor(strings, tf.string)
        if strings.shape.rank != 1:
            raise ValueError(f"tokenize takes strings of shape (N,), got {strings.shape}.")
        return (self._source if side == "source" else self._target).tokenize(strings)

    def detokenize(self, ids):
        """Ids to text in the graph, leaving out PAD, START and END.

        Args:
            ids: int tensor (N, L), or ragged (N, None); an id outside the vocabulary fails in the op.

        Returns:
            (N,) string.
        """
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.convert_to_tensor(ids)
        if ids.shape.rank != 2:
            raise ValueError(f"detokenize takes ids of shape (N, L), got {ids.shape}.")
        ids = tf.cast(ids, tf.int32)
        is_text = (ids != PAD) & (ids != START) & (ids != END)
        return self._target.detokenize(tf.ragged.boolean_mask(ids, is_text).with_row_splits_dtype(tf.int64))

    def _check_ids(self, ids):
        if not isinstance(ids, list):
            raise TypeError(f"ids must be a list of integers, got {ids!r} ({type(ids).__name__}).")
        for i in ids:
            if not isinstance(i, int) or isinstance(i, bool):
                raise TypeError(f"ids must be integers, got {i!r} ({type(i).__name__}).")
            if not 0 <= i < self.vocabulary_size:
                raise ValueError(f"id {i} is outside the vocabulary of {self.vocabulary_size} pieces (ids from 0).")

    def __repr__(self):
        return f"Tokenizer(model={self.model!r}, vocabulary_size={self.vocabulary_size})"


def _to_python(ids):
    """Ids as plain Python values: tensors, ragged tensors, arrays and tuples become lists."""
    if isinstance(ids, tf.RaggedTensor):
        return ids.to_list()
    if isinstance(ids, (tf.Tensor, np.ndarray, np.generic)):
        return np.asarray(ids).tolist()
    return [_to_python(i) for i in ids] if isinstance(ids, (list, tuple, range)) else ids
