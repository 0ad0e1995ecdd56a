"""Addresses of models on the hubs of Hugging Face and Kaggle, checked before any work."""

import re
from typing import NamedTuple

FORMS = {
    "hf": "hf://user/model, or hf://user/model@revision",
    "kaggle": "kaggle://user/model/framework/variation, or with /version behind it",
}
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HANDLES = {
    "hf": re.compile(rf"(?P<handle>{_NAME}/{_NAME})(@(?P<revision>[^@\s]+))?"),
    "kaggle": re.compile(rf"(?P<handle>{_NAME}/{_NAME}/{_NAME}/{_NAME}(/[1-9]\d*)?)"),
}


class Address(NamedTuple):
    """Where a model is: the hub, the handle that the hub's own client takes, and for "hf" a revision or None."""

    hub: str
    handle: str
    revision: str | None


def read_address(value, argument="folder"):
    """The `Address` that a value is, or None if it is a path.

    Raises:
        ValueError: it begins with a scheme, `name://`, but is no address of a model.
    """
    if not isinstance(value, str) or "://" not in value:
        return None
    hub, _, rest = value.partition("://")
    if hub not in FORMS:
        raise ValueError(f"{argument}={value!r} is no address of a model. Known are {' and '.join(FORMS.values())}.")
    found = _HANDLES[hub].fullmatch(rest)
    if found is None:
        raise ValueError(f"{argument}={value!r} is no address of a model. Write {FORMS[hub]}.")
    return Address(hub, found["handle"], found.groupdict().get("revision"))
