"""Tokenizer: text to ids and back, the same in Python and in an exported graph."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, PAD, START
from keras_transformer.paths import check_source
from keras_transformer.text import marian_subwords
from keras_transformer.text.learning import MODELS, learn
from keras_transformer.text.subwords import read

SIDES = ("source", "target")


class Tokenizer(tf.Module):
    r"""Subwords of one vocabulary for both languages, with the ids PAD 0, UNK 1, START 2, END 3.

    `Tokenizer.train` learns a tokenizer, and `Tokenizer.load` reads one. The methods `encode` and `decode` work on
    Python's strings and lists, `tokenize` and `detokenize` on tensors. Both run the same ops and give the same ids.
    `tokenize` and `detokenize` also work inside `tf.function`. A tokenizer is a `tf.Module`, so a SavedModel can
    contain it: save a `tf.Module` that has the tokenizer as an attribute.

    There are four kinds. `model` names the kind:

    - `"bpe"` and `"unigram"` are SentencePiece models. `decode` gives back each text exactly, with its spaces and tabs.
      Characters that the training files do not have are written as bytes.
    - `"wordpiece"` cuts each word greedily into the longest pieces. A piece inside a word begins with "##". A space
      belongs to the word after it, so `decode` gives back the text exactly. One thing is lost: a word with NUL or with
      a character that the training files do not have. It becomes one UNK, which is decoded as "⁇".
    - `"marian"` cannot be trained here. It comes from `keras_transformer.interop.marian`. It has a SentencePiece model
      for each language and one list of pieces for both, so `side` makes a difference. The models normalize the text,
      so `decode` need not give it back exactly. A piece that the list lacks is UNK, which is decoded as "⁇". A
      `>>code<<` before the text is one piece, or UNK if the list lacks it.

    In the first three kinds a typed "[PAD]" or "</s>" is text and never a control id. U+2581 (▁) is the only character
    that does not come back: pieces write a space with it, so it comes back as a space. Bytes that are not UTF-8 can
    reach only `tokenize`. They come back as U+FFFD, or as UNK in WordPiece.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer

        Path("train.txt").write_text("the cat sat\nthe dog sat\n")
        tokenizer = Tokenizer.train("train.txt", vocabulary_size=280)
        ids = tokenizer.encode("the cat")
        print(tokenizer.pieces(ids), tokenizer.decode(ids))
        tokenizer.save("tokenizer.model")
        assert Tokenizer.load("tokenizer.model").encode("the cat") == ids
        ```

    Args:
        data: bytes that `save` wrote: a SentencePiece model, a WordPiece vocabulary as UTF-8 text with one piece a
            line, or the JSON of a Marian tokenizer.

    Raises:
        ValueError: the bytes are none of these, or their special pieces have other ids.
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
        """Learn a vocabulary from text files with one sentence a line. The same files give the same tokenizer.

        The files are read twice, line by line. If they have more than 1 million lines, the pieces are learned from a
        random sample of 1 million. In "wordpiece" each character of the files has its own piece. In "bpe" and
        "unigram" so has each character except tabs and the rarest 1 in 50,000, which are written as bytes.
        "wordpiece" learns its pieces by merging, as "bpe" does.

        Args:
            files: a path or a list of paths. Plain or `.gz`, UTF-8.
            vocabulary_size: int, the number of pieces. The four special pieces count.
            model: "bpe", "unigram" or "wordpiece".

        Returns:
            A `Tokenizer` of exactly `vocabulary_size` pieces.

        Raises:
            ValueError: `model` is unknown; there are no files; a file has no text or is not UTF-8; these files do not
                allow so small or so large a `vocabulary_size`. The message gives the limit.
            TypeError: `vocabulary_size` is not an int.
        """
        if model not in MODELS:
            raise ValueError(f"model={model!r} is unknown. The models are {', '.join(map(repr, MODELS))}.")
        if not isinstance(vocabulary_size, int) or isinstance(vocabulary_size, bool):
            raise TypeError(f"vocabulary_size must be an int, got {vocabulary_size!r}.")
        if vocabulary_size <= NUM_RESERVED:
            raise ValueError(
                f"vocabulary_size={vocabulary_size} must be above {NUM_RESERVED}, the number of special pieces."
            )
        files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        if not files:
            raise ValueError("files is empty. Give at least one text file to learn from.")
        return cls(learn(files, vocabulary_size, model))

    @classmethod
    def load(cls, path):
        """Read a file that `save` wrote, or another SentencePiece model whose ids 0 to 3 are the same as here.

        Raises:
            ValueError: the file is not a tokenizer file, is damaged, or has other special ids. The message names the
                file.
            OSError: the file cannot be read.
        """
        data = check_source(path).read_bytes()
        try:
            return cls(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path, overwrite=False):
        """Write the tokenizer to one file.

        The file is a SentencePiece `.model`, a WordPiece vocabulary with one piece a line, or JSON for kind "marian".

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
        """
        with written_beside(path, overwrite, kind="file") as beside:
            beside.write_bytes(self._data)

    @property
    def fingerprint(self):
        """str, the SHA-256 of the file that `save` writes. Equal tokenizers have equal fingerprints."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def model(self):
        """str, the kind: "bpe", "unigram", "wordpiece" or "marian"."""
        return self._source.kind

    @property
    def vocabulary_size(self):
        """int, the number of pieces. The four special pieces count. Ids run from 0 to one less."""
        return self._source.size

    def pieces(self, ids):
        """The piece of each id of one sequence, for plots and inspection: list of int -> list of str."""
        row = _to_python(ids)
        self._check_ids(row)
        return [self._source.piece(i) for i in row]

    def encode(self, text, side="source"):
        """Text to ids, without START and END: str -> list of int, list of str -> list of lists.

        Args:
            text: a str or a list of str.
            side: "source" or "target", the language. It makes a difference only in kind "marian".

        Raises:
            ValueError: `side` is something else, or a text has a lone surrogate, which is not Unicode. The message
                gives the number of the text, from 0.
            TypeError: `text` is neither a str nor a list of str.
        """
        texts = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else [text]
        encoded = []
        for number, string in enumerate(texts):
            if not isinstance(string, str):
                raise TypeError(f"encode takes a str or a list of str, got {string!r} ({type(string).__name__}).")
            try:
                encoded.append(string.encode())
            except UnicodeEncodeError as error:
                character = f"its character {error.start + 1}, {string[error.start]!r}"
                raise ValueError(f"text {number} is not Unicode: {character}, is half a surrogate pair.") from error
        rows = self.tokenize(tf.constant(encoded, tf.string), side).to_list()
        return rows[0] if isinstance(text, str) else rows

    def decode(self, ids):
        """Ids to text, without PAD, START and END: list of int -> str, list of lists -> list of str.

        Takes arrays and tensors too. An empty list is one empty sequence and gives "".

        Raises:
            ValueError: an id is outside the vocabulary.
            TypeError: an id is not an integer.
        """
        rows = _to_python(ids)
        is_single = not (isinstance(rows, list) and rows and isinstance(rows[0], list))
        rows = [rows] if is_single else rows
        for row in rows:
            self._check_ids(row)
        flat = np.array([i for row in rows for i in row], np.int32)
        ragged = tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])
        texts = [text.decode() for text in self.detokenize(ragged).numpy()]
        return texts[0] if is_single else texts

    def tokenize(self, strings, side="source"):
        """Text to ids as tensors, without START and END: (N,) string -> ragged (N, None) int32. See `encode`."""
        if side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, got {side!r}.")
        strings = tf.convert_to_tensor(strings, tf.string)
        if strings.shape.rank != 1:
            raise ValueError(f"tokenize takes strings of shape (N,), got {strings.shape}.")
        return (self._source if side == "source" else self._target).tokenize(strings)

    def detokenize(self, ids):
        """Ids to text as tensors, without PAD, START and END.

        Args:
            ids: int tensor (N, L), or ragged (N, None). The op raises an error for an id outside the vocabulary.

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
    """Ids as Python's own values. Tensors, ragged tensors, arrays and tuples become lists."""
    if isinstance(ids, tf.RaggedTensor):
        return ids.to_list()
    if isinstance(ids, (tf.Tensor, np.ndarray, np.generic)):
        return np.asarray(ids).tolist()
    return [_to_python(i) for i in ids] if isinstance(ids, (list, tuple, range)) else ids
