"""``create``: deploys a flow to an orchestrator, and tells what to do with it there."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from metaflow_core import settings
from metaflow_core.cli.attribute_file import attribute_option, write_attributes
from metaflow_core.cli.flow import FlowContext, with_option
from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.cli.run import elsewhere
from metaflow_core.decorators.attach import attach
from metaflow_core.decorators.resolve import check_decorators, mutate
from metaflow_core.deployment import deploy
from metaflow_core.deployment.interface import Orchestrator
from metaflow_core.errors import MetaflowUsageError
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import FlowDef
from metaflow_core.identity import PRODUCTION
from metaflow_core.names import masked

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def create_command(flow: FlowDef, orchestrator: Orchestrator) -> click.Command:
    """``create`` of one orchestrator."""
    count = click.IntRange(min=1)
    own = list(orchestrator.options("create"))
    options: list[click.Parameter] = [
        click.Option(["--authorize"], metavar="TOKEN", help="Show the production token; needed once."),
        click.Option(["--generate-new-token"], is_flag=True, help="Begin a fresh, empty namespace, with a new token."),
        click.Option(["--new-token"], metavar="NAME", help="Begin a fresh namespace with a token of this name."),
        click.Option(["--tag", "tags"], multiple=True, help="Tag all runs; may be given several times."),
        click.Option(
            ["--namespace"],
            type=NAMESPACE,
            help="Namespace of the client inside tasks; by default that of the deployment.",
        ),
        click.Option(["--max-workers"], type=count, default=100, show_default=True, help="Tasks of a run at a time."),
        click.Option(["--max-num-splits"], type=count, default=100, show_default=True, help="Most tasks of a foreach."),
        click.Option(
            ["--max-log-size"], type=count, default=10, show_default=True, help="Most output of a task, in MB."
        ),
        click.Option(["--workflow-timeout"], type=_Seconds(), help="End a run that takes longer: seconds, or 2h, 1d."),
        click.Option(["--only-json"], is_flag=True, help="Print what would be deployed, and deploy nothing."),
        with_option(),
        attribute_option("deployer"),
        *own,
    ]

    @click.pass_obj
    def callback(context: FlowContext, /, **given: Any) -> int:
        if context.deployed is not None:
            raise MetaflowUsageError("A flow is deployed by its file: python flow.py ... create.")
        attach(flow, given["with_"], context.attached)
        _check(context)
        request = deploy.Request(
            orchestrator=orchestrator,
            flow_options=context.flow_options,
            arguments=elsewhere(context.arguments(given["with_"])),
            command=typed_command(context, orchestrator.name, "create"),
            options={str(option.name): given[str(option.name)] for option in own},
            environment=context.environment,
            **{
                name: given[name]
                for name in ("tags", "namespace", "max_workers", "max_num_splits", "max_log_size", "workflow_timeout")
            },
            **{name: given[name] for name in ("authorize", "generate_new_token", "new_token")},
        )
        if given["generate_new_token"] and given["new_token"]:
            raise MetaflowUsageError("Give one of --generate-new-token and --new-token.")
        if given["only_json"]:
            plan, _ = deploy.compile_plan(flow, context.backend, request)
            click.echo(orchestrator.render(plan, request.options))
            return 0
        context.banner(f"Deploying {deploy.name_of(flow, context.flow_options)} to {orchestrator.title}.")
        outcome = deploy.deploy(flow, context.backend, request)
        if given["deployer_attribute_file"]:
            write_attributes(given["deployer_attribute_file"], _attributes(outcome))
        _tell(context, orchestrator, outcome)
        return 0

    return click.Command("create", params=options, callback=callback, help="Deploy the flow, or a new version of it.")


def _check(context: FlowContext) -> None:
    mutate(context.flow)
    settings.get("LAUNCHER")
    lint(context.flow)
    check_decorators(context.flow)


def _tell(context: FlowContext, orchestrator: Orchestrator, outcome: deploy.Outcome) -> None:
    """What was deployed, where its results are, and how others may deploy it."""
    row, namespace = outcome.deployment, PRODUCTION + outcome.token
    words = "replaced" if outcome.is_replacing else "deployed"
    click.echo(f"{row.name} is {words} on {orchestrator.title}" + (f", as {row.handle}." if row.handle else "."))
    for note in outcome.notes:
        click.echo(note)
    lines = [
        ("Its runs are in the namespace", namespace),
        ("  in Python", f'namespace("{namespace}")'),
        ("  in R", f'set_namespace("{namespace}")'),
        ("Start a run", typed_command(context, orchestrator.name, "trigger")),
        ("List its runs", typed_command(context, orchestrator.name, "list-runs")),
    ]
    if outcome.is_new_token:
        lines.append(
            (
                "Others may deploy it, once with",
                f"{typed_command(context, orchestrator.name, 'create')} --authorize {outcome.token}",
            )
        )
    for label, text in lines:
        click.echo(f"{label:<32}{text}".rstrip())


def _attributes(outcome: deploy.Outcome) -> dict[str, Any]:
    row = outcome.deployment
    return {
        "name": row.name,
        "flow_name": row.flow,
        "orchestrator": row.orchestrator,
        "production_token": outcome.token,
        "handle": row.handle,
    }


def typed_command(context: FlowContext, name: str, command: str) -> str:
    """The command to type, for this flow and its branch."""
    if context.deployed is not None:
        return shlex.join([*context.program, name, context.deployed, command])
    programs = {"python": "python", "r": "Rscript"}
    file = context.flow.file or context.program[-1]
    options = map(masked, context.arguments())  # addresses may have a password in them
    return shlex.join([programs.get(context.flow.language, "python"), os.path.relpath(file), *options, name, command])


class _Seconds(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        unit = _UNITS.get(text[-1:])
        try:
            seconds = float(text[:-1] if unit else text) * (unit or 1)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r} is no time: give seconds, or a number with s, m, h or d.", param, ctx)
        return seconds
