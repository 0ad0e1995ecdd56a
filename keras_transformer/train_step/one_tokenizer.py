"""Refuse to train with several tokenizers: equal sizes do not say that equal ids are equal pieces."""

import functools

from keras_transformer.inputs.tokenizers import SIDES
from keras_transformer.train_step.callbacks import callbacks_of
from keras_transformer.train_step.settings import warn_once

REMEDY = "Use one tokenizer for corpus, validation and callbacks."


def check_one_tokenizer(model, given):
    """Compare the tokenizers that `fit` can see with that of the training data.

    Args:
        model: the model.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: `validation_data` or a callback has a tokenizer with other pieces.
    """
    ours = _by_side(getattr(given.get("x"), "tokenizer_fingerprint", None))
    _compare(
        ours, getattr(given.get("validation_data"), "tokenizer_fingerprint", None), "validation_data was made with"
    )
    for callback in callbacks_of(given.get("callbacks")):
        name = type(callback).__name__
        _compare(ours, _fingerprint_of(callback), f"callbacks: {name} has")
        translate = getattr(callback, "translate", None)
        while isinstance(translate, functools.partial):
            translate = translate.func
        models = getattr(translate, "models", None)
        if not isinstance(models, tuple):  # a function that we do not know
            continue
        if not any(each is model for each in models):
            warn_once(
                model,
                f"model of {name}",
                f"callbacks: {name} translates with another model than the one in training. Its values do not show how "
                f"this one learns. Give it Translator(model, tokenizer) of this model.",
            )
        else:
            _compare(ours, _fingerprint_of(translate), f"callbacks: the Translator of {name} has")


def _fingerprint_of(owner):
    return getattr(getattr(owner, "tokenizer", None), "fingerprint", None)


def _by_side(fingerprint):
    """{"source": str, "target": str}, also of one tokenizer for both sides; None if it is not known."""
    return dict.fromkeys(SIDES, fingerprint) if isinstance(fingerprint, str) else fingerprint


def _compare(ours, theirs, whose):
    theirs = _by_side(theirs)
    if ours is not None and theirs is not None and ours != theirs:
        raise ValueError(f"{whose} another tokenizer than x: the same ids are other pieces. {REMEDY}")
