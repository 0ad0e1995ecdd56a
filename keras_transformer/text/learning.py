"""Learn the pieces of a tokenizer from texts."""

import io
import itertools
import random
import re
import unicodedata

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK
from keras_transformer.inputs.blank import is_blank
from keras_transformer.text.subwords import NORMALIZATIONS, RESERVED_PIECES, SPACE, wordpiece_header

MODELS = ("bpe", "unigram", "wordpiece")
MAX_LINES = 1_000_000  # of a larger corpus, a random sample of this many lines is used
CHARACTER_COVERAGE = 0.99998  # the rarest 1 in 50,000 characters are written as bytes and have no piece


def check_kind(vocabulary_size, model, normalization):
    """Refuse a size, a kind or a normal form that no tokenizer has.

    Args:
        vocabulary_size, model, normalization: see `Tokenizer.train`.

    Raises:
        ValueError, TypeError: one is wrong. The message says what is allowed.
    """
    if model not in MODELS:
        raise ValueError(f"model={model!r} is unknown. The models are {', '.join(map(repr, MODELS))}.")
    if normalization not in NORMALIZATIONS:
        known = ", ".join(map(repr, NORMALIZATIONS))
        raise ValueError(f"normalization={normalization!r} is unknown. Known are {known}.")
    if not hasattr(vocabulary_size, "__index__") or isinstance(vocabulary_size, bool):
        raise TypeError(f"vocabulary_size must be an int, got {vocabulary_size!r}.")
    if vocabulary_size <= NUM_RESERVED:
        raise ValueError(
            f"vocabulary_size={vocabulary_size} must be above {NUM_RESERVED}, the number of special pieces."
        )


def learn(corpora, vocabulary_size, model, normalization, options):
    """The bytes of a tokenizer file, learned from texts. `subwords.read` reads them.

    Args:
        corpora: list of `Corpus`. Each is read once.
        vocabulary_size, model, normalization: see `Tokenizer.train`.
        options: {name: value}, options of SentencePiece's trainer, checked.

    Raises:
        ValueError: a corpus has no text or is not UTF-8, or `vocabulary_size` or an option does not suit the texts.
    """
    lines, alphabet = read_sample(_read_sentences(corpora, normalization))
    parts = (part for line in lines for part in line.split("\u2585"))  # the trainer skips lines with its own mark, ▅
    if model == "wordpiece":
        return wordpiece_header(normalization) + _learn_wordpiece(parts, alphabet, vocabulary_size)
    settings = {"byte_fallback": True, "character_coverage": CHARACTER_COVERAGE, **options}
    if "user_defined_symbols" in options:
        symbols = [normalized(text, normalization) for text in options["user_defined_symbols"]]
        settings["user_defined_symbols"] = [text.replace(" ", SPACE) for text in symbols]
    if wrong := alphabet.intersection(options.get("control_symbols", ())):
        raise ValueError(
            f"control_symbols has {min(wrong)!r}, a character of the texts. A control symbol is no text: choose "
            f"another name, for example {f'<{min(wrong)}>'!r}."
        )
    if model == "bpe":  # the trainer ends the process if it has never seen a required character
        parts = itertools.chain(parts, sorted(set(options.get("required_chars", "")) - alphabet))
    data = _run_trainer(parts, vocabulary_size, model, model_type=model, **settings)
    if normalization == "none":
        return data
    proto = ModelProto.FromString(data)
    proto.normalizer_spec.name = normalization  # SentencePiece itself goes by other fields
    return proto.SerializeToString(deterministic=True)


def normalized(text, normalization):
    """A text in a normal form of Unicode, or as it is for "none"."""
    return text if normalization == "none" else unicodedata.normalize(normalization.upper(), text)


def _read_sentences(corpora, normalization):
    """Yield the texts of the corpora that are not blank.

    Raises:
        ValueError: a corpus has no such text, or a text that no corpus may have.
    """
    for corpus in corpora:
        has_text = False
        for number, text in enumerate(corpus.read()):
            corpus.check_texts([text], number)
            if not is_blank(text):
                has_text = True
                yield normalized(text, normalization)
        if not has_text:
            raise ValueError(f"{corpus.name} holds no text. Give {corpus.unit} with a sentence each.")


def read_sample(texts):
    """All texts, or a random sample of `MAX_LINES`, which is the same each time; and the characters of all texts.

    The texts are read once. The sample keeps their order.
    """
    luck, sample, alphabet = random.Random(0), [], set()
    for number, text in enumerate(texts):
        alphabet.update(text)
        if number < MAX_LINES:
            sample.append((number, text))
        elif (place := luck.randrange(number + 1)) < MAX_LINES:
            sample[place] = number, text
    return [text for _, text in sorted(sample)], alphabet


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
            sentence_iterator=iter(lines),
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
    except (RuntimeError, OSError) as error:  # OSError is its word for a wrong value
        raise _explained(error, vocabulary_size, model, options) from error
    return serialized.getvalue()


def _explained(error, vocabulary_size, model, options):
    """The trainer's error in our words. An error about the vocabulary's size names the limit."""
    message = str(error)
    if least := re.search(r"smaller than required_chars\. -?\d+ vs (\d+)", message):
        return _too_small(vocabulary_size, model, int(least[1]))
    if most := re.search(r"Please set it to a value <= (\d+)", message):
        return ValueError(
            f"vocabulary_size={vocabulary_size} is too large: model={model!r} learns at most {most[1]} pieces "
            "from these texts."
        )
    given = ", ".join(
        f"{name}={value!r}" for name, value in {"model": model, **options}.items() if name != "model_type"
    )
    reason = " ".join(message.split())
    return ValueError(f"SentencePiece cannot learn vocabulary_size={vocabulary_size}, {given}: {reason}")


def _too_small(vocabulary_size, model, least):
    return ValueError(
        f"vocabulary_size={vocabulary_size} is too small: model={model!r} needs at least {least} for the special "
        "pieces and the single characters of these texts."
    )
