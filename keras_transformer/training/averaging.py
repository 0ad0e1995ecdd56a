"""Average the weights of several checkpoints of one training. The mean often translates better than any of them."""

import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_transformer.files import written_beside
from keras_transformer.inputs.kinds import check_iterable
from keras_transformer.inputs.paths import AnyPath, check_source, check_target
from keras_transformer.keras_files import read_keras
from keras_transformer.model import Transformer
from keras_transformer.training.states import differences, read_state
from keras_transformer.training.variables import match_arrays


def average(paths: Sequence[AnyPath], output: AnyPath, overwrite: bool = False) -> None:
    """Write the mean of the weights of some checkpoints as a model without an optimizer.

    The paper averages the last 5 checkpoints of its base models and the last 20 of its big ones (section 6.1). The
    mean is computed in float64 and stored in the dtype of each variable. The paths of the variables say which weights
    belong together.

    Example:
        ```python
        import keras_transformer
        from keras_transformer.training import average

        checkpoints = ["first.keras", "second.keras"]
        for path in checkpoints:
            keras_transformer.Transformer.from_preset("quickstart", vocabulary_size=15).save(path)
        model = average(checkpoints, "average.keras")
        ```

    Args:
        paths: a list of `.keras` files or states (`.npz`) that `keras_transformer.training` wrote; at least one.
        output: the `.keras` file to write.
        overwrite: whether to replace an existing `output`.

    Returns:
        The model.

    Raises:
        TypeError: `paths` is one path.
        ValueError: `paths` is empty, `output` does not end in `.keras`, a file cannot be read, or a file holds another
            model than the first one. The message names the file and the field or variable that differs.
        FileExistsError: `output` exists and `overwrite` is False.
        OSError: a file is missing, or the disk is full. The message names the path and the free space.
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of files, got the one path {str(paths)!r}.")
    check_iterable("paths", paths, "a list of files")
    paths = [check_source(path, argument=f"paths[{i}]") for i, path in enumerate(paths)]
    if not paths:
        raise ValueError("paths is empty. Give at least one checkpoint.")
    output = check_target(output, "file", "output", overwrite)  # before the work
    if output.suffix != ".keras":
        raise ValueError(f"output must end in .keras, got {output}.")
    model = _read(paths[0])
    if getattr(model, "quantized", False):
        raise ValueError(f"{paths[0]} holds 8-bit integers. Each model has its own scales for them: they have no mean.")
    sums = [_as_float64(weight) for weight in model.weights]
    for path in paths[1:]:
        weights = _matching_weights(paths[0], model, path, _read(path))
        for total, weight in zip(sums, weights, strict=True):
            total += _as_float64(weight)
    for weight, total in zip(model.weights, sums, strict=True):
        weight.assign((total / len(paths)).astype(keras.ops.convert_to_numpy(weight).dtype))
    with written_beside(output, overwrite, kind="file") as beside:
        model.save(beside)
    return model


def _as_float64(weight):
    return keras.ops.convert_to_numpy(weight).astype(np.float64)


def _read(path):
    if path.suffix not in (".npz", ".keras"):
        raise ValueError(f"{path} ends neither in .keras nor in .npz. Give files that training wrote.")
    return _read_state_model(path) if path.suffix == ".npz" else read_keras(path)


def _read_state_model(path):
    """The model whose weights a state holds."""
    facts, arrays = read_state(path, wanted=lambda name: name.startswith("model/"))
    try:
        model = Transformer.from_config(facts["fingerprint"]["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no state of a Transformer: {error}") from error
    stored_paths = facts.get("paths", {}).get("model")  # version 0.1.0 wrote averaged epochs without paths
    try:
        arrays = _in_order_of(model.variables, stored_paths, arrays.values())
    except ValueError as error:
        raise ValueError(f"{path} does not fit the model that it names: {error}.") from error
    for variable, array in zip(model.variables, arrays, strict=True):
        variable.assign(array)
    return model


def _in_order_of(variables, stored_paths, arrays):
    paths, shapes = [variable.path for variable in variables], [variable.shape for variable in variables]
    return match_arrays(stored_paths, arrays, paths, shapes)


def _matching_weights(first_path, first, path, model):
    """The weights of a model, in the order of the first model's weights.

    Raises:
        ValueError: the models differ in class, configuration or weights. The message names the fields or the weights.
    """
    message = f"{path} is of another model than {first_path}"
    configs = [{key: value for key, value in m.get_config().items() if key != "name"} for m in (first, model)]
    fields = differences(*configs)
    if type(first) is not type(model):
        fields = [f"the model is a {type(first).__name__} there and a {type(model).__name__} here"]
    if fields:
        raise ValueError(f"{message} (there): {'; '.join(fields[:5])}.")
    try:
        return _in_order_of(first.weights, [weight.path for weight in model.weights], model.weights)
    except ValueError as error:
        raise ValueError(f"{message}: {error}.") from error
