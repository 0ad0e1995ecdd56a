"""Refuse arguments of `fit` and `compile` of the wrong kind, where Keras would say something else, or nothing."""

import collections.abc
import os
import types

import keras

from keras_transformer.inputs.kinds import columns_of, shown
from keras_transformer.inputs.numbers import rate, whole

SIDES = ("source", "target")
NOT_DENSE = {  # tensors of TensorFlow, and how to make arrays of them
    "RaggedTensor": "Fill short rows with 0: ragged.to_tensor().",
    "SparseTensor": "Fill the gaps with 0: tf.sparse.to_dense(sparse).",
}
REMEDY = "Give parallel_corpus(source, target, tokenizer), or {'source': ids, 'target': ids} and y=labels."


def check_data(name, x):
    """Refuse what is neither a dataset nor arrays of ids for both sides.

    Args:
        name: of the argument.
        x: its value.

    Raises:
        TypeError: text, a path, a table, one array, an iterator that Keras does not take, or nothing.
        ValueError: a dictionary without "source" and "target".
    """
    if isinstance(x, dict):
        check_inputs(name, x)
        return
    must = f"{name} must be a dataset, or ids of source and target, got"
    if columns_of(x) is not None:
        raise TypeError(f"{must} a table ({type(x).__name__}). {REMEDY}")
    if x is None or isinstance(x, str | bytes | int | float | os.PathLike):
        raise TypeError(f"{must} {shown(x)}. {REMEDY}")
    if isinstance(x, list | tuple) and (not x or not all(hasattr(each, "shape") for each in x)):
        raise TypeError(f"{must} a list with {shown(x[0]) if x else 'nothing'}. {REMEDY}")
    if getattr(x, "shape", None) is not None:
        raise TypeError(f"{must} one array of shape {tuple(x.shape)}. {REMEDY}")
    if hasattr(x, "__next__") and not isinstance(x, types.GeneratorType):
        raise TypeError(f"{must} a {type(x).__name__}. {REMEDY} A generator works: (batch for batch in x).")


def check_inputs(name, x):
    """Refuse the inputs of a batch that are not ids of both sides.

    Args:
        name: of the data.
        x: the inputs, or what is known of them.

    Raises:
        TypeError: neither a dictionary nor a pair, or what is no array in them.
        ValueError: a dictionary without "source" and "target".
    """
    if isinstance(x, dict):
        if missing := [side for side in SIDES if side not in x]:
            raise ValueError(f"{name} has no {missing[0]!r}, only {', '.join(map(repr, x)) or 'nothing'}. {REMEDY}")
        parts = {f"{name}[{side!r}]": x[side] for side in SIDES}
    elif isinstance(x, list | tuple) and len(x) == len(SIDES):
        parts = {f"{name}[{place}]": each for place, each in enumerate(x)}
    else:
        got = f"{len(x)} parts" if isinstance(x, list | tuple) else shown(x)
        if getattr(x, "shape", None) is not None:
            got = f"one array of shape {x.shape}"  # of a dataset, it may be unknown
        raise TypeError(
            f"the inputs of a batch of {name} must be {{'source': ids, 'target': ids}}, or a pair of these, got {got}. "
            "Each batch is (inputs, labels)."
        )
    for title, ids in parts.items():
        check_array(title, ids)


def check_array(title, ids):
    """Refuse what is no array of numbers, with rows of one length.

    Args:
        title: what the ids are called in errors.
        ids: the value.

    Raises:
        TypeError: a list, text, a ragged or a sparse tensor, or None.
    """
    if type(ids).__name__ in NOT_DENSE:
        raise TypeError(f"{title} must be an array of ids, got a {type(ids).__name__}. {NOT_DENSE[type(ids).__name__]}")
    is_array = hasattr(ids, "shape") and (hasattr(ids, "dtype") or type(ids).__module__.partition(".")[0] == "pandas")
    if not is_array:
        remedy = " A Tokenizer makes ids of text." if isinstance(ids, str) else ""
        if isinstance(ids, list | tuple):
            remedy = " Make one with np.array, and fill short rows with 0."
        raise TypeError(f"{title} must be an array of ids, got {shown(ids)}.{remedy}")


