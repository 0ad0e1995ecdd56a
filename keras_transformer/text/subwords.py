"""The kinds of subwords behind a Tokenizer: read each from its file, and run it in a graph."""

import hashlib

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.backend.compat import sentencepiece_ops
from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK

SPACE = "\u2581"  # how a piece writes a space: ▁
_UNKNOWN = " \u2047"  # the text of UNK in WordPiece: a space and ⁇
RESERVED_PIECES = ["[PAD]", "[UNK]", "[START]", "[END]"]  # of a WordPiece vocabulary
NORMALIZATIONS = ("none", "nfc", "nfkc")


def read(data):
    """The subwords in the bytes of a tokenizer file: a `SentencePiece` or a `WordPiece`.

    Raises:
        ValueError: the bytes are no tokenizer file. The message names the rule that they break.
    """
    if not data:
        raise ValueError("no bytes to read. A tokenizer file is a SentencePiece model or a WordPiece vocabulary.")
    for normalization in NORMALIZATIONS:
        header = wordpiece_header(normalization)
        if data.startswith(header + f"{RESERVED_PIECES[0]}\n".encode()):
            return WordPiece(data.removeprefix(header), normalization)
    return SentencePiece(data)


def wordpiece_header(normalization):
    """What is before the pieces in the file of a WordPiece vocabulary: a line with the normal form, if there is one."""
    return b"" if normalization == "none" else f"[{normalization.upper()}]\n".encode()


class SentencePiece(tf.Module):
    """The bpe and unigram kinds. TensorFlow Serving has the ops that they use, in its tensorflow-text 2.12.1."""

    def __init__(self, data):
        super().__init__(name="sentencepiece")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise ValueError(
                "neither a SentencePiece model nor a WordPiece vocabulary (which begins with [PAD]), or it is damaged."
            ) from error
        ids = [self._processor.pad_id(), self._processor.unk_id(), self._processor.bos_id(), self._processor.eos_id()]
        if ids != [PAD, UNK, START, END]:
            raise ValueError(
                "the SentencePiece model has pad, unk, bos, eos ids {}, {}, {}, {}; required are {}, {}, {}, {}. "
                "Read it with Tokenizer.from_sentencepiece(path), which rearranges its ids.".format(
                    *ids, *(PAD, UNK, START, END)
                )
            )
        proto = ModelProto.FromString(data)
        spec = proto.trainer_spec
        self.kind = spec.ModelType.Name(spec.model_type).lower()
        self.size = self._processor.vocab_size()
        self._unknown = spec.unk_surface.encode()
        self._adds_space = proto.normalizer_spec.add_dummy_prefix
        name, own_rules = proto.normalizer_spec.name, proto.normalizer_spec.precompiled_charsmap
        self.normalization = name if name in NORMALIZATIONS and not own_rules else "none"
        bytes_of = (i for i, piece in enumerate(proto.pieces) if piece.type == piece.BYTE)
        self.fallback_ids = np.array([UNK, *bytes_of])
        self.sentencepiece_model = data
        self._resource = SentencePieceResource(data)

    def piece(self, i):
        return self._processor.id_to_piece(i)

    def scores(self):
        """{id: score} of the pieces that a text is cut into: not of bytes, and not of symbols that a user defined."""
        pieces = ModelProto.FromString(self.sentencepiece_model).pieces
        return {i: entry.score for i, entry in enumerate(pieces) if entry.type == entry.NORMAL}

    def tokenize(self, strings):
        ids, row_splits = sentencepiece_ops().sentencepiece_tokenize_op(
            self._resource.resource_handle, strings, 0, 1.0, False, False, False, tf.int32
        )  # best pieces, no sampling, no START, no END, not reversed
        return tf.RaggedTensor.from_row_splits(ids, row_splits, validate=False)  # (N, pieces)

    def detokenize(self, ids):
        # The op removes all spaces before the first text, also those of the user. So UNK goes first, and its text is
        # cut off again.
        first = tf.fill([ids.nrows(), 1], UNK)
        ids = tf.concat([first, ids], axis=1)
        texts = sentencepiece_ops().sentencepiece_detokenize_op(
            self._resource.resource_handle, ids.values, ids.row_splits, False, False, False
        )  # (N,)
        texts = tf.strings.substr(texts, len(self._unknown), 2**30)
        return tf.strings.regex_replace(texts, "^ ", "") if self._adds_space else texts


