"""The ``metaflow`` command, for what concerns no single flow file."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from metaflow_core import __version__, settings
from metaflow_core.cli.error_file import ERROR_FILE, write_error
from metaflow_core.errors import MetaflowException
from metaflow_core.names import near

# Imported when asked for, so that one command does not wait for what another one needs.
COMMANDS = {
    "agent": "metaflow_core.cli.agent:agent",
    "code": "metaflow_core.cli.code:code",
    "configure": "metaflow_core.cli.configure:configure",
    "deployments": "metaflow_core.cli.deployments:deployments_command",
    "diff": "metaflow_core.cli.diff:diff",
    "doctor": "metaflow_core.cli.doctor:doctor",
    "events": "metaflow_core.cli.events:events",
    "gc": "metaflow_core.cli.gc:gc",
    "lineage": "metaflow_core.cli.lineage:lineage",
    "migrate": "metaflow_core.cli.migrate:migrate",
    "namespaces": "metaflow_core.cli.namespaces:namespaces",
    "runs": "metaflow_core.cli.runs:runs",
    "status": "metaflow_core.cli.status:status",
    "tags": "metaflow_core.cli.tags:tags",
    "watch": "metaflow_core.cli.watch:watch",
}


class LazyGroup(click.Group):
    """A group whose commands are named by :data:`COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        close = None if args[0] in COMMANDS or args[0].startswith("-") else near(args[0], COMMANDS)
        if close is not None:
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close!r}?", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="metaflow-tandem", message="%(prog)s %(version)s")
@click.pass_context
def metaflow(ctx: click.Context) -> None:
    """Configure Metaflow, and see how it is set up here.

    Flows have commands of their own: python myflow.py --help, Rscript myflow.R --help.
    """
    ctx.color = _colour()


def main() -> None:
    """Run the command and exit."""
    error_file = os.environ.get(ERROR_FILE)
    try:
        metaflow.main(prog_name="metaflow")
    except MetaflowException as error:
        write_error(error_file, type(error).__name__, str(error))
        click.echo(f"{click.style(error.headline, fg='red', bold=True)}: {error}", err=True, color=None)
        sys.exit(error.exit_code)


def _colour() -> bool | None:
    """Whether to colour; None lets click find out whether it writes to a terminal."""
    try:
        chosen = settings.get("COLOR")
    except MetaflowException:  # `doctor` is about to explain it
        chosen = "auto"
    if chosen == "auto":
        return False if os.environ.get("NO_COLOR") else None
    return bool(chosen == "always")
