"""Learn the pieces of a tokenizer from text files."""

import io
import random
import re

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.files import read_lines
from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.text.subwords import RESERVED_PIECES, SPACE

MODELS = ("bpe", "unigram", "wordpiece")
MAX_LINES = 1_000_000  # of a larger corpus, a random sample of this many lines is used
CHARACTER_COVERAGE = 0.99998  # the rarest 1 in 50,000 characters are written as bytes and have no piece


def learn(files, vocabulary_size, model):
    """The bytes of a tokenizer file, learned from text files. `subwords.read` reads them.

    Raises:
        ValueError: a file has no text or is not UTF-8, or `vocabulary_size` does not suit the files.
    """
    num_lines, alphabet = 0, set()
    for line in _read_sentences(files):
        num_lines += 1
        alphabet.update(line)
    lines = sample_lines(files, num_lines)
    if model == "wordpiece":
        return _learn_wordpiece(lines, alphabet, vocabulary_size)
    return _run_trainer(
        lines, vocabulary_size, model, model_type=model, byte_fallback=True, character_coverage=CHARACTER_COVERAGE
    )


def _read_sentences(files):
    """Yield the lines of the files that are not blank.

    Raises:
        ValueError: a file has no such line.
    """
    for path in files:
        is_blank = True
        for line in read_lines(path):
            if line.strip():
                is_blank = False
                yield line
        if is_blank:
            raise ValueError(f"{path} holds no text. Give files with one sentence a line.")


def sample_lines(files, num_lines):
    """Yield all of the `num_lines` lines, or a random sample of `MAX_LINES`, which is the same each time."""
    luck, left, wanted = random.Random(0), num_lines, min(num_lines, MAX_LINES)
    for line in _read_sentences(files):
        if luck.random() * left < wanted:
            wanted -= 1
            yield from line.split("\u2585")  # the trainer uses this character itself, and skips lines that have it
        left -= 1


def _learn_wordpiece(lines, alphabet, vocabulary_size):
    """Learn a WordPiece vocabulary: UTF-8 bytes, one piece a line, the special pieces first.

    The pieces are the merges of BPE. Each word begins with "▁", so a piece without it is inside a word.
    """
    alphabet = alphabet - {" ", SPACE, "\0"}  # the op's vocabulary cannot hold NUL
    base = [*RESERVED_PIECES, SPACE, *(f"##{character}" for character in sorted(alphabet))]
    if vocabulary_size < len(base):
        raise _too_small(vocabulary_size, "wordpiece", len(base))
    data = _run_trainer(lines, vocabulary_size, "wordpiece", model_type="bpe", character_coverage=1.0)
    learned = [entry.piece for entry in ModelProto.FromString(data).pieces if entry.type == entry.NORMAL]
    merges = [piece if piece.startswith(SPACE) else f"##{piece}" for piece in learned if len(piece) > 1]
    return "".join(f"{piece}\n" for piece in [*base, *merges][:vocabulary_size]).encode()


def _run_trainer(lines, vocabulary_size, model, **options):
    """Run SentencePiece's trainer with our ids and without its log. Returns the serialized SentencePiece model."""
    serialized = io.BytesIO()
    sentencepiece.set_min_log_level(2)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=serialized,
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
    return serialized.getvalue()


def _explained(error, vocabulary_size, model):
    """The trainer's error in our words. An error about the vocabulary's size names the limit."""
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