class SentencePieceResource(tf.saved_model.experimental.TrackableResource):
    """A SentencePiece model that the ops can use. Its name is computed from its content.

    The tokenizer of tensorflow-text gives it no name. Then it is lost in the next `keras.utils.set_random_seed` or
    `clear_session`, because they drop the kernel that owns it.
    """

    def __init__(self, data):
        super().__init__()
        self._data = data
        self._name = f"sentencepiece_{hashlib.sha256(data).hexdigest()}"
        _ = self.resource_handle  # creates it now, outside of any graph

    def _create_resource(self):
        return sentencepiece_ops().sentencepiece_op(model=self._data, shared_name=self._name)


class WordPiece(tf.Module):
    """The wordpiece kind. Each word is "▁" and its characters, so the pieces hold the spaces."""

    kind = "wordpiece"
    fallback_ids = np.array([UNK])
    sentencepiece_model = None

    def __init__(self, data, normalization="none"):
        super().__init__(name="wordpiece")
        self.normalization = normalization
        pieces = _read_wordpiece_vocabulary(data)
        self.size = len(pieces)
        self._pieces = np.array(pieces, object)  # an array, because tf.Module tracks each item of a list
        texts = [piece.removeprefix("##").replace(SPACE, " ") for piece in pieces]
        texts[UNK] = _UNKNOWN
        self._texts = tf.constant([text.encode() for text in texts])
        self._ops = tf_text.FastWordpieceTokenizer(
            pieces, max_bytes_per_word=2**30, token_out_type=tf.int32, no_pretokenization=True
        )

    def piece(self, i):
        return str(self._pieces[i])

    def scores(self):
        """{id: 0} of the pieces that a text is cut into. They have no scores: the longest is taken."""
        return dict.fromkeys(range(NUM_RESERVED, self.size), 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(self, strings):
        strings = tf.strings.regex_replace(strings, SPACE, " ")
        strings = tf.where(strings == "", "", " " + strings)  # "" has no word, " " has two
        words = tf.strings.split(strings, sep=" ")[:, 1:]  # (N, words)
        pieces = self._ops.tokenize(SPACE + words.flat_values)  # (all words, pieces)
        return words.with_flat_values(pieces).merge_dims(1, 2)  # (N, pieces)

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def detokenize(self, ids):
        texts = tf.strings.reduce_join(tf.gather(self._texts, ids), axis=1)  # (N,)
        return tf.strings.regex_replace(texts, "^ ", "")


def _read_wordpiece_vocabulary(data):
    """The pieces of a WordPiece file: list of str.

    Raises:
        ValueError: the file breaks a rule. The message names the rule and the line.
    """
    try:
        pieces = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"the WordPiece vocabulary is not UTF-8 (byte {error.start + 1}).") from error
    if pieces.pop() != "":
        raise ValueError("the WordPiece vocabulary does not end with a line end: it was cut short.")
    if pieces[:NUM_RESERVED] != RESERVED_PIECES:
        raise ValueError(
            f"the WordPiece vocabulary begins with {pieces[:NUM_RESERVED]}; required is {RESERVED_PIECES}."
        )
    first_line = {}
    for line, piece in enumerate(pieces, start=1):
        is_word_start = piece.startswith(SPACE)
        is_inside = piece.startswith("##") and len(piece) > 2
        if line > NUM_RESERVED and not (is_word_start or is_inside):
            raise ValueError(f"line {line}: the piece {piece!r} begins neither with {SPACE!r} (word) nor with '##'.")
        if first_line.setdefault(piece, line) != line:
            raise ValueError(f"line {line}: the piece {piece!r} is already on line {first_line[piece]}.")
    return pieces
