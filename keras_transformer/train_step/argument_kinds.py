"""Refuse arguments of `fit` and `compile` of the wrong kind, where Keras would say something else, or nothing."""

import os

import keras

from keras_transformer.inputs.kinds import columns_of, shown
from keras_transformer.inputs.numbers import whole

SIDES = ("source", "target")
REMEDY = "Give parallel_corpus(source, target, tokenizer), or {'source': ids, 'target': ids} and y=labels."


def check_data(name, x):
    """Refuse what is neither a dataset nor arrays of ids for both sides.

    Args:
        name: of the argument.
        x: its value.

    Raises:
        TypeError: text, a path, a table, one array, or nothing.
        ValueError: a dictionary without "source" and "target".
    """
    if isinstance(x, dict):
        if missing := [side for side in SIDES if side not in x]:
            raise ValueError(f"{name} has no {missing[0]!r}, only {', '.join(map(repr, x)) or 'nothing'}. {REMEDY}")
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


def check_labels(x, y):
    """Refuse arrays without labels.

    Raises:
        ValueError: `x` holds arrays, and `y` is None.
    """
    if y is None and isinstance(x, dict | list | tuple):
        raise ValueError("y is missing, and x holds arrays. Give y=labels: the ids that follow each id of the target.")


def check_fit(model, given):
    """Refuse a model that is not compiled, and numbers of epochs and callbacks of the wrong kind.

    Args:
        model: the model.
        given: the arguments of `fit`, by name.

    Raises:
        ValueError: the model is not compiled, or a number is none.
        TypeError: a callback is none.
    """
    if not model.compiled:
        raise ValueError("the model is not compiled. Call compile(optimizer, loss=LabelSmoothedCrossEntropy()) first.")
    if model.optimizer is None:
        raise ValueError("the model was compiled without an optimizer. Call compile(optimizer, loss) first.")
    for name in ("epochs", "initial_epoch"):
        if name in given:
            whole(name, given[name], 0)
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
