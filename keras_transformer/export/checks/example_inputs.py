"""What to ask a SavedModel that one has never met: inputs that fit its signatures."""

import numpy as np

from keras_transformer.ids import END, NUM_RESERVED

LENGTHS = (1, 5, 17)  # pieces of an example sentence
WIDTH = 4  # of an open dimension


def example_sentences(tokenizer, longest):
    """A few sentences out of the tokenizer's own pieces, so that the model has learnt what is in them.

    Args:
        tokenizer: a `Tokenizer`.
        longest: the most tokens of a sentence, END counted.

    Returns:
        A list of strings: one, five and seventeen pieces from across the vocabulary, beginnings of words if
        there are any, as far as they are not too long; else one empty string.
    """
    pieces = list(enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size))))[NUM_RESERVED:]
    words = [i for i, piece in pieces if piece.strip("▁#").isalnum()]
    begin = [i for i in words if pieces[i - NUM_RESERVED][1].startswith("▁")] or words
    if not words:
        return [""]
    found = [tokenizer.decode([begin[i * len(begin) // length] for i in range(length)]) for length in LENGTHS]
    fitting = [text for text, ids in zip(found, tokenizer.encode(found), strict=True) if len(ids) < longest]
    return fitting or [""]


def fitting_inputs(signature, batch_size, sentences, translations=None):
    """A batch for a signature, its open dimensions filled.

    Args:
        signature: `saved_model.Signature`.
        batch_size: B, the size of an open first dimension.
        sentences: strings, for the inputs of dtype string; repeated to B.
        translations: strings, for an input of the name "translations". Default: the sentences.

    Returns:
        A dictionary of input names to arrays: strings as given; integers a small sequence that closes
        with END; numbers 1; truth values False.

    Raises:
        ValueError: an input of open rank or of another dtype.
    """
    arrays = {}
    for name, tensor in signature.inputs.items():
        given = translations if name == "translations" and translations is not None else sentences
        arrays[name] = _array(name, tensor, batch_size, [sentence.encode() for sentence in given])
    return arrays


def _array(name, tensor, batch_size, strings):
    if tensor.shape is None:
        raise ValueError(f"the input {name!r} has an open rank: nothing is known that fits it.")
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
        raise ValueError(f"the input {name!r} is of dtype {tensor.dtype}: nothing is known that fits it.")
    return np.resize(values, shape)
