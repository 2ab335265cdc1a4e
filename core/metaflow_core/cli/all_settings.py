"""Every setting, its value and where it comes from; and what else is set that begins with ``METAFLOW_``."""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

from metaflow_core import settings
from metaflow_core.cli.option_defaults import ALIASES, EXECUTING
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked
from metaflow_core.settings import PREFIX, SETTINGS

# They concern how processes find each other, and are no settings.
_OTHERS = re.compile("METAFLOW_(PYTHON|BOOT_PROBLEM|MASKS|EVENT_.*|FLOW_CONFIG(_VALUE)?|INTERNAL_.*)")
_SECRET = re.compile("(TOKEN|PASSWORD|SECRET|CREDENTIAL|_KEY)S?$")


class Shown(NamedTuple):
    """A line about a setting.

    ``kind`` is ``setting``, ``option`` (of a flow's command line) or ``unknown``; ``value`` is text, number, bool or
    None, with secrets masked; ``origin`` is ``environment``, ``default`` or the path of a file; ``note`` says what it
    is for, or what is wrong with it.
    """

    variable: str
    value: Any
    origin: str
    kind: str
    note: str


def all_settings() -> list[Shown]:
    """The settings in the order of the table, and then the options and the names nobody knows that are set."""
    return [_setting(name) for name in SETTINGS] + _options()


def shown_value(variable: str, value: Any) -> Any:
    """``value`` without passwords in addresses, and not at all when the name says that it is a secret."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return "***" if _SECRET.search(variable) else masked(str(value))


def _setting(name: str) -> Shown:
    setting = SETTINGS[name]
    try:
        value, origin, note = settings.get(name), settings.origin(name), setting.doc
    except MetaflowException as error:  # a value that does not fit, or a damaged file
        where = [place for place, content in _places() if setting.variable in content]
        value, origin, note = None, where[0] if where else "unknown", masked(str(error))
    return Shown(setting.variable, shown_value(setting.variable, value), origin, "setting", note)


def _options() -> list[Shown]:
    known = _option_variables()
    found: dict[str, Shown] = {}
    for place, content in _places():
        for variable, value in content.items():
            short = variable.removeprefix(PREFIX)
            if short in SETTINGS or variable in found or _OTHERS.fullmatch(variable):
                continue
            kind, note = "option", f"Option {known[variable]}." if variable in known else ""
            if short in ALIASES and place != "environment":
                kind, note = "unknown", f"Not read from a file: set {PREFIX}{ALIASES[short]}."
            if not note and re.match(f"METAFLOW_({'|'.join(EXECUTING)})_.", variable, re.IGNORECASE):
                note = "Parameter of a flow, or an option that a plugin adds."
            if not note:
                near = difflib.get_close_matches(variable, [*known, *(PREFIX + name for name in SETTINGS)], 1)
                kind, note = "unknown", "No setting of this name." + (f" Did you mean {near[0]}?" if near else "")
            found[variable] = Shown(variable, shown_value(variable, value), place, kind, note)
    return sorted(found.values(), key=lambda row: (row.kind, row.variable))


def _places() -> list[tuple[str, Any]]:
    try:
        return list(settings.places())
    except MetaflowException:  # a damaged file, which every setting tells of
        return [("environment", settings.environment())]


def _option_variables() -> dict[str, str]:
    """What the options of every flow's command line are called outside it."""
    from metaflow_core.cli.flow import command_line
    from metaflow_core.cli.option_defaults import option_name, variables
    from metaflow_core.cli.resume import resume_command
    from metaflow_core.cli.run import run_options
    from metaflow_core.cli.spin import spin
    from metaflow_core.graph.model import FlowDef

    before = [option for option in command_line(FlowDef("Flow", {})).params if option.nargs == 1]
    found = {variables(option, [])[0]: option.opts[0] for option in before}
    reserved = {option_name(option) for option in before}
    for command, options in (("run", run_options()), ("resume", resume_command.params), ("spin", spin.params)):
        for option in options:
            for variable in variables(option, [command], reserved):
                found.setdefault(variable, f"{option.opts[0]} of {command}")
    return found
