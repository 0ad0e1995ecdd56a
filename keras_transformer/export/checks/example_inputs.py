"""Example sentences, and inputs that fit the signatures of a SavedModel."""

import numpy as np

from keras_transformer.ids import END, NUM_RESERVED

LENGTHS = (1, 5, 17)  # the numbers of pieces of the example sentences
WIDTH = 4  # the size that an unknown dimension gets


def example_sentences(tokenizer, max_length):
    """A few sentences of pieces that the tokenizer has. The model has seen these pieces in training.

    Args:
        tokenizer: a `Tokenizer`, that of the source.
        max_length: the most tokens of a sentence, END counted.

    Returns:
        A list of strings: sentences of one, five and seventeen pieces from all parts of the vocabulary. Pieces that
        begin a word are preferred. Of a tokenizer with target languages, each sentence begins with the first one.
        Sentences over `max_length` are left out. If no sentence can be made, the list is one empty string.
    """
    pieces = list(enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size))))[NUM_RESERVED:]
    words = [i for i, piece in pieces if piece.strip("▁#").isalnum()]
    begin = [i for i in words if pieces[i - NUM_RESERVED][1].startswith("▁")] or words
    if not words:
        return [""]
    texts = [tokenizer.decode([begin[i * len(begin) // length] for i in range(length)]) for length in LENGTHS]
    if codes := getattr(tokenizer, "language_codes", ()):
        texts = [f"{codes[0]} {text}" for text in texts]
    short = [text for text, ids in zip(texts, tokenizer.encode(texts), strict=True) if len(ids) < max_length]
    return short or [""]


def fitting_inputs(signature, batch_size, sentences, translations=None):
    """A batch of inputs that fits a signature.

    Args:
        signature: `saved_model.Signature`.
        batch_size: B, the size of the first dimension where the signature leaves it open.
        sentences: strings for the inputs of dtype string, repeated up to B.
        translations: strings for an input named "translations". Default: the sentences.

    Returns:
        A dictionary of input name to array. Strings are those given. A row of integers is a short sequence that ends
        with END. Numbers are 1. Booleans are False.

    Raises:
        ValueError: an input whose rank is unknown, or an input of another dtype.
    """
    arrays = {}
    for name, tensor in signature.inputs.items():
        strings = translations if name == "translations" and translations is not None else sentences
        arrays[name] = _fitting_array(name, tensor, batch_size, [string.encode() for string in strings])
    return arrays


def _fitting_array(name, tensor, batch_size, strings):
    if tensor.shape is None:
        raise ValueError(f"The input {name!r} has an unknown rank. No array can be made for it.")
    shape = [size if size is not None else WIDTH if axis else batch_size for axis, size in enumerate(tensor.shape)]
    if tensor.dtype == "string":
        values = np.array(strings, object)
    elif tensor.dtype.startswith(("int", "uint")):
        row = [*range(NUM_RESERVED, NUM_RESERVED + WIDTH - 1), END]
        values = np.array(row, tensor.dtype)
    elif tensor.dtype == "bool":
        values = np.array([False])
    elif tensor.dtype in ("float16", "float32", "float64"):
        values = np.array([1], tensor.dtype)
    else:
        raise ValueError(
            f"The input {name!r} has the dtype {tensor.dtype}. Arrays can be made of strings, integers, booleans and "
            "float16, float32 or float64."
        )
    return np.resize(values, shape)
