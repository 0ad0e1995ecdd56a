"""Tokenizer: text to ids and back, the same in Python and in an exported graph."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Self, overload

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_transformer.backend.forks import check_process
from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, PAD, START
from keras_transformer.inputs.kinds import Texts, read_texts, shown
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.readers.corpora import Corpora, read_corpora, refuse_shared_pipes
from keras_transformer.text import marian_subwords
from keras_transformer.text.foreign_models import rearranged
from keras_transformer.text.given_inputs import check_ids, given_strings, in_python, in_utf8
from keras_transformer.text.learning import check_kind, learn
from keras_transformer.text.sampler import SegmentationSampler
from keras_transformer.text.subwords import read
from keras_transformer.text.trainer_options import read_options

SIDES = ("source", "target")
_CODE = re.compile(r">>.*?<<", re.DOTALL)  # a target language before the text


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

    In the first three kinds a typed `[PAD]` or `</s>` is text and never a control id. U+2581 (▁) is the only character
    that does not come back: pieces write a space with it, so it comes back as a space. Bytes that are not UTF-8 can
    reach only `tokenize`. They come back as U+FFFD, or as UNK in WordPiece.

    With `normalization="nfc"` or `"nfkc"`, every text is first put into this normal form of Unicode, and comes back in
    it. Without it, "é" and "e" with an accent after it have different pieces.

    A tokenizer can be pickled and copied. Like everything of TensorFlow, it does not work in a process that was forked
    after TensorFlow was used.

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
        TypeError: `data` is not bytes, for example a path: use `Tokenizer.load`.
        RuntimeError: the process was forked after TensorFlow was used.
    """

    def __init__(self, data: bytes) -> None:
        check_process()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be the bytes of a tokenizer file, got {shown(data)}. Use Tokenizer.load(path).")
        super().__init__(name="tokenizer")
        self._data = bytes(data)
        if marian_subwords.is_marian(self._data):
            self._source, self._target = marian_subwords.read(self._data)
        else:
            self._source = self._target = read(self._data)

    def __reduce__(self):
        return type(self), (self._data,)

    @classmethod
    def train(
        cls,
        files: Corpora,
        vocabulary_size: int = 10_000,
        model: str = "bpe",
        normalization: str = "none",
        **options: Any,
    ) -> Self:
        """Learn a vocabulary from sentences. The same sentences give the same tokenizer.

        The texts are read once, and blank ones are left out. If there are more than 1 million, the pieces are learned
        from a random sample of 1 million. In "wordpiece" each character of the texts has its own piece. In "bpe" and
        "unigram" so has each character except tabs and the rarest 1 in 50,000, which are written as bytes.
        "wordpiece" learns its pieces by merging, as "bpe" does.

        Args:
            files: a path or a list of paths, plain or `.gz`, UTF-8, with one sentence a line. Or the sentences: a list
                of strings, a generator, a column of a table. Or a list of several of these.
            vocabulary_size: int, the number of pieces. The four special pieces count.
            model: "bpe", "unigram" or "wordpiece".
            normalization: "none" keeps each text as it is, so that `decode` gives it back exactly. "nfc" puts each text
                into Unicode's composed form: "e" and an accent become "é", and what is seen stays the same. "nfkc" also
                replaces compatibility characters: "ﬁ" becomes "fi", a full-width "Ａ" becomes "A".
            **options: of SentencePiece's trainer, for "bpe" and "unigram": `user_defined_symbols` (a list of texts that
                are always one piece), `control_symbols`, `required_chars`, `character_coverage`, `byte_fallback`,
                `max_sentencepiece_length`, `split_digits`, `split_by_number`, `split_by_unicode_script`,
                `split_by_whitespace`, `allow_whitespace_only_pieces`, `add_dummy_prefix`, `hard_vocab_limit`,
                `seed_sentencepiece_size`, `shrinking_factor`, `num_sub_iterations`, `num_threads`. Its documentation
                describes them.

        Returns:
            A `Tokenizer` of exactly `vocabulary_size` pieces; of at most so many with `hard_vocab_limit=False`.

        Raises:
            ValueError: `model` or `normalization` is unknown; a corpus has no text, or is not UTF-8, or has a text with
                a line break or half a surrogate pair inside; the texts allow no `vocabulary_size` so small or so large
                (the message gives the limit); an option that is set here, or with a value that the trainer refuses.
            TypeError: `vocabulary_size` is not an int, `files` is neither paths nor sentences, or an option is
                unknown (the message has the nearest name and the list of all).
            FileNotFoundError: a path is no file.
        """
        check_kind(vocabulary_size, model, normalization)
        options = read_options(options, ("files", "vocabulary_size", "model", "normalization"), model)
        corpora = read_corpora("files", files)
        refuse_shared_pipes(corpora)
        if not corpora:
            raise ValueError("files is empty. Give at least one text file to learn from.")
        return cls(learn(corpora, int(vocabulary_size), model, normalization, options))

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """Read a file that `save` wrote, or a SentencePiece model whose ids 0 to 3 are the same as here.

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

    @classmethod
    def from_sentencepiece(cls, path: AnyPath) -> Self:
        """Read a SentencePiece model that was trained elsewhere, with whatever ids.

        The ids are rearranged: PAD 0, UNK 1, START 2, END 3, then the other pieces in their order. A special piece that
        the model lacks is added, so the vocabulary may grow. Texts are cut into the same pieces as by SentencePiece.
        The model's own normalization stays, so `decode` may give back another text. Use it to train a new model:
        weights that were trained with the old ids do not fit.

        Example:
            ```python
            import sentencepiece
            from keras_transformer import Tokenizer

            lines = iter(["the cat sat", "the dog sat"])
            with open("theirs.model", "wb") as file:
                sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=file, vocab_size=15)
            tokenizer = Tokenizer.from_sentencepiece("theirs.model")
            print(tokenizer.pieces(tokenizer.encode("the cat")))
            ```

        Args:
            path: the `.model` file.

        Raises:
            ValueError: not a SentencePiece model, or one of which two special pieces are the same. The message names
                the file.
            OSError: the file cannot be read.
        """
        data = check_source(path).read_bytes()
        try:
            return cls(rearranged(data))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: AnyPath, overwrite: bool = False) -> None:
        """Write the tokenizer to one file.

        The file is a SentencePiece `.model`, a WordPiece vocabulary with one piece a line, or JSON for kind "marian".

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
        """
        with written_beside(path, overwrite, kind="file") as beside:
            beside.write_bytes(self._data)

    @property
    def fingerprint(self) -> str:
        """str, the SHA-256 of the file that `save` writes. Equal tokenizers have equal fingerprints."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def model(self) -> str:
        """str, the kind: "bpe", "unigram", "wordpiece" or "marian"."""
        return self._source.kind

    @property
    def vocabulary_size(self) -> int:
        """int, the number of pieces. The four special pieces count. Ids run from 0 to one less."""
        return self._source.size

    @property
    def normalization(self) -> str:
        """str, the normal form of Unicode that texts are put into first: "none", "nfc" or "nfkc".

        A Marian tokenizer, or a SentencePiece model from elsewhere, can have other rules in its file.
        """
        return self._source.normalization

    @property
    def fallback_ids(self) -> tuple[int, ...]:
        """The ids that stand for text without a piece of its own: UNK, and the pieces of single bytes."""
        return tuple(sorted({*self._source.fallback_ids.tolist(), *self._target.fallback_ids.tolist()}))

    @property
    def sentencepiece_models(self) -> tuple[bytes | None, bytes | None]:
        """The SentencePiece model of the source and that of the target: two bytes; two None in "wordpiece"."""
        return self._source.sentencepiece_model, self._target.sentencepiece_model

    @property
    def language_codes(self) -> tuple[str, ...]:
        """The target languages that a sentence can begin with, as pieces: `(">>deu<<", ">>fra<<")`. Most have none."""
        pieces = (self._source.piece(i) for i in range(NUM_RESERVED, self.vocabulary_size))
        return tuple(piece for piece in pieces if _CODE.fullmatch(piece))

    def pieces(self, ids: Any) -> list[str]:
        """The piece of each id of one sequence, for plots and inspection: list of int -> list of str."""
        row = in_python(ids)
        check_ids(row, self.vocabulary_size)
        return [self._source.piece(i) for i in row]

    def sampler(self, alpha: float | None = None, seed: int = 0) -> SegmentationSampler:
        """A sampler of other segmentations of texts, for subword regularization. See `SegmentationSampler`.

        Args:
            alpha: float, how far from the usual segmentation: the probability with which a merge is dropped in "bpe",
                or a match in "wordpiece"; the exponent of the probabilities in "unigram", where less is farther. None
                is 0.1, and 0.2 in "unigram".
            seed: int, of the draws.

        Raises:
            ValueError: `alpha` is outside its range, or the kind is "marian".
            TypeError: `alpha` is no number, or `seed` no whole number.
        """
        scores = getattr(self._source, "scores", dict)()
        pieces = [self._source.piece(i) for i in range(self.vocabulary_size)]
        return SegmentationSampler(self.model, pieces, scores, alpha, seed)

    @overload
    def encode(self, text: str, side: str = ...) -> list[int]: ...

    @overload
    def encode(self, text: Texts, side: str = ...) -> list[list[int]]: ...

    def encode(self, text, side="source"):
        """Text to ids, without START and END: str -> list of int, list of str -> list of lists.

        Args:
            text: a str or a list of str.
            side: "source" or "target", the language. It makes a difference only in kind "marian".

        Raises:
            ValueError: `side` is something else, or a text has a lone surrogate, which is not Unicode. The message
                gives the number of the text, from 0.
            TypeError: `text` is neither a str nor a list of str. The message gives the place of what is no str.
        """
        check_process()
        texts = [text] if isinstance(text, str) else read_texts("text", text, "a string or a list of strings")
        rows = self.tokenize(tf.constant(in_utf8(texts), tf.string), side).to_list()
        return rows[0] if isinstance(text, str) else rows

    @overload
    def decode(self, ids: Sequence[int]) -> str: ...

    @overload
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]: ...

    def decode(self, ids):
        """Ids to text, without PAD, START and END: list of int -> str, list of lists -> list of str.

        Takes arrays and tensors too. An empty list is one empty sequence and gives "".

        Raises:
            ValueError: an id is outside the vocabulary.
            TypeError: an id is not an integer.
        """
        rows = in_python(ids)
        is_single = not (isinstance(rows, list) and rows and isinstance(rows[0], list))
        rows = [rows] if is_single else rows
        for row in rows:
            check_ids(row, self.vocabulary_size)
        flat = np.array([i for row in rows for i in row], np.int32)
        ragged = tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])
        texts = [text.decode() for text in self.detokenize(ragged).numpy()]
        return texts[0] if is_single else texts

    def tokenize(self, strings: Any, side: str = "source") -> Any:
        """Text to ids as tensors, without START and END: (N,) string -> ragged (N, None) int32. See `encode`."""
        check_process()
        if side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, got {side!r}.")
        strings = given_strings(strings)
        if strings.shape.rank != 1:
            raise ValueError(f"tokenize takes strings of shape (N,), got {strings.shape}.")
        if self.normalization != "none":
            strings = tf_text.normalize_utf8(strings, self.normalization.upper())
        return (self._source if side == "source" else self._target).tokenize(strings)

    def detokenize(self, ids: Any) -> Any:
        """Ids to text as tensors, without PAD, START and END.

        Args:
            ids: int tensor (N, L), or ragged (N, None). The op raises an error for an id outside the vocabulary.

        Returns:
            (N,) string.
        """
        check_process()
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.convert_to_tensor(ids)
        if ids.shape.rank != 2:
            raise ValueError(f"detokenize takes ids of shape (N, L), got {ids.shape}.")
        ids = tf.cast(ids, tf.int32)
        is_text = (ids != PAD) & (ids != START) & (ids != END)
        return self._target.detokenize(tf.ragged.boolean_mask(ids, is_text).with_row_splits_dtype(tf.int64))

    def __repr__(self):
        form = "" if self.normalization == "none" else f", normalization={self.normalization!r}"
        return f"Tokenizer(model={self.model!r}, vocabulary_size={self.vocabulary_size}{form})"
