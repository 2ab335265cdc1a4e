"""``node``, ``paths`` and ``finish``: what the tasks of an orchestrator run. People do not need them.

Whatever differs between two tasks can be given in environment variables, so that no text of anybody's becomes part of a
command in what is deployed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from metaflow_core.cli.environments import make, wanted
from metaflow_core.cli.flow import FlowContext
from metaflow_core.cli.run import elsewhere
from metaflow_core.config_value import ConfigValue
from metaflow_core.decorators.resolve import check_decorators, mutate, step_decorators
from metaflow_core.deployment import compile, node
from metaflow_core.deployment.due import Nodes, parse_path
from metaflow_core.engine.run import Production, RunOptions, open_processes
from metaflow_core.engine.scheduler import Limits
from metaflow_core.engine.showing import Showing
from metaflow_core.errors import CommandException, MetaflowNotFound, MetaflowUsageError
from metaflow_core.graph.configs import read_configs, set_configs
from metaflow_core.graph.model import FlowDef, ParameterDef
from metaflow_core.graph.parameters import Given, ParameterContext, accept, evaluate, key, kind
from metaflow_core.metadata.deployments import DeploymentRow, deployment
from metaflow_core.names import advise, is_id, show

Command = Callable[..., Any]


def _shared(command: Command) -> Command:
    """The options that say which run is meant."""
    for option in (
        click.option("--deployment", type=int, envvar="METAFLOW_DEPLOYMENT_ID", required=True),
        click.option("--run-id", envvar="METAFLOW_RUN_ID", required=True),
    ):
        command = option(command)
    return command


def _step(command: Command) -> Command:
    for option in (
        click.argument("step", envvar="METAFLOW_NODE_STEP"),
        click.option("--result", envvar="METAFLOW_NODE_RESULT"),
    ):
        command = option(command)
    return command


@click.command("node", hidden=True)
@_step
@_shared
@click.option("--path", envvar="METAFLOW_NODE_PATH", default="")
@click.option("--parameters", envvar="METAFLOW_NODE_PARAMETERS")
@click.option("--trigger", envvar="METAFLOW_NODE_TRIGGER")
@click.pass_obj
def node_command(
    context: FlowContext,
    step: str,
    result: str | None,
    deployment: int,
    run_id: str,
    path: str,
    parameters: str | None,
    trigger: str | None,
) -> int:
    """Run one attempt of the task that is due, and tell what follows."""
    from metaflow_core.deployment.events import as_recorded

    flow = context.flow
    row = deployment_of(context, deployment, run_id)
    prepare_deployed(context, row)
    if step not in flow:
        raise CommandException(f"There is no step {step!r}. {advise(step, flow.steps, 'Steps')}")
    where = parse_path(path)
    options = deployed_options(context, row, run_id, as_recorded(trigger), step)
    context.backend.close()
    processes = open_processes(flow, context.backend, options)
    try:
        if flow[step].is_start:
            values = start_values(flow, row, parameters, trigger)
            run = node.start_run(flow, context.backend, options, values, row)
        else:
            run = node.find_run(flow, context.backend, run_id, row)
        attempts = compile.attempts_of(step_decorators(flow[step]))
        transition = node.run_node(flow, context.backend, processes, options, run, flow[step], where, attempts)
    finally:
        processes.compute.close()
    if transition is None:
        return 1
    if flow[step].is_end:
        node.end_run(flow, context.backend, run, "completed", row.given)
    node.tell_result(result, run_id, step, path, node.result_of(flow[step], transition))
    return 0


@click.command("paths", hidden=True)
@_step
@_shared
@click.pass_obj
def paths_command(context: FlowContext, step: str, result: str | None, deployment: int, run_id: str) -> int:
    """Tell at which paths a step is due."""
    row = deployment_of(context, deployment, run_id)
    prepare_deployed(context, row)
    run = node.find_run(context.flow, context.backend, run_id, row)
    paths = Nodes(context.flow, context.backend.db, run).paths(step)
    found = ["/".join(map(str, path)) for path in paths]
    node.tell_result(result or "-", run_id, step, "", {"paths": found})
    return 0


@click.command("finish", hidden=True)
@_shared
@click.option("--status", type=click.Choice(["completed", "failed"]), required=True, envvar="METAFLOW_RUN_STATUS")
@click.pass_obj
def finish_command(context: FlowContext, deployment: int, run_id: str, status: str) -> int:
    """Record how a run has ended, and call the exit hooks, unless that was done."""
    row = deployment_of(context, deployment, run_id)
    try:
        run = node.find_run(context.flow, context.backend, run_id, row)
    except MetaflowNotFound:
        # The orchestrator knows that the run has failed. An error here would hide the one that is the reason.
        click.echo(f"Run {run_id} has not begun, so there is nothing to finish. The output of its first task says why.")
        return 0
    except CommandException as error:  # the same, of the run that could not begin
        click.echo(str(error))
        return 0
    prepare_deployed(context, row)
    node.end_run(context.flow, context.backend, run, status, row.given)
    return 0


def deployment_of(context: FlowContext, pk: int, run_id: str) -> DeploymentRow:
    """The deployment, whose identity this process takes on."""
    row = deployment(context.backend.db, pk)
    node.be_of(row)
    if not is_id(run_id):
        raise MetaflowUsageError(f"{run_id!r} can't be the id of a run.")
    return row


def prepare_deployed(context: FlowContext, row: DeploymentRow) -> None:
    """The flow as it was when it was deployed."""
    flow = context.flow
    if flow.configs:
        plain = {config.artifact for config in flow.configs if config.plain}
        known = compile.restored(row.given["configs"])
        for name, value in known.items():
            if isinstance(value, dict) and name not in plain:
                known[name] = ConfigValue(value, name)
        set_configs(flow, read_configs(flow, {}, required=False, known=known))
    if context.environment is None:
        context.environment = row.given["environment"]
    mutate(flow)
    check_decorators(flow)


def deployed_options(
    context: FlowContext, row: DeploymentRow, run_id: str, trigger: str | None, step: str | None = None
) -> RunOptions:
    """How this process runs the step; without one it drives the whole run."""
    given = row.given
    arguments = context.arguments()
    requests = wanted(context)
    if step is not None:
        requests = {name: request for name, request in requests.items() if name == step}
    workers = given["max_workers"] if step is None else 1
    return RunOptions(
        tags=given["tags"],
        limits=Limits(workers, given["max_num_splits"], given["max_log_size"]),
        namespace=given["namespace"],
        flow_options=context.flow_options,
        program=[*context.program, "--quiet", *arguments],
        arguments=["--quiet", *elsewhere(arguments)],
        showing=Showing(quiet=True),
        environments=make(context, requests),
        production=Production(given["orchestrator"], run_id, trigger, step is None, step, given["own_places"]),
    )


def start_values(flow: FlowDef, row: DeploymentRow, text: str | None, trigger: str | None) -> dict[str, Any]:
    """What the run starts with: what was given to it, what an event has brought, and what was found at deployment."""
    from metaflow_core.decorators.project import project_of
    from metaflow_core.deployment.events import parameters_from, triggers_of

    given: dict[str, Any] = {}
    if trigger:
        context = click.get_current_context().parent
        project = project_of(flow, {} if context is None else context.params)
        given.update(parameters_from(trigger, triggers_of(flow, project)))
    # An orchestrator that has a place for each parameter gives null for those that nobody has given.
    given.update({name: value for name, value in _given(flow, text or "{}").items() if value is not None})
    files = {
        name for name in given for parameter in flow.parameters if _is(parameter, name) and kind(parameter) == "file"
    }
    values = accept(flow, {name: value for name, value in given.items() if name not in files})
    defaults = compile.restored(row.given["defaults"])
    for parameter in flow.parameters:
        if parameter.artifact in defaults:
            values.setdefault(key(parameter), Given(defaults[parameter.artifact]))
        for name in files:  # who started the run has read it
            if _is(parameter, name):
                values[key(parameter)] = Given(compile.given_file(parameter, str(given[name])))
    return evaluate(flow, values, ParameterContext.of(flow, row.owner))


def _given(flow: FlowDef, text: str) -> dict[str, Any]:
    """The parameters by name, from JSON in which there may be what somebody has typed at the orchestrator."""
    problem = "is no JSON object"
    try:
        found = json.loads(text)
    except ValueError as error:
        problem = f"is no JSON: {error}"
        # An orchestrator with a place for each parameter puts together what was typed: the last name says where.
        places = {
            text.rfind(json.dumps(one.name) + ":", 0, getattr(error, "pos", len(text)) + 1): one.name
            for one in flow.parameters
        }
        if max(places, default=-1) >= 0:
            problem = f"is no JSON at parameter {places[max(places)]!r}: {error}"
    except RecursionError:
        problem = "is nested too deeply"
    else:
        if isinstance(found, dict):
            return found
    raise MetaflowUsageError(
        f"What was given for the parameters of {flow.name} {problem}. It was {show(text)}, and must have values by "
        f'name, as in {{"alpha": 0.5}}. Parameters: {", ".join(one.name for one in flow.parameters) or "none"}.'
    )


def _is(parameter: ParameterDef, name: str) -> bool:
    return parameter.name.replace("-", "_") == name.replace("-", "_")
