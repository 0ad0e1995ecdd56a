"""The mean of several checkpoints of one training, which often translates better than any of them."""

import os
from pathlib import Path

import keras
import numpy as np

from keras_transformer.files import safely_written
from keras_transformer.keras_files import read_keras
from keras_transformer.model import Transformer
from keras_transformer.training.states import differences, read_state


def average(paths, output, overwrite=False):
    """Write the mean of the weights of some checkpoints as a model, without an optimizer.

    The paper averages the last 5 checkpoints of its base models and the last 20 of its big ones (section 6.1). The
    mean is computed in float64 and stored in each variable's dtype.

    Args:
        paths: `.keras` files, or states (`.npz`) that `keras_transformer.training` wrote; at least one.
        output: a `.keras` file.
        overwrite: whether to replace `output`.

    Returns:
        The model.

    Raises:
        TypeError: one path in the place of a list.
        ValueError: no paths, an output that does not end in `.keras`, a file that cannot be read, or one of another
            model than the first; it names the file and the field or variable that differs.
        FileExistsError: `output` exists and `overwrite` is False.
        OSError: a file that is missing; a full disk, with the path and the free space.
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of files, got the one path {str(paths)!r}.")
    paths = [Path(path) for path in paths]
    if not paths:
        raise ValueError("paths is empty. Give at least one checkpoint.")
    if Path(output).suffix != ".keras":
        raise ValueError(f"output must end in .keras, got {output}.")
    model = _read(paths[0])
    if getattr(model, "quantized", False):
        raise ValueError(f"{paths[0]} holds 8-bit integers, each model's with its own scales: they have no mean.")
    sums = [_as_sum(weight) for weight in model.weights]
    for path in paths[1:]:
        other = _read(path)
        _refuse_unlike(paths[0], model, path, other)
        for total, weight in zip(sums, other.weights, strict=True):
            total += _as_sum(weight)
    for weight, total in zip(model.weights, sums, strict=True):
        weight.assign((total / len(paths)).astype(keras.ops.convert_to_numpy(weight).dtype))
    with safely_written(output, overwrite) as beside:
        model.save(beside)
    return model


def _as_sum(weight):
    return keras.ops.convert_to_numpy(weight).astype(np.float64)


def _read(path):
    """The model of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    if path.suffix == ".npz":
        return _from_state(path)
    return read_keras(path)


def _from_state(path):
    facts, arrays = read_state(path, wanted=lambda name: name.startswith("model/"))
    try:
        model = Transformer.from_config(facts["fingerprint"]["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no state of a Transformer: {error}") from error
    stored = {name: list(array.shape) for name, array in arrays.items()}
    found = differences(stored, {f"model/{i}": list(variable.shape) for i, variable in enumerate(model.variables)})
    if found:
        raise ValueError(f"{path} does not fit the model that it names: {'; '.join(found[:5])}.")
    for variable, array in zip(model.variables, arrays.values(), strict=True):
        variable.assign(array)
    return model


def _refuse_unlike(first_path, first, path, other):
    configs = [{key: value for key, value in model.get_config().items() if key != "name"} for model in (first, other)]
    found = differences(*configs)
    if type(first) is not type(other):
        found = [f"the model is a {type(first).__name__} there and a {type(other).__name__} here"]
    if not found:
        shapes = [{i: (list(weight.shape), weight.path) for i, weight in enumerate(m.weights)} for m in (first, other)]
        found = [
            f"variable {number} is {there[1]} {there[0]} there and {here[1]} {here[0]} here"
            for number, (there, here) in enumerate(zip(shapes[0].values(), shapes[1].values(), strict=False))
            if there[0] != here[0]
        ]
        if len(shapes[0]) != len(shapes[1]):
            found.append(f"there are {len(shapes[0])} variables there and {len(shapes[1])} here")
    if found:
        raise ValueError(f"{path} is of another model than {first_path} (there): {'; '.join(found[:5])}.")
