"""``metaflow deployments``: what is deployed to orchestrators, and commands about it without the flow's file."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

import click

from metaflow_core.cli.flow import execute
from metaflow_core.cli.orchestrator import COMMANDS, about
from metaflow_core.cli.status import has_database
from metaflow_core.cli.table import moment, print_table
from metaflow_core.deployment.compile import known_parameters
from metaflow_core.errors import MetaflowNotFound, MetaflowUsageError
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata import deployments
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.deployments import DeploymentRow
from metaflow_core.names import advise

_ABOUT = [name for name in COMMANDS if name != "create"]


@click.command("deployments", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
@click.argument("words", nargs=-1, metavar="[ORCHESTRATOR NAME COMMAND ...]", type=click.UNPROCESSED)
def deployments_command(as_json: bool, words: tuple[str, ...]) -> None:
    """List what is deployed in production; or do something with a deployment, as with the file of its flow.

    COMMAND is trigger, list-runs, status, terminate or delete, with the options that it has there:
    metaflow deployments airflow TrainFlow trigger --alpha 0.5
    """
    if words:
        sys.exit(_command(list(words)))
    backend = open_backend()
    found = deployments.active_deployments(backend.db) if has_database(backend) else []
    if as_json:
        for row in found:
            click.echo(json.dumps(about(row)))
    elif found:
        print_table(["name", "orchestrator", "deployed by", "at"], [_line(row) for row in found])
    else:
        click.echo("Nothing is deployed.", err=True)


def _line(row: DeploymentRow) -> list[str]:
    return [row.name, row.orchestrator, row.owner, moment(datetime.fromtimestamp(row.created_at / 1e6, timezone.utc))]


def _command(words: list[str]) -> int:
    if len(words) < 3 or words[2] not in _ABOUT:
        given = f" There is no command {words[2]!r}. {advise(words[2], _ABOUT, 'Commands')}" if len(words) > 2 else ""
        raise MetaflowUsageError(f"metaflow deployments ORCHESTRATOR NAME COMMAND: give all three.{given}")
    orchestrator, name, *command = words
    backend = open_backend()
    rows = deployments.active_deployments(backend.db) if has_database(backend) else []
    row = next((row for row in rows if (row.orchestrator, row.name) == (orchestrator, name)), None)
    if row is None:
        advice = advise(name, [row.name for row in rows if row.orchestrator == orchestrator], "There are")
        raise MetaflowNotFound(f"Nothing is deployed as {name} on {orchestrator}. {advice}")
    backend.close()
    flow = FlowDef(row.flow, parameters=known_parameters(row.plan))
    return execute(flow, ["metaflow", "deployments"], ["--quiet", orchestrator, *command], deployed=name)
