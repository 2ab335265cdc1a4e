"""Options of commands by the names that programs give them, and values as words of the command line.

The click commands say it all: which options there are, whether they stand before the command or after it, and whether
one takes a value, several, or none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Number
from typing import Any

import click

from metaflow_core.cli.flow import COMMANDS, FlowContext, command_line
from metaflow_core.cli.orchestrator import orchestrator_names
from metaflow_core.decorators.provided import flow_decorator_classes
from metaflow_core.errors import MetaflowUsageError
from metaflow_core.graph.model import FlowDef
from metaflow_core.names import is_identifier, show

_ALSO = {"with": "decospecs"}  # names that programs have for an option beside its own
_OF_COMMANDS = ("help", "deployer-attribute-file")  # options that are no parameters
_HIDDEN = ("init", "step", "launch", "exit-hook", "node", "paths", "finish")  # they are for programs of our own


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, whatever the flow: ``--max-workers``, which programs call ``max_workers``."""

    name: str
    spelling: str
    no: str | None = None  # the spelling that turns a flag off
    is_flag: bool = False
    is_multiple: bool = False
    nargs: int = 1

    def words(self, value: Any) -> list[str]:
        """The words that give it this value. ``MetaflowUsageError`` for a value that it can't have."""
        if self.is_flag:
            if not isinstance(value, bool):
                raise MetaflowUsageError(f"{self.name} must be True or False, not {show(value)}.")
            return [self.spelling] if value else [self.no] if self.no else []
        if not self.is_multiple:
            return [self.spelling, text_of(value)]
        if self.nargs == 1:
            many = value if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else [value]
            return [word for one in many for word in (self.spelling, text_of(one))]
        pairs = list(value.items() if isinstance(value, Mapping) else value)
        if not all(isinstance(pair, (list, tuple)) and len(pair) == self.nargs for pair in pairs):
            raise MetaflowUsageError(f"{self.name} takes a value by name, as in {{'name': value}}, not {show(value)}.")
        return [word for pair in pairs for word in (self.spelling, *map(text_of, pair))]


@cache
def commands() -> dict[str, str]:
    """The commands of every flow, by the names that programs give them."""
    return {name.replace("-", "_"): name for name in (*COMMANDS, *orchestrator_names()) if name not in _HIDDEN}


@cache
def options_before() -> dict[str, Option]:
    """The options before the command, with those that flow decorators add."""
    params = list(command_line(FlowDef("Flow")).params)
    for cls in flow_decorator_classes().values():
        params += cls.__new__(cls).options()  # they do not depend on arguments, of which some decorators need one
    return _by_name(params)


@cache
def options_of(*words: str) -> dict[str, Option]:
    """The options of a command, as ``options_of("tag", "add")``; the parameters of a flow are not among them.

    A command that is not there has none, nor have words after a command that name nothing in it.
    """
    flow = FlowDef("Flow")
    command: click.Command = (group := command_line(flow))
    context = click.Context(click.Command("flow"), obj=FlowContext(flow, []))
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            break  # the rest are arguments
        command = found
    return _by_name([] if command is group else command.params)


def _by_name(params: Iterable[click.Parameter]) -> dict[str, Option]:
    found: dict[str, Option] = {}
    for param in params:
        # Hidden ones are for programs of our own, but for configs, which are hidden where a flow has none.
        if not isinstance(param, click.Option) or (param.hidden and param.nargs == 1):
            continue
        spelling = max(param.opts, key=len)
        name = spelling.lstrip("-").replace("-", "_")
        no = param.secondary_opts[0] if param.secondary_opts else None
        option = Option(name, spelling, no, bool(param.is_flag), param.multiple, param.nargs)
        for known in (name, str(param.name), *filter(None, [_ALSO.get(name)])):
            found[known] = option
    return found


def parameter_words(name: str, value: Any, separator: str | None = None) -> list[str]:
    """The words that give a parameter of the flow this value: lists and dicts as JSON, or with its ``separator``.

    ``MetaflowUsageError``, with the parameter's name, for a value that no word can say.
    """
    if not is_identifier(name.replace("-", "_")) or name.replace("_", "-") in _OF_COMMANDS:
        raise MetaflowUsageError(f"The flow has no parameter {name!r}.")
    try:
        if separator is not None and isinstance(value, (list, tuple)):
            return [f"--{name}", separator.join(map(_written, value))]
        return [f"--{name}", _written(value)]
    except MetaflowUsageError as error:
        raise MetaflowUsageError(f"Parameter {name!r}: {error}") from None


def _written(value: Any) -> str:
    """A value as a word that means it; what has no text of its own would arrive as ``<object at 0x...>``."""
    as_text: Any = type(value).__str__
    is_plain = isinstance(value, (Number, list, tuple, dict))
    if (as_text is object.__str__ and not is_plain) or isinstance(value, (bytes, bytearray)):
        raise MetaflowUsageError(f"{show(value)} can't be given. Give it a text, a number, True or False, or JSON.")
    text = text_of(value)
    try:
        if "\0" in text:
            raise ValueError
        os.fsencode(text)
    except ValueError:
        raise MetaflowUsageError(f"{show(text)} has characters that can't be passed on.") from None
    return text


def orchestrators() -> dict[str, str]:
    """The orchestrators that are there, by the names that programs give them."""
    return {name.replace("-", "_"): name for name in orchestrator_names()}


def known_names(*tables: Iterable[str]) -> list[str]:
    """The names in tables of options, for a message about another one; those that Python can't spell are left out."""
    return list(dict.fromkeys(name for table in tables for name in table if not name.endswith("_")))


def kept(words: Sequence[str], command: str) -> list[str]:
    """Those words after a command that another command has too, each with its value."""
    taken = {spelling: option for option in options_of(command).values() for spelling in (option.spelling, option.no)}
    found: list[str] = []
    place = 0
    while place < len(words):
        option = taken.get(words[place])
        count = 1 if option is None or option.is_flag else 1 + option.nargs
        if option is not None:
            found += words[place : place + count]
        place += count
    return found


def text_of(value: Any) -> str:
    """A value as one word. ``MetaflowUsageError`` when it has no such form."""
    if isinstance(value, (list, tuple, dict)):
        try:
            return json.dumps(value)
        except (TypeError, ValueError) as error:
            raise MetaflowUsageError(f"{show(value)} can't be written as JSON: {error}.") from None
    return str(value)
