"""Refuse data that do not fit a model: a corpus and arrays before the first step, other data with their first misfit.

A lookup of an id that the model does not know is an error on a processor. XLA and GPUs read another row instead.
"""

import contextlib
import re
import sys
import types
from typing import NamedTuple

import keras
import numpy as np

from keras_transformer.backend.values import first_unknown_id
from keras_transformer.ids import PAD
from keras_transformer.train_step.argument_kinds import check_array, check_data, check_inputs

MARK = "data that do not fit the model: "  # errors of a dataset begin so, and `one_line_errors` looks for it


class Limits(NamedTuple):
    """What a model allows on one side of its inputs."""

    argument: str  # the model's argument that is `size`
    size: int  # V: ids are in [0, V)
    longest: int | None  # positions, None for any number


def checked(model, x, y, name, sample_weight=None):
    """`x`, checked now if it is a corpus or arrays, else with a check of each batch that is read from it.

    Args:
        model: a `TokenTraining`.
        x, y, sample_weight: arguments of `fit`, `evaluate` or `predict`.
        name: what `x` is called in errors.

    Raises:
        TypeError, ValueError: data of another kind, or that do not fit the model. The error of a later batch is raised
            by `one_line_errors`.
    """
    limits = model.input_limits
    if not limits:
        return x
    check_data(name, x)
    if hasattr(x, "vocabulary_sizes"):
        check_corpus(model, x, name)
        return x
    if is_tensorflow_dataset(x):
        from keras_transformer.train_step.tensorflow_data import checked_dataset

        return checked_dataset(limits, x, name)
    if isinstance(x, types.GeneratorType):
        return (_checked_batch(limits, batch, name) for batch in x)
    if isinstance(x, keras.utils.PyDataset):
        return CheckedPyDataset(limits, x, name)
    if not hasattr(x, "__next__"):
        check_arrays(limits, x, y, name, sample_weight)
    return x


def is_tensorflow_dataset(x):
    """Whether `x` is a `tf.data.Dataset`. On other backends TensorFlow may not be there."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(x, tensorflow.data.Dataset)


def shuffles_itself(x):
    """Whether `x` gives its batches in an order of its own, which `fit` cannot shuffle."""
    return not isinstance(x, keras.utils.PyDataset) and not arrays_in(x)


def arrays_in(x):
    """The arrays of `x`, none if it is a dataset or a generator."""
    return [each for each in keras.tree.flatten(x) if getattr(each, "shape", ())]


def check_corpus(model, corpus, name):
    """Compare what a corpus knows of itself with the model.

    Args:
        model: a `TokenTraining` with `input_limits`.
        corpus: what `parallel_corpus` returned: it has `vocabulary_sizes` and a `report`.
        name: its name in errors.

    Raises:
        ValueError: the tokenizer has another number of pieces than the model, or two vocabularies where the model has
            one; or a batch is longer than the model's positions.
    """
    limits, sizes = model.input_limits, corpus.vocabulary_sizes
    for side, limit in limits.items():
        size = sizes[side]
        if size != limit.size:
            remedy = f"make the model with {limit.argument}={size}"
            if [sizes["target"], sizes["source"]] == [limits["source"].size, limits["target"].size]:
                remedy = "source and target seem to be exchanged, here or in the model"
            raise ValueError(
                f"{name}: the tokenizer of this corpus has {size} {side} pieces and the model's {limit.argument} is "
                f"{limit.size}. They must be equal: {remedy}."
            )
        length = max(getattr(shape, side) for shape in corpus.report.shapes)
        if limit.longest is not None and length > limit.longest:
            raise ValueError(
                f"{name}: the longest {side} batch of this corpus has {length} positions, and the model has learned "
                f"positions for max_length={limit.longest}. Make the model with max_length={length}, or the corpus "
                f"with max_length={limit.longest}."
            )
    if model.has_one_vocabulary and not getattr(corpus, "has_one_vocabulary", True):
        raise ValueError(
            f"{name}: the TokenizerPair of this corpus has two vocabularies, and the model has tie_embeddings='all', "
            "one matrix for the pieces of both. Make the model with tie_embeddings='target' or 'none'."
        )


def check_arrays(limits, x, y, name, sample_weight=None):
    """Check a batch or a whole set of arrays.

    Args:
        limits: the model's `input_limits`.
        x: {"source": (B, S), "target": (B, T)} or a pair of these.
        y: labels (B, T), or None.
        sample_weight: a weight for each sentence, (B,), or for each label, (B, T); or None.
        name: the name of `x` in errors.

    Raises:
        ValueError: an array of other than two axes; an id that is no whole number or that the model does not know;
            a row that is longer than the model's positions, or that has padding before a token; labels of another
            shape than the target.
    """
    parts = named_parts(x, y, name)
    for side, (title, values) in parts.items():
        limit = limits["target" if side == "labels" else side]
        check_array(title, values)
        values = keras.ops.convert_to_numpy(values)
        check_shape(title, values.shape, limit)
        if 0 in values.shape:
            raise ValueError(f"{title} must have at least one row and one position, got the shape {values.shape}.")
        if values.dtype == object or not np.issubdtype(values.dtype, np.number):
            raise ValueError(no_numbers(title, values.dtype))
        check_ids(title, values, limit)
        if side != "labels":  # labels of 0 leave tokens out of the loss, which is allowed anywhere
            check_padding(title, values)
    if "target" in parts and "labels" in parts:
        (title, target), (labels_title, labels) = parts["target"], parts["labels"]
        if np.shape(target) != np.shape(labels):
            raise ValueError(unequal_shapes(title, np.shape(target), labels_title, np.shape(labels)))
        if sample_weight is not None:
            check_weights(name, sample_weight, np.shape(labels))


def check_weights(name, weights, shape):
    """Refuse weights that are neither one for each sentence nor one for each label, or that are no finite numbers.

    Args:
        name: the name of the data.
        weights: the weights.
        shape: that of the labels, (B, T).
    """
    title = "sample_weight" if name == "x" else f"the sample_weight of {name}"
    weights = np.asarray(keras.ops.convert_to_numpy(weights))
    rows, length = shape
    if weights.shape not in ((rows,), (rows, 1), (rows, length)):
        raise ValueError(
            f"{title} must have a weight for each sentence, ({rows},), or for each label, ({rows}, {length}), got the "
            f"shape {weights.shape}."
        )
    if weights.dtype == object or not np.isfinite(weights).all():
        raise ValueError(f"{title} must hold finite numbers. It holds others.")


def only_labels(y):
    """The labels, also if they are the only ones in a list or a dictionary: Keras takes those of each output so."""
    if isinstance(y, (dict, list, tuple)) and len(y) == 1:
        [y] = y.values() if isinstance(y, dict) else y
    return y


def named_parts(x, y, name):
    """The parts of a batch that have the form of the model's inputs: {side: (title, values)}, without those of None."""
    if isinstance(x, dict):
        parts = {side: (f"{name}['{side}']", x.get(side)) for side in ("source", "target")}
    elif isinstance(x, (tuple, list)) and len(x) == 2:
        parts = {side: (f"{name}[{index}]", x[index]) for index, side in enumerate(("source", "target"))}
    else:
        return {}  # Keras says what is wrong
    y = only_labels(y)
    if y is not None and not isinstance(y, (dict, tuple, list)):
        parts["labels"] = ("y" if name == "x" else f"the labels of {name}", y)
    return {side: part for side, part in parts.items() if hasattr(part[1], "shape")}


