"""The sentences of a call: checked, tokenized once, and with the limits of their translations."""

import os
from typing import NamedTuple

import keras

from keras_transformer.backend.forks import check_process
from keras_transformer.ids import UNK
from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.kinds import SentenceError, read_texts, shown
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.tokenizers import check_sizes, check_tokenizer, side_of
from keras_transformer.model import Transformer
from keras_transformer.translation.source_checks import check_codes, warn_of_decomposed


class Request(NamedTuple):
    """One sentence that shall be translated."""

    number: int  # its place in the list
    sentence: str
    source: list  # its ids, closed by END
    limit: int  # the most tokens of its translation, END counted
    prefix: list  # the ids that its translation must begin with


def check_batches(batch_size, workers=1):
    """Raise TypeError or ValueError if one is not a whole number of at least 1."""
    for argument, value in (("batch_size", batch_size), ("workers", workers)):
        whole(argument, value)


def read_requests(sentences, prefixes, pieces, options, positions):
    """A `Request` for each sentence.

    Args:
        sentences: a list of strings.
        prefixes: a list of as many strings, or None.
        pieces: `Pieces`.
        options: `SearchOptions`.
        positions: how many learned positions the models have, or None.

    Raises:
        SentenceError: a sentence that is too long for the learned positions, or that begins with a target language
            that the tokenizer does not have.
        ValueError: prefixes that are not as many as the sentences, or one that no translation can begin with.
        TypeError: prefixes that are no list of strings.
    """
    check_codes(sentences, pieces.codes)
    sources = pieces.sources(sentences)
    warn_of_decomposed(sentences, sources, pieces)
    limits = [options.limit(len(source)) for source in sources]
    requests = [Request(*row, []) for row in zip(range(len(sentences)), sentences, sources, limits, strict=True)]
    for request in requests:
        _check_positions(request, positions)
    return requests if prefixes is None else _with_prefixes(requests, prefixes, pieces)


def _with_prefixes(requests, prefixes, pieces):
    prefixes = read_texts("prefixes", prefixes)
    if len(prefixes) != len(requests):
        raise ValueError(
            f'prefixes must be as many as the sentences, "" for none: got {len(prefixes)} for {len(requests)}.'
        )
    pairs = zip(requests, pieces.prefixes(prefixes), strict=True)
    requests = [request._replace(prefix=ids) for request, ids in pairs]
    for request, text in zip(requests, prefixes, strict=True):
        _check_prefix(request, text)
    return requests


def _check_positions(request, positions):
    longest = max(len(request.source), request.limit)
    if positions is not None and longest > positions and not is_blank(request.sentence):
        raise SentenceError(
            request.number,
            f"has {len(request.source) - 1} pieces. With its END, or in a translation of up to {request.limit} tokens, "
            f"that is more than the model's {positions} learned positions: {request.sentence[:60]!r}.",
        )


def _check_prefix(request, text):
    ids = request.prefix
    if ids and is_blank(request.sentence):
        raise ValueError(
            f"sentence {request.number} is empty, and so is its translation: it cannot begin with {text!r}."
        )
    if UNK in ids:
        raise ValueError(
            f"the prefix of sentence {request.number} has text that the tokenizer has no piece for: {text!r}."
        )
    if len(ids) + 1 > request.limit:
        raise ValueError(
            f"the prefix of sentence {request.number} has {len(ids)} pieces. With END that is more than the "
            f"{request.limit} tokens that its translation may have: {text[:60]!r}."
        )


def check_pair(sentence, source, target, positions, number=0, name="the pair"):
    """Raise SentenceError if a pair of these ids has more tokens on a side than there are learned positions."""
    if positions is not None and max(len(source), len(target)) > positions:
        raise SentenceError(
            number,
            f"has {len(source)} and {len(target)} tokens, END counted. The model has {positions} learned positions: "
            f"{sentence[:60]!r}.",
            name,
        )


def check_backend():
    """Raise RuntimeError if Keras has another backend than TensorFlow, because the search is a TensorFlow graph.

    Raise it too in a process in which TensorFlow does not work, see `backend.forks`.
    """
    check_process()
    if (backend := keras.backend.backend()) != "tensorflow":
        raise RuntimeError(
            f"a Translator needs Keras' TensorFlow backend, and this process runs on {backend!r}. Save the model, by "
            "Checkpoint for example, and load the folder in a process with KERAS_BACKEND=tensorflow."
        )


def check_models(models, tokenizer):
    """Raise TypeError if an argument of `Translator` is of another kind, for example in another order."""
    order = "Translator(model, tokenizer)"
    for number, model in enumerate(models):
        if not isinstance(model, Transformer):
            name = "model" if len(models) == 1 else f"model[{number}]"
            hint = " Read a folder with Translator.load(folder)." if isinstance(model, str | os.PathLike) else ""
            raise TypeError(f"{name} must be a Transformer, got {shown(model)}.{hint} The order is {order}.")
    check_tokenizer(tokenizer, order, ("vocabulary_size", "encode", "pieces"))


def check_vocabulary(models, tokenizer, options):
    """Raise ValueError if models, tokenizer and `SearchOptions` have other pieces, or fewer than the beam needs."""
    for model in models:
        check_sizes(model, tokenizer)
    check_beam(options.beam_size, tokenizer)
    if options.shortlist is not None:
        options.shortlist.check_fits(tokenizer, options.beam_size)


def check_beam(beam_size, tokenizer):
    """Raise ValueError if the target has fewer pieces than a beam hypotheses."""
    size = side_of(tokenizer, "target").vocabulary_size
    if beam_size > size:
        raise ValueError(f"beam_size={beam_size} is wider than the vocabulary of {size} pieces.")
