"""The kinds of subwords behind a Tokenizer: how each is learnt, read from its file, and run in a graph."""

import hashlib
import io
import random
import re

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.backend.compat import sentencepiece_ops
from keras_transformer.files import read_lines
from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK

MODELS = ("bpe", "unigram", "wordpiece")
_SPACE = "\u2581"  # how a piece writes a space: ▁
_UNKNOWN = " \u2047"  # what a WordPiece UNK decodes to: a space and ⁇
_RESERVED_PIECES = ["[PAD]", "[UNK]", "[START]", "[END]"]  # of a WordPiece vocabulary
_MAX_LINES = 1_000_000  # learning takes a random sample of a larger corpus
_CHARACTER_COVERAGE = 0.99998  # the rarest 1 in 50,000 characters go to bytes and take no piece of their own


def read(data):
    """The subwords in the bytes of a tokenizer file: a `SentencePiece` or a `WordPiece`.

    Raises:
        ValueError: the rule that the bytes break.
    """
    if not data:
        raise ValueError("no bytes to read. A tokenizer file is a SentencePiece model or a WordPiece vocabulary.")
    return WordPiece(data) if data.startswith(f"{_RESERVED_PIECES[0]}\n".encode()) else SentencePiece(data)


def learn(files, vocabulary_size, model):
    """Learn from text files what `read` reads: bytes.

    Raises:
        ValueError: a file without text or not UTF-8, or a size that does not suit the files.
    """
    num_lines, alphabet = 0, set()
    for line in _read_sentences(files):
        num_lines += 1
        alphabet.update(line)
    lines = _sample_lines(files, num_lines)
    if model == "wordpiece":
        return _learn_wordpiece(lines, alphabet, vocabulary_size)
    return _run_trainer(
        lines, vocabulary_size, model, model_type=model, byte_fallback=True, character_coverage=_CHARACTER_COVERAGE
    )


class SentencePiece(tf.Module):
    """The bpe and unigram kinds, over ops that the tensorflow-text 2.12.1 of TF Serving has too."""

    def __init__(self, data):
        super().__init__(name="sentencepiece")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise ValueError(
                "neither a SentencePiece model nor a WordPiece vocabulary (which begins with [PAD]), or damaged."
            ) from error
        found = [self._processor.pad_id(), self._processor.unk_id(), self._processor.bos_id(), self._processor.eos_id()]
        if found != [PAD, UNK, START, END]:
            raise ValueError(
                "the SentencePiece model has pad, unk, bos, eos ids {}, {}, {}, {}; required are {}, {}, {}, {}. "
                "Train it with pad_id=0, unk_id=1, bos_id=2, eos_id=3.".format(*found, PAD, UNK, START, END)
            )
        proto = ModelProto.FromString(data)
        spec = proto.trainer_spec
        self.kind = spec.ModelType.Name(spec.model_type).lower()
        self.size = self._processor.vocab_size()
        self._unknown = spec.unk_surface.encode()
        self._adds_space = proto.normalizer_spec.add_dummy_prefix
        self._resource = SentencePieceResource(data)

    def piece(self, i):
        return self._processor.id_to_piece(i)

    def tokenize(self, strings):
        ids, row_splits = sentencepiece_ops().sentencepiece_tokenize_op(
            self._resource.resource_handle, strings, 0, 1.0, False, False, False, tf.int32
        )  # best pieces, no sampling, no START, no END, not reversed
        return tf.RaggedTensor.from_row_splits(ids, row_splits, validate=False)  # (N, pieces)

    def detokenize(self, ids):
        # The op removes every space before the first text, also the user's own: UNK stands in for that text.
        first = tf.fill([ids.nrows(), 1], UNK)
        ids = tf.concat([first, ids], axis=1)
        texts = sentencepiece_ops().sentencepiece_detokenize_op(
            self._resource.resource_handle, ids.values, ids.row_splits, False, False, False
        )  # (N,)
        texts = tf.strings.substr(texts, len(self._unknown), 2**30)
        return tf.strings.regex_replace(texts, "^ ", "") if self._adds_space else texts


class SentencePieceResource(tf.saved_model.experimental.TrackableResource):
    """A model that the ops can reach, named by its content.

    tensorflow-text's own tokenizer leaves it nameless, and then it is gone after the next
    `keras.utils.set_random_seed` or `clear_session`, which drop the kernel that owns it.
    """

    def __init__(self, data):
        super().__init__()
        self._data = data
        self._name = f"sentencepiece_{hashlib.sha256(data).hexdigest()}"
        _ = self.resource_handle  # creates it now, outside any graph

    def _create_resource(self):
        return sentencepiece_ops().sentencepiece_op(model=self._data, shared_name=self._name)