def check_ids(title, values, limit):
    """Refuse a NumPy array with a number that is no id of the model."""
    found = first_unknown_id(values, limit.size)
    if found is not None:
        raise ValueError(unknown_id(title, limit) + f" {found[0]} at {found[1]}.")


def check_padding(title, values):
    """Refuse a NumPy array with padding before a token. The positions of a sentence begin with its first token."""
    broken = (values[:, :-1] == PAD) & (values[:, 1:] != PAD)
    if broken.any():
        raise ValueError(f"{padding_in_front(title)} it before a token in row {np.argmax(broken.any(axis=1))}.")


def check_shape(title, shape, limit):
    """Refuse, from what is known of a shape, an array without two axes or with more positions than the model has."""
    if len(shape) != 2:
        remedy = f"One sentence is {title}[None]" if len(shape) == 1 else "Reshape it first"
        raise ValueError(f"{title} must have the shape (sentences, positions), got {tuple(shape)}. {remedy}.")
    if limit.longest is not None and shape[1] is not None and shape[1] > limit.longest:
        raise ValueError(too_long(title, limit) + f" {shape[1]}.")


def no_numbers(title, dtype):
    """The error of an array of another dtype."""
    return f"{title} must hold ids, whole numbers, got an array of {dtype}. A Tokenizer makes ids of text."


def unknown_id(title, limit):
    """The error of an id, up to its value."""
    return (
        f"{title} must hold ids from 0 to {limit.size - 1}, whole numbers, because the model has "
        f"{limit.argument}={limit.size}, got"
    )


def padding_in_front(title):
    """The error of padding before a token, up to its row."""
    return f"{title} must have padding, the id {PAD}, only at the end of a row (pad_sequences with padding='post'), got"


def too_long(title, limit):
    """The error of a row, up to its length."""
    return f"{title} must have at most max_length={limit.longest} positions, which the model has learned, got"


def unequal_shapes(title, shape, labels_title, labels_shape):
    """The error of labels that are not one for each position of the target."""
    return (
        f"{labels_title} must have the shape of {title}, a label for each position: "
        f"{tuple(shape)}, got {tuple(labels_shape)}."
    )


@contextlib.contextmanager
def one_line_errors():
    """A block in which the errors of checked datasets become errors of one line."""
    try:
        yield
    except Exception as error:
        found = re.search(re.escape(MARK) + r"(.*?), got\] \[([-+.\w ]+)\]", str(error), re.DOTALL)
        found = found or re.search(r"(indices)\S* = (-?\d+) is not in \[0, \d+\)", str(error))
        if found is None or isinstance(error, ValueError):
            raise
        if found[1] == "indices":
            raise ValueError(f"the data hold the id {found[2]}, which the model does not know: {found[0]}.") from error
        text = found[1].replace("\\'", "'")  # TensorFlow escapes quotes
        raise ValueError(f"{text}, got {found[2]}.") from error


def _checked_batch(limits, batch, name):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    check_inputs(name, x)
    check_arrays(limits, x, y, name, sample_weight)
    return batch


class CheckedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked.

    Args:
        limits: the model's `input_limits`.
        dataset: the `PyDataset`.
        name: its name in errors.
    """

    def __init__(self, limits, dataset, name):
        workers = {key: getattr(dataset, key) for key in ("workers", "use_multiprocessing", "max_queue_size")}
        super().__init__(**workers)
        self.limits, self.dataset, self.name = limits, dataset, name

    def __getitem__(self, index):
        return _checked_batch(self.limits, self.dataset[index], self.name)

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()
