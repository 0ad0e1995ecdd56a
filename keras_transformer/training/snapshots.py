"""Copy the variables of a run into arrays, and back."""

import keras

from keras_transformer.training.variables import match_arrays, numbered_repeats, slot_paths
from keras_transformer.training.workers import strategy_scope


def run_variables(model, with_metrics=True):
    """Return {"model": variables, "optimizer": variables, "metrics": variables} of a compiled model."""
    variables = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {**variables, "metrics": model.metrics_variables} if with_metrics else variables


def take_snapshot(model, with_metrics):
    """Copy the variables of a run.

    Returns:
        arrays: {"model/0": array, ...}, numbered in each kind of `run_variables`.
        paths: {"model": list of str, ...}, the paths of the variables in the same order.
    """
    fill_variables(model)
    variables = run_variables(model, with_metrics)
    arrays = {
        f"{kind}/{number}": keras.ops.convert_to_numpy(variable)
        for kind, group in variables.items()
        for number, variable in enumerate(group)
    }
    return arrays, {kind: [variable.path for variable in group] for kind, group in variables.items()}


def fill_variables(model):
    """Give the variables of a model in training their values. On JAX they are empty inside an epoch."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def restore_snapshot(model, kind, arrays, paths):
    """Give the variables of one kind the values of a snapshot, each the one that was stored with its path.

    Args:
        model: a compiled model, whose optimizer is built.
        kind: "model", "optimizer" or "metrics".
        arrays, paths: see `take_snapshot`.

    Raises:
        ValueError: the snapshot has other variables than the model. The message names some of them.
    """
    variables = run_variables(model)
    paths_here = {name: [variable.path for variable in group] for name, group in variables.items()}
    matched = match_arrays(
        _distinct_paths(kind, paths),
        [array for name, array in arrays.items() if name.startswith(f"{kind}/")],
        _distinct_paths(kind, paths_here),
        [variable.shape for variable in variables[kind]],
    )
    with strategy_scope(model):
        for variable, array in zip(variables[kind], matched, strict=True):
            variable.assign(array)


def _distinct_paths(kind, paths):
    """The paths of one kind of variables, in a form in which they differ from each other."""
    if kind == "model":
        return paths["model"]
    if kind == "metrics":
        return numbered_repeats(paths["metrics"])
    return numbered_repeats(slot_paths(paths["optimizer"], paths["model"]))