class WordPiece(tf.Module):
    """The wordpiece kind: every word is "▁" and its characters, so the spaces are in the pieces."""

    kind = "wordpiece"

    def __init__(self, data):
        super().__init__(name="wordpiece")
        pieces = _read_wordpiece_vocabulary(data)
        self.size = len(pieces)
        self._pieces = np.array(pieces, object)  # an array, because tf.Module would track each item of a list
        texts = [piece.removeprefix("##").replace(_SPACE, " ") for piece in pieces]
        texts[UNK] = _UNKNOWN
        self._texts = tf.constant([text.encode() for text in texts])
        self._ops = tf_text.FastWordpieceTokenizer(
            pieces, max_bytes_per_word=2**30, token_out_type=tf.int32, no_pretokenization=True
        )

    def piece(self, i):
        return str(self._pieces[i])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(self, strings):
        strings = tf.strings.regex_replace(strings, _SPACE, " ")
        strings = tf.where(strings == "", "", " " + strings)  # the empty string has no word, " " has two
        words = tf.strings.split(strings, sep=" ")[:, 1:]  # (N, words)
        pieces = self._ops.tokenize(_SPACE + words.flat_values)  # (all words, pieces)
        return words.with_flat_values(pieces).merge_dims(1, 2)  # (N, pieces)

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def detokenize(self, ids):
        texts = tf.strings.reduce_join(tf.gather(self._texts, ids), axis=1)  # (N,)
        return tf.strings.regex_replace(texts, "^ ", "")


def _read_wordpiece_vocabulary(data):
    """Pieces of a WordPiece file, checked: list of str.

    Raises:
        ValueError: the rule the file breaks, and the line.
    """
    try:
        pieces = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"the WordPiece vocabulary is not UTF-8 (byte {error.start + 1}).") from error
    if pieces.pop() != "":
        raise ValueError("the WordPiece vocabulary does not end with a line end: it was cut short.")
    if pieces[:NUM_RESERVED] != _RESERVED_PIECES:
        raise ValueError(
            f"the WordPiece vocabulary begins with {pieces[:NUM_RESERVED]}; required is {_RESERVED_PIECES}."
        )
    first_line = {}
    for line, piece in enumerate(pieces, start=1):
        is_word_start = piece.startswith(_SPACE)
        is_inside = piece.startswith("##") and len(piece) > 2
        if line > NUM_RESERVED and not (is_word_start or is_inside):
            raise ValueError(f"line {line}: the piece {piece!r} begins neither with {_SPACE!r} (word) nor with '##'.")
        if first_line.setdefault(piece, line) != line:
            raise ValueError(f"line {line}: the piece {piece!r} stands on line {first_line[piece]} already.")
    return pieces


def _read_sentences(files):
    """Yield the lines of the files that are not empty; a file without any is an error."""
    for path in files:
        empty = True
        for line in read_lines(path):
            if line.strip():
                empty = False
                yield line
        if empty:
            raise ValueError(f"{path} holds no text. Give files with one sentence a line.")


def _sample_lines(files, num_lines):
    """Yield all of the `num_lines` lines, or `_MAX_LINES` of them drawn at random, the same ones each time."""
    luck, left, wanted = random.Random(0), num_lines, min(num_lines, _MAX_LINES)
    for line in _read_sentences(files):
        if luck.random() * left < wanted:
            wanted -= 1
            yield from line.split("\u2585")  # the trainer keeps this character to itself and skips its lines
        left -= 1


def _learn_wordpiece(lines, alphabet, vocabulary_size):
    """Learn a WordPiece vocabulary: UTF-8 bytes, one piece a line, the special ones first.

    The pieces are the merges of BPE: every word begins with "▁", so a piece without it is inside a word.
    """
    alphabet = alphabet - {" ", _SPACE, "\0"}  # NUL cannot stand in the op's vocabulary
    base = [*_RESERVED_PIECES, _SPACE, *(f"##{character}" for character in sorted(alphabet))]
    if vocabulary_size < len(base):
        raise _too_small(vocabulary_size, "wordpiece", len(base))
    data = _run_trainer(lines, vocabulary_size, "wordpiece", model_type="bpe", character_coverage=1.0)
    learnt = [entry.piece for entry in ModelProto.FromString(data).pieces if entry.type == entry.NORMAL]
    merges = [piece if piece.startswith(_SPACE) else f"##{piece}" for piece in learnt if len(piece) > 1]
    return "".join(f"{piece}\n" for piece in [*base, *merges][:vocabulary_size]).encode()


def _run_trainer(lines, vocabulary_size, model, **options):
    """Run SentencePiece's trainer, quietly and with our ids: the serialized model."""
    written = io.BytesIO()
    sentencepiece.set_min_log_level(2)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=written,
            vocab_size=vocabulary_size,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=START,
            eos_id=END,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=2**30,  # the trainer would skip longer lines
            minloglevel=2,
            **options,
        )
    except RuntimeError as error:
        raise _explained(error, vocabulary_size, model) from error
    return written.getvalue()


def _explained(error, vocabulary_size, model):
    """The trainer's error about the vocabulary's size in our words, with the limit; any other as it is."""
    message = str(error)
    if least := re.search(r"smaller than required_chars\. -?\d+ vs (\d+)", message):
        return _too_small(vocabulary_size, model, int(least[1]))
    if most := re.search(r"Please set it to a value <= (\d+)", message):
        return ValueError(
            f"vocabulary_size={vocabulary_size} is too large: model={model!r} learns at most {most[1]} pieces "
            "from these files."
        )
    return RuntimeError(f"SentencePiece cannot learn vocabulary_size={vocabulary_size}, model={model!r}: {message}")


def _too_small(vocabulary_size, model, least):
    return ValueError(
        f"vocabulary_size={vocabulary_size} is too small: model={model!r} needs at least {least} for the special "
        "pieces and the single characters of these files."
    )
