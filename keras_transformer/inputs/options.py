"""Names of options: a misspelled one is refused with the nearest name and the list of all."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

from keras_transformer.inputs.kinds import shown

Method = TypeVar("Method", bound=Callable[..., Any])

# What Keras, keras-hub, PyTorch and Hugging Face call it, and what it is called here.
OTHER_NAMES = {
    "key_dim": "d_k",
    "value_dim": "d_v",
    "intermediate_dim": "d_ff",
    "dim_feedforward": "d_ff",
    "hidden_dim": "d_model",
    "hidden_size": "d_model",
    "embed_dim": "d_model",
    "nhead": "num_heads",
    "dropout_rate": "dropout",
    "num_layers": "num_encoder_layers",
    "vocab_size": "vocabulary_size",
    "max_sequence_length": "max_length",
    "attention_mask": "mask",
    "padding_mask": "mask",
    "encoder_sequence": "memory",
    "encoder_outputs": "memory",
    "key": "memory",
    "value": "memory",
    "num_beams": "beam_size",
    "label_smoothing": "epsilon",
    "num_warmup_steps": "warmup_steps",
}


def nearest(name, valid):
    """A question that gives the most similar of the valid names, or one that has the name as a word; "" if none is.

    Example:
        ```python
        from keras_transformer.inputs.options import nearest

        assert nearest("base", ["paper_base", "parsing"]) == " Did you mean 'paper_base'?"
        ```
    """
    name = str(name)
    near = difflib.get_close_matches(name, valid, 1) or [each for each in valid if name in each.split("_")]
    return f" Did you mean {near[0]!r}?" if near else ""


def check_options(given, valid, owner):
    """Raise TypeError for the first of the `given` names that is not among the `valid` ones.

    Args:
        given: names, or a dictionary of them.
        valid: the names of all options.
        owner: what has these options, for the message.
    """
    valid = list(valid)
    for name in given:
        if name not in valid:
            hint = nearest(name, valid)
            if OTHER_NAMES.get(name) in valid:
                hint = f" It is called {OTHER_NAMES[name]!r} here."
            raise TypeError(f"{owner} has no option {name!r}.{hint} The options are: {', '.join(valid)}.")


def check_arguments(function, given, owner, without=()):
    """Raise TypeError for the first of the `given` names that is no parameter of a function or class.

    A function that takes any name (`**options`) is left to judge by itself.

    Args:
        function: whose parameters they are.
        given, owner: as in `check_options`.
        without: parameters that cannot be given here.
    """
    parameters = inspect.signature(function).parameters.values()
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        check_options(given, [parameter.name for parameter in parameters if parameter.name not in without], owner)


def refuses_unknown(constructor: Collection[str] = (), more: Collection[str] = ()) -> Callable[[Method], Method]:
    """A decorator of methods. They refuse unknown names of arguments as `check_options` does, and values without one.

    Type checkers see the method's own arguments.

    Args:
        constructor: names of options of the class. A message says that they belong to its constructor.
        more: names that a method takes as its **kwargs.
    """

    def decorated(method: Method) -> Method:
        parameters = list(inspect.signature(method).parameters.values())[1:]
        valid = [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD] + list(more)
        num_unnamed = sum(each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters)

        @functools.wraps(method)
        def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
            kind = type(self).__name__
            owner = {"__init__": kind, "__call__": f"a call of {kind}"}.get(
                method.__name__, f"{kind}.{method.__name__}"
            )
            if misplaced := [name for name in kwargs if name in constructor and name not in valid]:
                raise TypeError(
                    f"{misplaced[0]} is an option of {kind}(...), and {owner} has none of this name. Make another one "
                    f"with {misplaced[0]}={kwargs[misplaced[0]]!r}."
                )
            check_options(kwargs, valid, owner)
            by_name = [name for name in valid[num_unnamed:] if name not in kwargs]
            if args[num_unnamed:] and by_name:
                value = shown(args[num_unnamed])
                raise TypeError(f"{owner} got {value} without a name. Give the name, for example {by_name[0]}=.")
            return method(self, *args, **kwargs)

        return cast("Method", checked)

    return decorated
