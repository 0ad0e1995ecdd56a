"""The options of a command from a YAML file, and changes of single values."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

OWN = ("config", "changes")  # the two options that this file adds
EXCLUSIVE = (("epochs", "steps"),)  # options of which one takes the place of the other


class ConfigError(typer.BadParameter):
    """A value in a configuration that is wrong."""


def _read_config(context: typer.Context, path: Path | None):
    """Take the values of a file as the defaults of the command."""
    if path is not None:
        given = context.meta.setdefault("changes", {})
        context.default_map = {**_as_options(context, read_yaml(path), str(path)), **given}
    return path


def _read_changes(context: typer.Context, changes: list[str] | None):
    """Take single values as the defaults of the command, before those of the file."""
    given = {}
    for change in changes or []:
        key, equals, text = change.partition("=")
        if not equals:
            rule = "write KEY=VALUE, for example epochs=5."
            raise ConfigError(f"--set {change!r} is no change: {rule}", param_hint="--set")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            reason = f"the value is no YAML: {why_no_yaml(error)}"
            raise ConfigError(f"--set {change!r}: {reason}.", param_hint="--set") from error
        given |= _as_options(context, {key.strip(): (value, None)}, "--set")
    context.meta["changes"] = given
    context.default_map = {**(context.default_map or {}), **given}
    return changes


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=_read_config,
        is_eager=True,
        exists=True,
        dir_okay=False,
        help="YAML file with options, for example the config.yaml of an earlier run.",
        rich_help_panel="Configuration",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        callback=_read_changes,
        is_eager=True,
        metavar="KEY=VALUE",
        help="Change one value of the configuration. May be given several times.",
        rich_help_panel="Configuration",
    ),
]


def read_yaml(path):
    """Read a YAML file of keys and values: {key: (value, line)}.

    Raises:
        ConfigError: it is no such file, or has a key twice. The message names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else path
        raise ConfigError(f"{place}: this is no YAML: {why_no_yaml(error)}.", param_hint="--config") from error
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        reason = f"not valid UTF-8 (a byte is 0x{error.object[error.start]:02x}). Convert the file to UTF-8."
        raise ConfigError(f"{path}, line {line}: {reason}", param_hint="--config") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        rule = "must have lines of the form key: value, for example epochs: 5."
        raise ConfigError(f"{path} {rule}", param_hint="--config")
    lines = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise ConfigError(
                f"{path}, line {line}: {key.value!r} is in line {lines[key.value]} already.", param_hint="--config"
            )
        lines[key.value] = line
    return {str(key): (value, lines.get(str(key))) for key, value in values.items()}


def why_no_yaml(error):
    """The reason of an error of PyYAML, in a few words."""
    return getattr(error, "problem", None) or " ".join(str(error).split())


def _as_options(context, values, where):
    """Values as a user would type them, for the parser of the command line.

    Raises:
        ConfigError: an unknown key. The message has the nearest one.
    """
    from keras_transformer.inputs.options import nearest

    known = [parameter.name for parameter in context.command.params if parameter.name not in (*OWN, "help")]
    options = {}
    for key, (value, line) in values.items():
        place = where if line is None else f"{where}, line {line}"
        name = key.replace("-", "_")
        if name not in known:
            hint = nearest(name, known)
            text = f"{place}: unknown key {key!r}.{hint} The keys are: {', '.join(known)}."
            raise ConfigError(text, param_hint=where)
        parameter = next(parameter for parameter in context.command.params if parameter.name == name)
        options[name] = _as_typed(
            value, bool(getattr(parameter, "multiple", False)) or parameter.nargs != 1, place, key
        )
    return {name: value for name, value in options.items() if value is not None}


def _as_typed(value, takes_several, place, key):
    """A value as text, or several as a list of texts. A mapping becomes KEY=VALUE texts."""
    if isinstance(value, dict):
        value = [f"{name}={_text(each)}" for name, each in value.items()]
    if isinstance(value, list):
        if not takes_several:
            raise ConfigError(f"{place}: {key!r} takes one value, got a list of {len(value)}.", param_hint=place)
        return [_text(each) for each in value]
    if value is None:
        return None
    return [_text(value)] if takes_several else _text(value)


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)


def effective(context):
    """The values of all options of a command that was called, as YAML can hold them."""
    names = [parameter.name for parameter in context.command.params if parameter.name not in OWN]
    values = {name: _plain(context.params[name]) for name in names if name in context.params}
    for pair in (each for each in EXCLUSIVE if all(values.get(name) is not None for name in each)):
        ranks = {name: _rank(context, name) for name in pair}
        if len(set(ranks.values())) > 1:
            values[min(pair, key=ranks.get)] = None
    return values


def _rank(context, name):
    """How near to the user an option was given: 2 on the command line, 1 by --set, 0 in a file."""
    if context.get_parameter_source(name).name == "COMMANDLINE":
        return 2
    return int(name in context.meta.get("changes", {}))


def given_names(context):
    """The names of the options that the user gave, on the command line or in a configuration."""
    sources = {name: context.get_parameter_source(name) for name in context.params if name not in OWN}
    return [name for name, source in sources.items() if source is not None and source.name != "DEFAULT"]


def refuse_options(given, names, reason):
    """Refuse options that would be ignored.

    Args:
        given: the names of the options that the user gave.
        names: those that mean nothing here.
        reason: what they mean nothing with, for the message.

    Raises:
        typer.BadParameter: it names the option.
    """
    for name in names:
        if name in given:
            raise typer.BadParameter(f"--{name.replace('_', '-')} has no meaning with {reason}. Leave it out.")


def _plain(value):
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return getattr(value, "value", value)  # of an enumeration


def write_yaml(path, values, comment):
    """Write values as YAML, with a comment above. The file replaces an older one only when it is complete."""
    from keras_transformer.files import written_beside

    with written_beside(path, overwrite=True, kind="file") as beside:
        lines = "".join(f"# {line}\n" for line in comment)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
        beside.write_text(lines + text, encoding="utf-8")
