"""Options that are not on the command line: what the environment and configuration files say of them.

``--max-workers`` of ``run`` is looked for, in this order, on the command line, then in each place of
:func:`metaflow_core.settings.places` as ``METAFLOW_RUN_MAX_WORKERS`` and then as ``METAFLOW_MAX_WORKERS``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import click

from metaflow_core import settings
from metaflow_core.settings import PREFIX, SETTINGS

# Commands that execute steps. Their options have the short name too; of others it could be meant for something else:
# METAFLOW_TAG gives a tag to runs, and does not filter `runs`.
EXECUTING = ("run", "resume", "spin")
# These options stand for settings, which configuration files spell as settings alone.
ALIASES = {
    "METADATA": "METADATA_URL",
    "DATASTORE": "DEFAULT_DATASTORE",
    "DATASTORE_ROOT": "DATASTORE_SYSROOT_LOCAL",
}


def option_defaults(options: Iterable[click.Parameter]) -> dict[str, Any]:
    """The ``default_map`` of the options before the command."""
    return _values(options, [], set())


def command_defaults(
    command: click.Command, path: Sequence[str], before: Iterable[click.Parameter] = ()
) -> dict[str, Any]:
    """The ``default_map`` of a command and of those below it. ``before`` are the options before the command."""
    found = _values(command.params, path, {option_name(option) for option in before})
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            found[name] = command_defaults(below, [*path, name])
    return found


def variables(option: click.Parameter, path: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """What an option is called outside the command line, the stronger first."""
    if isinstance(option.envvar, str):  # a parameter of the flow
        return [option.envvar]
    name = option_name(option)
    found = [PREFIX + "_".join([*path, name]).replace("-", "_").upper()]
    if len(path) == 1 and path[0] in EXECUTING and name not in SETTINGS and name not in reserved:
        found.append(PREFIX + name)
    return found


def with_source(error: click.ClickException) -> click.ClickException:
    """The error with the place where the wrong value stands, unless it stands on the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return error
    source = error.ctx.get_parameter_source(str(error.param.name))
    if source is click.core.ParameterSource.COMMANDLINE:
        return error
    before = {option_name(option) for option in error.ctx.find_root().command.params}
    found = _find(error.param, _path(error.ctx), before)
    if found is None:
        return error
    variable, place, _ = found
    where = "the environment" if place == "environment" else place
    text = f"{error.message} It is the value of {variable} in {where}."
    return click.BadParameter(text, error.ctx, error.param, error.param_hint)


def _path(ctx: click.Context) -> list[str]:
    return [] if ctx.parent is None else [*_path(ctx.parent), str(ctx.info_name)]


def _values(options: Iterable[click.Parameter], path: Sequence[str], reserved: set[str]) -> dict[str, Any]:
    found = {}
    for option in options:
        if isinstance(option, click.Option) and option.nargs == 1:
            one = _find(option, path, reserved)
            if one is not None:
                found[str(option.name)] = _several(one[2]) if option.multiple else _one(one[2])
    return found


def _find(option: click.Parameter, path: Sequence[str], reserved: set[str]) -> tuple[str, str, Any] | None:
    """The variable, the place and the value."""
    for place, content in settings.places():
        for variable in variables(option, path, reserved if path else ()):
            if variable in content and (place == "environment" or variable not in _FILELESS):
                return variable, place, content[variable]
    return None


_FILELESS = {PREFIX + name for name in ALIASES}


def option_name(option: click.Parameter) -> str:
    """``--max-workers`` as it is in a variable: ``MAX_WORKERS``."""
    long = next((text for text in option.opts if text.startswith("--")), str(option.name))
    return long.lstrip("-").replace("-", "_").upper()


def _one(value: Any) -> str:
    """A value as it would be typed: the JSON of a file is as good as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _several(value: Any) -> list[str]:
    """The values of an option that may be repeated: a JSON list, or words with blanks between them.

    >>> _several('retry:times=2 environment:vars={"A": "b c"}')
    ['retry:times=2', 'environment:vars={"A": "b c"}']
    >>> _several('["a b", "c"]')
    ['a b', 'c']
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, list):
        return [_one(item) for item in value]
    return [_one(value)] if not isinstance(value, str) else _words(value)


def _words(text: str) -> list[str]:
    """The words of a text; blanks in brackets or in double quotes divide nothing."""
    words, depth, quoted, previous = [""], 0, False, ""
    for character in text:
        if character == '"' and previous != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (character in "[{") - (character in "]}")
        if character.isspace() and not quoted and depth <= 0:
            words.append("")
        else:
            words[-1] += character
        previous = character
    return [word for word in words if word]
