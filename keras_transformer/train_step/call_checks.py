"""Refuse wrong inputs of a model's call, in one line. What is not known before a graph runs is not checked."""

from keras_transformer.backend.compat import in_one_line
from keras_transformer.backend.values import kind_of_numbers, known, shape_of
from keras_transformer.inputs.kinds import shown
from keras_transformer.train_step.argument_kinds import SIDES, check_array
from keras_transformer.train_step.data_checks import check_ids, check_shape

FORM = "{'source': ids (B, S), 'target': ids (B, T)}"


def checked_inputs(limits, inputs, takes_more=False):
    """The inputs of a call, checked: {"source": ids, "target": ids}.

    Args:
        limits: the model's `input_limits`.
        inputs: what the call was given.
        takes_more: whether the model has a `call` of its own, which may use other inputs, too. They are left as they
            are.

    Raises:
        TypeError: something else than a dictionary or a pair of arrays.
        ValueError: an input is missing or unknown, has another number of axes or of rows, or ids that the model does
            not know.
    """
    named, titles = named_inputs(inputs)
    if named is None or any(side not in named for side in SIDES):
        if takes_more:
            return inputs
        raise in_one_line(_wrong_form(inputs, named))
    if (unknown := [name for name in named if name not in SIDES]) and not takes_more:
        raise in_one_line(ValueError(f"inputs has {unknown[0]!r}, which the model does not take. Give {FORM}."))
    for side in SIDES:
        try:
            check_input(titles[side], named[side], limits[side])
        except (TypeError, ValueError) as error:
            raise in_one_line(error) from None
    rows = {side: (shape_of(named[side]) or [None])[0] for side in SIDES}
    if all(isinstance(count, int) for count in rows.values()) and rows["source"] != rows["target"]:
        raise in_one_line(
            ValueError(
                f"{titles['source']} and {titles['target']} must have as many rows, one for each sentence pair, got "
                f"{rows['source']} and {rows['target']}."
            )
        )
    return inputs if takes_more else named


def named_inputs(inputs):
    """The inputs by name, and what each is called in errors. None, if they are neither a dictionary nor a pair."""
    if isinstance(inputs, dict):
        return inputs, {side: f"inputs[{side!r}]" for side in SIDES}
    if isinstance(inputs, list | tuple) and len(inputs) == 2:
        return dict(zip(SIDES, inputs, strict=True)), {side: f"inputs[{place}]" for place, side in enumerate(SIDES)}
    return None, None


def check_input(title, ids, limit):
    """Refuse ids of one side that do not fit the model.

    Args:
        title: what they are called in errors.
        ids: an array or tensor (B, T).
        limit: the `Limits` of this side.
    """
    check_array(title, ids)
    dtype, kind = kind_of_numbers(ids)
    if kind == "other":
        raise ValueError(f"{title} must hold ids, whole numbers, got an array of {dtype}.")
    shape = shape_of(ids)
    if shape is not None:
        check_shape(title, shape, limit)
        if shape[1] == 0:
            raise ValueError(f"{title} must have at least one position, got the shape {shape}.")
    if (values := known(ids)) is not None:
        check_ids(title, values, limit)


def _wrong_form(inputs, named):
    """The error of inputs in another form."""
    if named is not None:
        missing = next(side for side in SIDES if side not in named)
        return ValueError(f"inputs has no {missing!r}, only {', '.join(map(repr, named)) or 'nothing'}. Give {FORM}.")
    got = shown(inputs)
    if getattr(inputs, "shape", None) is not None:
        got = f"one array of shape {shape_of(inputs)}"
    elif isinstance(inputs, list | tuple):
        got = f"a {type(inputs).__name__} of {len(inputs)}"
    return TypeError(f"inputs must be {FORM}, or a pair of these, got {got}.")