def check_labels(x, y, name="x", outputs=1):
    """Refuse arrays without labels, and labels that are no array.

    Args:
        x: the data, which are called `name`.
        y: the labels.
        outputs: how many outputs of the model have labels; None if that is not known.

    Raises:
        ValueError: `x` holds arrays, and `y` is None; or `x` is a dataset of inputs only.
        TypeError: `y` is a list of numbers or of rows, for example.
    """
    if hasattr(x, "element_spec") and keras.utils.unpack_x_y_sample_weight(x.element_spec)[1] is None:
        raise ValueError(f"{name} has no labels: each of its batches must be (inputs, labels).")
    if y is None and isinstance(x, dict | list | tuple):
        if name != "x":
            raise ValueError(f"{name} has no labels. Give {name}=(inputs, labels): the ids that follow the target's.")
        raise ValueError("y is missing, and x holds arrays. Give y=labels: the ids that follow each id of the target.")
    is_of_keras = isinstance(y, dict | list | tuple) and all(hasattr(each, "shape") for each in _values(y))
    title = "y" if name == "x" else f"the labels of {name}"
    if y is not None and not is_of_keras:  # Keras also takes the labels of each output in a list or a dictionary
        check_array(title, y)
    if is_of_keras and outputs is not None and len(y) != outputs:
        raise TypeError(
            f"{title} must be one array of labels, got a {type(y).__name__} of {len(y)} arrays. If they are rows of "
            "one length, np.stack makes one array of them."
        )


def _values(y):
    return list(y.values()) if isinstance(y, dict) else y


def check_numbers(given):
    """Refuse numbers of `fit`, `evaluate` and `predict` of the wrong kind.

    Args:
        given: the arguments, by name.

    Raises:
        ValueError: a number is none, or `batch_size` comes with data that have batches already.
    """
    for name in ("epochs", "initial_epoch"):
        if name in given:
            whole(name, given[name], 0)
    for name in ("batch_size", "steps_per_epoch", "steps", "validation_batch_size", "validation_steps"):
        if given.get(name) is not None:
            whole(name, given[name])
    if "validation_split" in given:
        rate("validation_split", given["validation_split"])
    frequency = given.get("validation_freq", 1)
    if isinstance(frequency, collections.abc.Collection) and not isinstance(frequency, str | bytes):
        for number, epoch in enumerate(frequency):
            whole(f"validation_freq[{number}]", epoch)
    else:
        whole("validation_freq", frequency)
    if given.get("batch_size") is not None and has_batches(given.get("x")):
        raise ValueError(
            f"batch_size={given['batch_size']} is for arrays, and x has batches already. Leave it out. A corpus has "
            "tokens_per_batch."
        )


def has_batches(x):
    """Whether `x` is a dataset or a generator: its batches are made."""
    return hasattr(x, "element_spec") or hasattr(x, "__next__") or isinstance(x, keras.utils.PyDataset)


def check_batch(x):
    """Refuse a dataset where one batch is meant."""
    if has_batches(x):
        raise TypeError(
            f"x must be the inputs of one batch, got a {type(x).__name__}. Give the parts of a batch, "
            "train_on_batch(*batch), or call fit."
        )


def check_compiled(model):
    """Raise ValueError if a model is not compiled."""
    if not model.compiled:
        raise ValueError("the model is not compiled. Call compile(optimizer, loss=LabelSmoothedCrossEntropy()) first.")


def check_fit(model, given):
    """Refuse a model that is not compiled, and callbacks of the wrong kind.

    Args:
        model: the model.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: the model is not compiled.
        TypeError: a callback is none.
    """
    check_compiled(model)
    if model.optimizer is None:
        raise ValueError("the model was compiled without an optimizer. Call compile(optimizer, loss) first.")
    callbacks = given.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return
    for number, callback in enumerate(keras.tree.flatten(callbacks or [])):
        refuse_class(f"callbacks[{number}]", callback)
        if not hasattr(callback, "set_model"):
            raise TypeError(f"callbacks[{number}] must be a callback of Keras, got {shown(callback)}.")


def check_compile(given):
    """Refuse classes in place of objects, and a `jit_compile` that Keras would take for True.

    Args:
        given: the arguments of `compile`, by name.

    Raises:
        TypeError: a class.
        ValueError: another `jit_compile` than True, False or "auto".
    """
    for name in ("optimizer", "loss"):
        refuse_class(name, given.get(name))
    for name in ("metrics", "weighted_metrics"):
        for number, metric in enumerate(keras.tree.flatten(given.get(name) or [])):
            refuse_class(f"{name}[{number}]", metric)
    jit_compile = given.get("jit_compile", "auto")
    if not any(jit_compile is allowed for allowed in (True, False, None)) and jit_compile != "auto":
        raise ValueError(f"jit_compile must be True, False or 'auto', got {jit_compile!r}.")


def refuse_class(name, value):
    """Raise TypeError if a value is a class, where an object of it is meant."""
    if isinstance(value, type):
        raise TypeError(f"{name} is the class {value.__name__}. Make an object of it: {value.__name__}(...).")
