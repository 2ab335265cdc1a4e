"""``deployed-run``: a whole run of what is deployed to the local orchestrator. Its agent starts it; people do not."""

from __future__ import annotations

import json
import os

import click

from metaflow_core.cli.flow import FlowContext
from metaflow_core.cli.node import deployed_options, deployment_of, prepare_deployed, start_values
from metaflow_core.deployment import node
from metaflow_core.deployment.agent_drivers import TICKET
from metaflow_core.engine.run import execute, open_processes
from metaflow_core.metadata import local_runs


@click.command("deployed-run", hidden=True)
@click.option("--deployment", type=int, envvar="METAFLOW_DEPLOYMENT_ID", required=True)
@click.option("--run-id", envvar="METAFLOW_RUN_ID", required=True)
@click.pass_obj
def deployed_run_command(context: FlowContext, deployment: int, run_id: str) -> int:
    """Run what is deployed from its start to its end."""
    flow = context.flow
    pk, claims = map(int, os.environ.pop(TICKET).split(":"))
    if not local_runs.begin(context.backend.db, pk, claims):
        click.echo("Another agent has taken up this run; nothing is done here.")
        return 0
    local = local_runs.run(context.backend.db, pk)
    row = deployment_of(context, deployment, run_id)
    prepare_deployed(context, row)
    trigger = json.dumps(local.events) if local.events else None
    options = deployed_options(context, row, run_id, trigger)
    context.backend.close()
    processes = open_processes(flow, context.backend, options)
    try:
        values = start_values(flow, row, json.dumps(local.parameters), trigger)
        run = node.create_deployed_run(flow, context.backend, options, values, row)
    except BaseException:
        processes.close()
        raise
    status = execute(flow, context.backend, processes, options, run)
    if status == "completed":
        node.publish_end(flow.name, run.id, row.given)
    local_runs.finish(context.backend.db, pk, claims, local_runs.ENDS[status], _reason(local, status))
    return 0 if status == "completed" else 1


def _reason(local: local_runs.LocalRun, status: str) -> str:
    if status == "completed":
        return ""
    what = "A task has failed" if status == "failed" else "It was told to end"
    return f"{what}. `resume --origin-run-id {local.run_id}` goes on from there."
