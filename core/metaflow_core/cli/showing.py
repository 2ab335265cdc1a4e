"""How a run is shown, as the command line says, and the commands to go on with that fit the one that was typed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from metaflow_core import settings
from metaflow_core.cli.flow import FlowContext
from metaflow_core.engine.next_commands import Commands, SessionCommands, ShellCommands
from metaflow_core.engine.showing import Showing
from metaflow_core.names import masked

# A run that is resumed has its own parameters and configs; who resumes it may want other tags.
_LEFT_OUT = ("quiet", "config", "config_value")
_KEPT = ("with_", "max_workers", "max_num_splits", "max_log_size", "namespace")


def json_log_option() -> click.Option:
    return click.Option(["--json-log"], is_flag=True, help="Print what happens as JSON, one object per line.")


def showing(context: FlowContext, options: Mapping[str, Any]) -> Showing:
    """For the command that is being carried out."""
    settings.get("COLOR")  # what is wrong with it is told before a run is made
    return Showing(context.quiet, options["json_log"], context.passed_on, _commands(context))


def _commands(context: FlowContext) -> Commands | None:
    if os.path.basename(context.flow.file or "").startswith("."):
        return None  # the file of NBRunner, which goes with it
    command = click.get_current_context()
    before = [] if command.parent is None else _typed(command.parent, lambda name: name not in _LEFT_OUT)
    after = _typed(command, _KEPT.__contains__)
    if context.session is not None:
        return SessionCommands(context.session, before, after)
    return ShellCommands(context.program, context.flow.language, before, after)


def _typed(ctx: click.Context, wanted: Callable[[str], bool]) -> list[str]:
    """The wanted options that were typed, as words."""
    words: list[str] = []
    for option in ctx.command.params:
        name = str(option.name)
        typed = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if not typed or not wanted(name) or not isinstance(option, click.Option):
            continue
        value = ctx.params[name]
        if isinstance(value, bool):
            words.append(option.opts[0] if value or not option.secondary_opts else option.secondary_opts[0])
        else:
            for text in value if isinstance(value, (tuple, list)) else [value]:
                words += [option.opts[0], masked(str(text))]  # a password that was typed is shown to nobody else
    return words
