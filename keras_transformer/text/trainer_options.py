"""The options of SentencePiece's trainer that `Tokenizer.train` passes on."""

from sentencepiece.sentencepiece_model_pb2 import NormalizerSpec, TrainerSpec

from keras_transformer.inputs.kinds import check_text, read_texts, shown
from keras_transformer.inputs.options import check_options

# Lists of strings.
LISTS = ("user_defined_symbols", "control_symbols")
# Each changes which pieces are learned, and none changes the ids of the special pieces or loses text.
OPTIONS = (
    *LISTS,
    "required_chars",
    "character_coverage",
    "byte_fallback",
    "max_sentencepiece_length",
    "split_digits",
    "split_by_number",
    "split_by_unicode_script",
    "split_by_whitespace",
    "allow_whitespace_only_pieces",
    "add_dummy_prefix",
    "hard_vocab_limit",
    "seed_sentencepiece_size",
    "shrinking_factor",
    "num_sub_iterations",
    "num_threads",
)
_THEIRS = {*TrainerSpec.DESCRIPTOR.fields_by_name, *NormalizerSpec.DESCRIPTOR.fields_by_name}


def read_options(given, own, model):
    """The given options of the trainer, checked: {name: value}.

    Args:
        given: {name: value}.
        own: the names of the other options of `Tokenizer.train`.
        model: the kind of the tokenizer.

    Raises:
        TypeError: an unknown option; the message has the nearest name and the list of all. Or a list of strings that
            is none.
        ValueError: an option that has no meaning here; the message says why.
    """
    for name in given:
        if name in _THEIRS and name not in OPTIONS:
            raise ValueError(
                f"{name} is an option of SentencePiece that Tokenizer.train sets itself. The options are: "
                f"{', '.join([*own, *OPTIONS])}."
            )
    check_options(given, [*own, *OPTIONS], "Tokenizer.train")
    if given and model == "wordpiece":
        raise ValueError(f"model='wordpiece' takes no options of SentencePiece, got {', '.join(given)}.")
    options = dict(given)
    for name, value in given.items():
        if name in LISTS:
            options[name] = read_texts(name, value)
            if special := {"<pad>", "<unk>", "<s>", "</s>"}.intersection(options[name]):
                raise ValueError(f"{name} has {min(special)!r}, which is the name of a special piece.")
            if "" in options[name]:
                raise ValueError(f"{name}[{options[name].index('')}] is an empty text, which is no piece.")
        elif name == "required_chars":
            check_text(name, value)
        elif not isinstance(value, bool | int | float):
            raise TypeError(f"{name} must be a number, or True or False, got {shown(value)}.")
    return options
