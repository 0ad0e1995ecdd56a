"""Match the arrays of a file to the variables of a model by their paths."""

import re

NAMED = 5  # variables in an error message


def canonical_paths(paths):
    """Replace the numbers in variables' paths by ranks, so that the paths of two processes can be compared.

    Keras numbers automatic names in each process: the first `seed_generator` of a second model may have the number 7.
    The numbers differ, but their order does not. The rank of a number counts the smaller numbers that follow the same
    name in `paths`. A name without a number comes before those with one.

        canonical_paths(["dropout/state", "dropout_1/state"]) == canonical_paths(["dropout_7/state", "dropout_9/state"])

    Args:
        paths: list of str, all paths of one file or model.

    Returns:
        list of str, one for each path, in the same order.

    Raises:
        ValueError: two paths become the same.
    """
    split_paths = [[_name_and_number(component) for component in path.split("/")] for path in paths]
    numbers = {}
    for components in split_paths:
        for name, number in components:
            numbers.setdefault(name, set()).add(number)
    ranks = {name: {number: rank for rank, number in enumerate(sorted(group))} for name, group in numbers.items()}
    paths_by_result = {}
    for path, components in zip(paths, split_paths, strict=True):
        result = "/".join(f"{name}:{ranks[name][number]}" for name, number in components)
        if result in paths_by_result:
            raise ValueError(
                f"the variables {paths_by_result[result]} and {path} cannot be told apart by their paths. Give their "
                "layers different names."
            )
        paths_by_result[result] = path
    return list(paths_by_result)


def _name_and_number(component):
    """ "layer_3" -> ("layer", 3), "kernel" -> ("kernel", -1)."""
    match = re.fullmatch(r"(.+)_(\d+)", component)
    return (match[1], int(match[2])) if match else (component, -1)


def numbered_repeats(paths):
    """Append a number to each path that came before: ["a", "a", "b"] -> ["a", "a/1", "b"].

    Keras gives several variables of one optimizer (Adafactor) or of two metrics the same path. Only their order tells
    them apart.
    """
    counts = {}
    results = []
    for path in paths:
        counts[path] = counts.get(path, -1) + 1
        results.append(f"{path}/{counts[path]}" if counts[path] else path)
    return results


def slot_paths(optimizer_paths, model_paths):
    """Write the model's paths inside an optimizer's paths with slashes again.

    Keras names the momentum of `dense_1/kernel` `adam/dense_1_kernel_momentum`, where the number 1 is not at the end
    of a component. The result is `adam/dense_1/kernel_momentum`.
    """
    with_slashes = {path.replace("/", "_"): path for path in model_paths}
    results = []
    for path in optimizer_paths:
        owner, _, name = path.rpartition("/")
        words = name.split("_")
        for end in range(len(words) - 1, 0, -1):
            if variable := with_slashes.get("_".join(words[:end])):
                path = "/".join([owner, "_".join([variable, *words[end:]])])
                break
        results.append(path)
    return results


def match_arrays(stored_paths, arrays, paths, shapes):
    """Find the array of each variable by its path, however Keras has numbered the two.

    Args:
        stored_paths: list of str, the paths with which `arrays` were stored; None for a file of an older version
            without paths, whose arrays are in the order of the variables.
        arrays: list of arrays, or of anything with a `shape`.
        paths: list of str, the paths of the variables.
        shapes: list of tuples, their shapes.

    Returns:
        list of the same arrays, one for each variable, in the order of `paths`.

    Raises:
        ValueError: a variable without an array, an array without a variable, or one of another shape. The message
            names at most five of them.
    """
    arrays = list(arrays)
    if stored_paths is None:
        if len(arrays) != len(paths):
            raise ValueError(f"the file has {len(arrays)} arrays and the model has {len(paths)} variables")
        stored_paths = paths
    stored = dict(zip(canonical_paths(stored_paths), zip(stored_paths, arrays, strict=True), strict=True))
    variables = dict(zip(canonical_paths(paths), zip(paths, map(tuple, shapes), strict=True), strict=True))
    problems = [
        *(f"the file lacks {path}" for key, (path, _) in variables.items() if key not in stored),
        *(f"the model lacks {path}" for key, (path, _) in stored.items() if key not in variables),
        *(
            f"{path} has the shape {tuple(stored[key][1].shape)} in the file and {shape} in the model"
            for key, (path, shape) in variables.items()
            if key in stored and tuple(stored[key][1].shape) != shape
        ),
    ]
    if problems:
        others = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise ValueError("; ".join([*problems[:NAMED], *others]))
    return [stored[key][1] for key in variables]
