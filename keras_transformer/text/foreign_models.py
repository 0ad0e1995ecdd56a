"""SentencePiece models that were trained elsewhere, with their pieces in the order of our ids."""

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.ids import END, PAD, START, UNK

NAMES = {PAD: "<pad>", UNK: "<unk>", START: "<s>", END: "</s>"}  # of pieces that a model lacks
FIELDS = {PAD: "pad_id", UNK: "unk_id", START: "bos_id", END: "eos_id"}  # of the model's specification


def rearranged(data):
    """The bytes of a SentencePiece model with PAD, UNK, START and END first.

    The other pieces follow in their order. A special piece that the model lacks is added.

    Raises:
        ValueError: the bytes are no SentencePiece model, or two special pieces of it are the same.
    """
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise ValueError("no SentencePiece model, or a damaged one.") from error
    proto = ModelProto.FromString(data)
    pieces = {entry.piece: entry for entry in proto.pieces}
    special = []
    for i, field in FIELDS.items():
        theirs = getattr(processor, field)()
        entry = proto.pieces[theirs] if theirs >= 0 else pieces.get(NAMES[i])
        if entry is None:
            entry = ModelProto.SentencePiece(piece=NAMES[i], score=0, type=ModelProto.SentencePiece.CONTROL)
        elif entry.type == entry.NORMAL:
            raise ValueError(f"its piece {entry.piece!r} is text, so it cannot be the special piece of id {i}.")
        special.append(entry)
        setattr(proto.trainer_spec, field, i)
    names = [entry.piece for entry in special]
    if len(set(names)) < len(names):
        raise ValueError(f"its pad, unk, bos, eos pieces are {', '.join(names)}; required are four different ones.")
    others = [entry for entry in proto.pieces if entry.piece not in names]
    ordered = ModelProto()
    ordered.CopyFrom(proto)
    del ordered.pieces[:]
    ordered.pieces.extend([*special, *others])
    ordered.trainer_spec.vocab_size = len(ordered.pieces)
    for field, name in zip(("pad_piece", "unk_piece", "bos_piece", "eos_piece"), names, strict=True):
        setattr(ordered.trainer_spec, field, name)
    return ordered.SerializeToString(deterministic=True)
