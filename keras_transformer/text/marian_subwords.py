"""Marian's subwords: each language has a SentencePiece model, and one list of pieces gives the ids of both."""

import base64
import json

import numpy as np
import sentencepiece
import tensorflow as tf
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.backend.compat import sentencepiece_ops
from keras_transformer.ids import NUM_RESERVED, UNK
from keras_transformer.inputs.blank import WHITE_SPACE
from keras_transformer.text.subwords import SPACE, SentencePieceResource

_BEGINNING = b'{"model": "marian", '
_CODE = r"(?s)^(>>.*?<<)(.*)$"  # a target language before the text: ">>fra<< Good morning."


def is_marian(data):
    """Whether the bytes of a tokenizer file come from `pack`."""
    return data.startswith(_BEGINNING)


def pack(pieces, source, target):
    """The bytes of a tokenizer file.

    Args:
        pieces: list of str, the piece of each id. The first four are those of PAD, UNK, START and END.
        source, target: bytes, the SentencePiece model of each language.
    """
    models = {"source": base64.b64encode(source).decode(), "target": base64.b64encode(target).decode()}
    return json.dumps({"model": "marian", "pieces": list(pieces), **models}).encode()


def read(data):
    """The subwords of the source and of the target, two `MarianSubwords`, from the bytes that `pack` gave.

    Raises:
        ValueError: the bytes are damaged. The message names the rule that they break.
    """
    try:
        content = json.loads(data)
        pieces = content["pieces"]
        models = {side: base64.b64decode(content[side], validate=True) for side in ("source", "target")}
        are_strings = all(isinstance(piece, str) for piece in pieces)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the Marian tokenizer file is damaged: {error}") from error
    if not are_strings or len(pieces) <= NUM_RESERVED or len(set(pieces)) < len(pieces):
        raise ValueError(f"the Marian tokenizer file must have more than {NUM_RESERVED} pieces, all different strings.")
    return tuple(MarianSubwords(pieces, model, side) for side, model in models.items())


class MarianSubwords(tf.Module):
    """The subwords of one side. Its SentencePiece model cuts the text, and the list of pieces gives the ids.

    A piece that is not in the list is UNK. So is a control piece, `</s>` for example, that is typed in the text.
    A `>>code<<` before the text is one piece.
    """

    kind = "marian"
    normalization = "none"  # but for the rules in the models

    def __init__(self, pieces, data, side):
        super().__init__(name=f"marian_{side}")
        try:
            sentencepiece.SentencePieceProcessor().LoadFromSerializedProto(data)  # it refuses empty data too
        except RuntimeError as error:
            raise ValueError(f"{side}.spm is not a SentencePiece model, or it is damaged.") from error
        self.size = len(pieces)
        self._pieces = np.array(pieces, object)  # an array, because tf.Module tracks each item of a list
        self.sentencepiece_model = data
        self._resource = SentencePieceResource(data)
        words = pieces[NUM_RESERVED:]
        ids = np.arange(NUM_RESERVED, self.size, dtype=np.int32)
        self._ids = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, ids), UNK)
        proto = ModelProto.FromString(data)
        bytes_of = {entry.piece for entry in proto.pieces if entry.type == entry.BYTE}
        self.fallback_ids = np.array([UNK, *(i for i, piece in enumerate(pieces) if piece in bytes_of)])
        self._texts = tf.constant(_texts(pieces, proto))

    def piece(self, i):
        return str(self._pieces[i])

    def tokenize(self, strings):
        has_code = tf.strings.regex_full_match(strings, _CODE)
        code = tf.where(has_code, tf.strings.regex_replace(strings, _CODE, r"\1"), "")
        text = tf.where(has_code, tf.strings.regex_replace(strings, _CODE, r"\2"), strings)
        pieces, row_splits = sentencepiece_ops().sentencepiece_tokenize_op(
            self._resource.resource_handle, text, 0, 1.0, False, False, False, tf.string
        )  # best pieces, no sampling, no START, no END, not reversed
        ids = tf.RaggedTensor.from_row_splits(self._ids.lookup(pieces), row_splits, validate=False)
        codes = tf.ragged.boolean_mask(self._ids.lookup(code)[:, None], has_code[:, None])  # (N, 0 or 1)
        return tf.concat([codes, ids], axis=1)  # (N, pieces)

    def detokenize(self, ids):
        texts = tf.strings.reduce_join(tf.gather(self._texts, ids), axis=1)  # (N,)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        return tf.strings.regex_replace(texts, f"^{WHITE_SPACE}|{WHITE_SPACE}$", "")


def _texts(pieces, proto):
    """The text of each piece in UTF-8: list of bytes. A piece that this language's model lacks is its own text."""
    byte_pieces = {entry.piece for entry in proto.pieces if entry.type == entry.BYTE}
    texts = [piece.replace(SPACE, " ").encode() for piece in pieces]
    for i, piece in enumerate(pieces):
        if piece in byte_pieces:
            texts[i] = bytes([int(piece[3:5], 16)])  # "<0x41>"
    texts[UNK] = proto.trainer_spec.unk_surface.encode()
    return texts
