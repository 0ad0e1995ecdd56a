"""Names of options: a misspelled one is refused with the nearest name and the list of all."""

import difflib
import inspect


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
            near = difflib.get_close_matches(str(name), valid, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
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
