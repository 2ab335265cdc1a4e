"""``step-functions``, ``argo-workflows``, ``airflow``, ``local``: deploy a flow, and what can be done with it then."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from metaflow_core.cli.attribute_file import attribute_option, write_attributes
from metaflow_core.cli.create import create_command, typed_command
from metaflow_core.cli.flow import FlowContext
from metaflow_core.cli.table import print_table
from metaflow_core.decorators.resolve import check_decorators, mutate
from metaflow_core.deployment import deploy, ends, tokens
from metaflow_core.deployment.compile import parameter_text
from metaflow_core.deployment.interface import STATUSES, Execution, Orchestrator
from metaflow_core.engine.remote import without_password
from metaflow_core.errors import CommandException, MetaflowNotFound
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameter_options import options_for
from metaflow_core.graph.parameters import Given, key
from metaflow_core.identity import PRODUCTION
from metaflow_core.metadata import deployments
from metaflow_core.metadata.deployments import DeploymentRow
from metaflow_core.plugins import hook

COMMANDS = ("create", "trigger", "list-runs", "status", "terminate", "delete")


def orchestrator_command(flow: FlowDef, name: str) -> click.Command | None:
    """The group of commands of an orchestrator; None when no plugin has one of that name."""
    orchestrator: Orchestrator | None = hook().open_orchestrator(name=name)
    if orchestrator is None:
        return None
    commands = {command: _COMMANDS[command](flow, orchestrator) for command in COMMANDS}
    return click.Group(name, commands, help=f"Deploy the flow to {orchestrator.title}, and look after it there.")


def orchestrator_names() -> list[str]:
    """The names of all orchestrators that plugins provide."""
    return sorted(name for names in hook().orchestrator_names() for name in names)


def _trigger(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    own = list(orchestrator.options("trigger"))
    hidden = attribute_option("deployer")
    read = _without_parsers(flow)

    @click.pass_obj
    def callback(context: FlowContext, /, **given: Any) -> int:
        options = {str(option.name): given.pop(str(option.name)) for option in (*own, hidden)}
        row = _deployed(context, orchestrator)
        found = _parameters(read, row, given)
        execution = orchestrator.trigger(deploy.as_deployment(row), found, options)
        pathspec = f"{flow.name}/{execution.run_id}"
        if options["deployer_attribute_file"]:
            write_attributes(
                options["deployer_attribute_file"],
                {"pathspec": pathspec, "run_id": execution.run_id, "handle": execution.handle, "name": row.name},
            )
        word = "Queued" if execution.status == "queued" else "Started"
        click.echo(
            f"{word} {pathspec} on {orchestrator.title}" + (f", as {execution.handle}." if execution.handle else ".")
        )
        _tell_note(execution)
        return 0

    return click.Command(
        "trigger",
        params=[*options_for(read), *own, hidden],
        callback=callback,
        help="Start a run of what is deployed.",
        context_settings={"token_normalize_func": lambda word: word.replace("_", "-")},
    )


def _parameters(flow: FlowDef, row: DeploymentRow, given: Mapping[str, Any]) -> dict[str, str]:
    known = {parameter["name"] for parameter in row.plan["parameters"]}
    found = {}
    for parameter in flow.parameters:
        value = given.get(key(parameter))
        if not isinstance(value, Given) or value.value is None:
            continue
        if parameter.name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise CommandException(
                f"What is deployed as {row.name} has no parameter {parameter.name!r}. Its parameters: {names}. Deploy "
                f"the flow again with `create`."
            )
        try:
            found[parameter.name] = parameter_text(parameter, value.value)
        except (TypeError, ValueError):
            raise CommandException(
                f"Parameter {parameter.name!r} can't be given to a deployed flow: JSON can't express its value."
            ) from None
    return found


def _without_parsers(flow: FlowDef) -> FlowDef:
    """The flow, whose files are read and not parsed: that is done where the run starts."""
    parameters = [
        replace(one, options={**one.options, "parser": None}) if "parser" in one.options else one
        for one in flow.parameters
    ]
    return replace(flow, parameters=parameters)


def _list_runs(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    own = list(orchestrator.options("list-runs"))
    flags = [click.Option([f"--{status}"], is_flag=True, help=f"Those that are {status}.") for status in STATUSES]

    @click.pass_obj
    def callback(context: FlowContext, /, **given: Any) -> int:
        row = _deployed(context, orchestrator)
        statuses = [status for status in STATUSES if given[status.replace("-", "_")]]
        options = {str(option.name): given[str(option.name)] for option in own}
        found = orchestrator.list_runs(deploy.as_deployment(row), statuses, options)
        if statuses:
            ends.settle(context.backend.db, orchestrator, row, found)
        else:
            ends.settle_all(context.backend.db, orchestrator, row, found, _status_options(orchestrator))
        if given["as_json"]:
            for execution in found:
                click.echo(json.dumps(execution._asdict()))
        elif found:
            print_table(["run", "status", "started", "finished"], [_line(execution) for execution in found])
        else:
            context.banner("There are no such runs." if statuses else "There are no runs yet.")
        return 0

    return click.Command(
        "list-runs", params=[*flags, _json_option(), *own], callback=callback, help="List the latest runs."
    )


def _line(execution: Execution) -> list[str]:
    times = (execution.started_at, execution.finished_at)
    return [execution.run_id, execution.status, *("" if at is None else _time(at) for at in times)]


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _status(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    own = list(orchestrator.options("status"))

    @click.pass_obj
    def callback(context: FlowContext, /, run_id: str | None, as_json: bool, **options: Any) -> int:
        row = _deployed(context, orchestrator)
        if run_id is not None:
            execution = ends.look(context.backend.db, orchestrator, row, _run_id(run_id), options)
            click.echo(json.dumps(execution._asdict()) if as_json else execution.status)
            if not as_json:
                _tell_note(execution)
            return 0
        if as_json:
            click.echo(json.dumps(about(row)))
            return 0
        schedule = row.plan["schedule"]
        lines = {
            "name": row.name,
            "on": f"{orchestrator.title}" + (f", as {row.handle}" if row.handle else ""),
            "deployed by": f"{row.owner}, {_time(row.created_at / 1e6)}",
            "namespace": PRODUCTION + row.token,
            "schedule": f"{schedule['cron']} {schedule['timezone'] or 'UTC'}" if schedule else "none",
            "triggers": "; or ".join(" and ".join(e["name"] for e in every) for every in row.plan["triggers"])
            or "none",
        }
        for label, text in lines.items():
            click.echo(f"{label:<12} {text}")
        return 0

    argument = click.Argument(["run_id"], required=False, metavar="[RUN]")
    return click.Command(
        "status",
        params=[argument, _json_option(), *own],
        callback=callback,
        help="Tell what is deployed, or how a run is going.",
    )


def _status_options(orchestrator: Orchestrator) -> dict[str, Any]:
    """Those of ``status``, when another command asks for it."""
    context = click.get_current_context()
    return {str(option.name): option.get_default(context) for option in orchestrator.options("status")}


def _terminate(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    own = list(orchestrator.options("terminate"))

    @click.pass_obj
    def callback(context: FlowContext, /, run_id: str, authorize: str | None, as_json: bool, **options: Any) -> int:
        row = _deployed(context, orchestrator)
        _authorize(context, orchestrator, row, "terminate", authorize)
        execution = _ended(context, orchestrator, row, _run_id(run_id), options)
        if as_json:
            click.echo(json.dumps(execution._asdict()))
        else:
            click.echo(f"{flow.name}/{execution.run_id} is {execution.status}.")
            _tell_note(execution)
        return 0

    params = [click.Argument(["run_id"], metavar="RUN"), _authorize_option(), _json_option(), *own]
    return click.Command("terminate", params=params, callback=callback, help="End a run.")


def _ended(
    context: FlowContext, orchestrator: Orchestrator, row: DeploymentRow, run_id: str, options: Mapping[str, Any]
) -> Execution:
    try:
        execution = orchestrator.terminate(deploy.as_deployment(row), run_id, options)
    except MetaflowNotFound:
        return ends.look(context.backend.db, orchestrator, row, run_id, _status_options(orchestrator))
    ends.settle(context.backend.db, orchestrator, row, [execution])
    return execution


def _delete(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    own = list(orchestrator.options("delete"))

    @click.pass_obj
    def callback(context: FlowContext, /, authorize: str | None, **options: Any) -> int:
        row = _deployed(context, orchestrator)
        _authorize(context, orchestrator, row, "delete", authorize)
        deploy.remove(context.backend, orchestrator, row, options)
        click.echo(f"{row.name} is no longer on {orchestrator.title}. Its runs and its production token stay.")
        return 0

    return click.Command(
        "delete", params=[_authorize_option(), *own], callback=callback, help="Remove what is deployed; runs stay."
    )


_COMMANDS = {
    "create": create_command,
    "trigger": _trigger,
    "list-runs": _list_runs,
    "status": _status,
    "terminate": _terminate,
    "delete": _delete,
}


def _authorize_option() -> click.Option:
    return click.Option(["--authorize"], metavar="TOKEN", help="Show the production token; needed once.")


def _tell_note(execution: Execution) -> None:
    if execution.note:
        click.echo(execution.note)


def _json_option() -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, one object per line.")


def about(row: DeploymentRow) -> dict[str, Any]:
    """What programs are told of a deployment."""
    facts: dict[str, Any] = {name: getattr(row, name) for name in ("name", "flow", "orchestrator", "owner", "handle")}
    return {
        **facts,
        "created_at": row.created_at / 1e6,
        "namespace": PRODUCTION + row.token,
        **{name: row.plan[name] for name in ("schedule", "triggers", "parameters", "project", "branch")},
    }


def _authorize(
    context: FlowContext, orchestrator: Orchestrator, row: DeploymentRow, command: str, given: str | None
) -> None:
    tokens.authorize(
        deployments.latest_token(context.backend.db, row.name),
        row.name,
        without_password(context.backend.metadata_url),
        given,
        typed_command(context, orchestrator.name, command),
        bool(row.plan["is_production"]),
    )


def _deployed(context: FlowContext, orchestrator: Orchestrator) -> DeploymentRow:
    name = context.deployed
    if name is None:
        mutate(context.flow)
        check_decorators(context.flow)
        name = deploy.name_of(context.flow, context.flow_options)
    row = deployments.active_deployment(context.backend.db, orchestrator.name, name)
    if row is None:
        raise MetaflowNotFound(
            f"Nothing is deployed as {name} on {orchestrator.title}. Deploy it: "
            f"{typed_command(context, orchestrator.name, 'create')}"
        )
    return row


def _run_id(text: str) -> str:
    return text.rpartition("/")[2]  # Flow/run is a run too
