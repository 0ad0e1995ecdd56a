"""Copy tensors into the variables of a model and back, by a table that must name all of both."""

import functools

import numpy as np

from keras_transformer.backend.compat import kernel_variable


def linear(theirs, ours):
    """The rows of a table for a linear layer of torch, whose matrix is (out, in), and our `Dense`."""
    return [(f"{theirs}.weight", f"{ours}.kernel", np.transpose), (f"{theirs}.bias", f"{ours}.bias", None)]


def norm(theirs, ours):
    """The rows of a table for a layer normalization."""
    return [(f"{theirs}.weight", f"{ours}.gamma", None), (f"{theirs}.bias", f"{ours}.beta", None)]


def assign(model, table, tensors, path):
    """Copy each tensor into its variable.

    Args:
        model: a built Keras model.
        table: a list of (name of a tensor, path of a variable, np.transpose or None). The path has dots and starts at
            the model. A number in a path is an index.
        tensors: a dictionary of NumPy arrays by name.
        path: the file that the tensors come from, for errors.

    Raises:
        ValueError: a tensor is missing, or is not in the table, or has another shape, or a variable gets no tensor.
    """
    names = {name for name, _, _ in table}
    if missing := sorted(names - set(tensors)):
        raise ValueError(f"{path} lacks tensors that config.json asks for: {', '.join(missing)}.")
    if foreign := sorted(set(tensors) - names):
        raise ValueError(f"{path} holds tensors that belong to no part of the model: {', '.join(foreign)}.")
    left = {variable.path: variable for variable in model.weights}
    pairs = []
    for name, dotted, change in table:
        variable = functools.reduce(_part, dotted.split("."), model)
        value = tensors[name] if change is None else change(tensors[name])
        if value.shape != tuple(variable.shape):
            shape = tuple(variable.shape if change is None else reversed(variable.shape))
            raise ValueError(f"{path}: {name} has shape {tensors[name].shape}; config.json asks for {shape}.")
        left.pop(variable.path)
        pairs.append((variable, value))
    if left:
        raise ValueError(f"no tensor of {path} goes to {', '.join(left)}.")
    for variable, value in pairs:
        variable.assign(value)


def collect(model, table, arrays):
    """Take each tensor of a table from its variable, and that out of `arrays`. The inverse of `assign`.

    Args:
        model, table: see `assign`.
        arrays: the values of the variables by path, {path: array}. What is left afterwards has no row in the table.

    Returns:
        {name: array}. A bias that the model lacks is zeros.
    """
    tensors = {}
    for name, dotted, change in table:
        *parts, last = dotted.split(".")
        layer = functools.reduce(_part, parts, model)
        variable = kernel_variable(layer) if last == "kernel" else getattr(layer, last)
        value = np.zeros(layer.units, "float32") if variable is None else arrays.pop(variable.path)
        tensors[name] = value if change is None else change(value)
    return tensors


def _part(whole, name):
    return whole[int(name)] if name.isdigit() else getattr(whole, name)
