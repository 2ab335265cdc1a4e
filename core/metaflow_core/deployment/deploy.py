"""Deploys a flow: checks, token, code package, record, and the orchestrator at the end; all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from metaflow_core import identity
from metaflow_core.deployment import tokens
from metaflow_core.deployment.compile import compile_nodes, compile_parameters, plan_as_json, storable
from metaflow_core.deployment.interface import Deployment, Orchestrator
from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent, PlanTrigger
from metaflow_core.engine.package import Package, undeployed
from metaflow_core.engine.remote import check_reachable, elsewhere_variables, without_password
from metaflow_core.errors import CommandException, MetaflowException, MetaflowTaggingError
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameters import ParameterContext, evaluate
from metaflow_core.metadata import deployments
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.code_packages import StoredPackage
from metaflow_core.metadata.deployments import DeploymentRow, TokenRow
from metaflow_core.names import check_user_tags

if TYPE_CHECKING:
    from metaflow_core.deployment.schedule import Schedule

MOST_GIVEN = 5 << 20  # characters of JSON: what all runs start with is read by each of their tasks


@dataclass(slots=True)
class Request:
    """What the command line says about a deployment."""

    orchestrator: Orchestrator
    flow_options: Mapping[str, Any]
    arguments: Sequence[str] = ()  # of the flow's file, before the command, that hold on other machines
    command: str = ""  # that was typed, for messages
    tags: Sequence[str] = ()
    namespace: str | None = None
    max_workers: int = 100
    max_num_splits: int = 100
    max_log_size: int = 10
    workflow_timeout: float | None = None
    authorize: str | None = None
    generate_new_token: bool = False
    new_token: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of the orchestrator's own
    environment: str | None = None


@dataclass(slots=True)
class Outcome:
    """What was deployed, and under which token."""

    deployment: Deployment
    token: str
    is_new_token: bool
    notes: Sequence[str]
    is_replacing: bool


def name_of(flow: FlowDef, flow_options: Mapping[str, Any]) -> str:
    """The name of a deployment: the flow's, or ``project.branch.Flow``."""
    from metaflow_core.decorators.project import project_of

    project = project_of(flow, flow_options)
    return flow.name if project is None else project.flow_name


def compile_plan(flow: FlowDef, backend: Backend, request: Request) -> tuple[DeploymentPlan, dict[str, Any]]:
    """The plan, not deployed yet, and what its runs start with. All that can be refused without a service is."""
    from metaflow_core.decorators.project import project_of
    from metaflow_core.deployment.events import end_event, triggers_of
    from metaflow_core.deployment.schedule import schedule_of

    project = project_of(flow, request.flow_options)
    schedule = schedule_of(flow)
    triggers = [
        PlanTrigger(tuple(PlanEvent(event.name, event.parameters, event.flow) for event in trigger.events))
        for trigger in triggers_of(flow, project)
    ]
    orchestrator = request.orchestrator
    if not orchestrator.shares_files:
        check_reachable(backend, f"Tasks on {orchestrator.title} run on other machines, which")
    try:
        tags = check_user_tags(request.tags)
    except MetaflowTaggingError as error:
        raise MetaflowTaggingError(f"--tag: {error}") from None
    owner = identity.user()
    defaults = evaluate(flow, {}, ParameterContext.of(flow, owner), required=False)
    _check_defaults(flow, defaults, schedule, triggers)
    given: dict[str, Any] = {
        "orchestrator": orchestrator.name,
        "own_places": sorted(orchestrator.places),
        "defaults": storable(flow, {k: v for k, v in defaults.items() if v is not None}, "default of parameter"),
        "configs": storable(flow, flow.config_values, "config"),
        "tags": list(tags),
        "namespace": request.namespace,
        "max_num_splits": request.max_num_splits,
        "max_log_size": request.max_log_size,
        "max_workers": request.max_workers,
        "environment": request.environment,
        "end_event": end_event(flow.name, project),
    }
    if len(json.dumps(given)) > MOST_GIVEN:
        raise CommandException(
            f"The configs and the defaults of the parameters of {flow.name} are more than {MOST_GIVEN >> 20} MB of "
            f"text. Put large data into the artifact store, or where steps can read it themselves."
        )
    plan = DeploymentPlan(
        name=flow.name if project is None else project.flow_name,
        flow=flow.name,
        orchestrator=orchestrator.name,
        nodes=compile_nodes(flow, orchestrator),
        doc=flow.doc,
        owner=owner,
        parameters=compile_parameters(flow, defaults),
        tags=tags,
        schedule=schedule,
        triggers=triggers,
        end_event=given["end_event"],
        project=None if project is None else project.name,
        branch=None if project is None else project.branch,
        is_production=project is not None and project.is_production,
        max_workers=request.max_workers,
        workflow_timeout=request.workflow_timeout,
        variables=_variables(backend),
    )
    plan.program = json.dumps(_program(flow, request, None))
    orchestrator.check(plan, request.options)
    return plan, given


def _variables(backend: Backend) -> dict[str, str]:
    found = elsewhere_variables(backend, sends_on=True)
    found.pop("METAFLOW_PRODUCTION_TOKEN", None)  # who deploys from a task of another deployment has it
    return found


def deploy(flow: FlowDef, backend: Backend, request: Request) -> Outcome:
    """Deploy the flow, or replace what is deployed under its name."""
    plan, given = compile_plan(flow, backend, request)
    db, orchestrator = backend.db, request.orchestrator
    address = without_password(backend.metadata_url)
    known = deployments.latest_token(db, plan.name)
    tokens.authorize(known, plan.name, address, request.authorize, request.command, plan.is_production)
    token, is_new = _token(plan, request, known)
    orchestrator.prepare(plan, request.options)
    before = deployments.active_deployment(db, orchestrator.name, plan.name)
    shown = known and known.token
    pk = deployments.begin_deployment(
        db, orchestrator.name, plan.name, flow.name, token, plan.owner, plan_as_json(plan), shown
    )
    try:
        with Package(flow) as package:
            given["package"] = _about(package.stored)
            deployments.give(db, pk, given)
            package.hold(backend, _held(orchestrator, plan.name))
        # Whatever ends this process now, who deploys knows the token that counts then: the one before, or this one.
        tokens.save_tokens(address, plan.name, [token, *filter(None, [shown])] if is_new else [token])
        plan = replace(plan, id=pk, program=json.dumps(_program(flow, request, given["package"])))
        result = orchestrator.deploy(plan, orchestrator.render(plan, request.options), request.options)
        deployments.deployed(db, deployments.deployment(db, pk), result.handle, result.info)
    except BaseException:
        deployments.not_deployed(db, pk)
        _release_packages(backend, orchestrator, plan.name)
        raise
    _release_packages(backend, orchestrator, plan.name)
    with suppress(MetaflowException):  # the file has the token already, with the one before
        tokens.save_tokens(address, plan.name, [token])
    return Outcome(
        as_deployment(deployments.deployment(db, pk)), token, is_new, result.notes, is_replacing=before is not None
    )


def _about(package: StoredPackage) -> dict[str, Any]:
    """What the runs of a deployment know of their package."""
    return {
        "key": package.key,
        "script": package.script,
        "folder": package.working_directory,
        "info": package.info,
    }


def _held(orchestrator: Orchestrator, name: str) -> str:
    return f"{orchestrator.name}/{name}"


def _release_packages(backend: Backend, orchestrator: Orchestrator, name: str) -> None:
    """Hold none but those of what is in place, and of what is being deployed by somebody else."""
    undeployed(backend, _held(orchestrator, name), but=deployments.packages_in_use(backend.db, orchestrator.name, name))


def _token(plan: DeploymentPlan, request: Request, known: TokenRow | None) -> tuple[str, bool]:
    if request.new_token is not None:
        if plan.project is not None:
            raise CommandException(
                "--new-token does not go with @project, whose branches have tokens of their own. Use "
                "--generate-new-token for a fresh namespace, or --branch for another branch."
            )
        token = tokens.check_new_token(request.new_token)
        if known is not None and token == known.token:
            raise CommandException(
                f"{token} is the production token of {plan.name} already, so its namespace is not a new one. Leave out "
                f"--new-token, or choose another."
            )
        return token, True
    if known is None or request.generate_new_token:
        return tokens.new_token(plan.name, 0 if known is None else known.before + 1), True
    return known.token, False


def _program(flow: FlowDef, request: Request, package: Mapping[str, Any] | None) -> dict[str, Any]:
    """What :mod:`metaflow_core.cli.deployed` needs on the other machine. No secret, and no token."""
    package = package or {"key": "", "script": "", "folder": ""}
    return {
        "package": package["key"],
        "script": package["script"],
        "folder": package["folder"],
        "language": flow.language,
        "arguments": list(request.arguments),
    }


def _check_defaults(
    flow: FlowDef, defaults: Mapping[str, Any], schedule: Schedule | None, triggers: Sequence[PlanTrigger]
) -> None:
    """Nobody gives a parameter to a run that starts by itself, unless an event does. Each trigger starts runs alone."""
    starts: list[tuple[str, set[str]]] = [] if schedule is None else [("by its schedule", set())]
    for trigger in triggers:
        words = "event" if len(trigger.events) == 1 else "events"
        names = " and ".join(event.name for event in trigger.events)
        starts.append((f"by the {words} {names}", {name for event in trigger.events for name in event.parameters}))
    for parameter in flow.parameters:
        if not parameter.required or defaults[parameter.artifact] is not None:
            continue
        for how, mapped in starts:
            if parameter.name not in mapped:
                raise CommandException(
                    f"Parameter {parameter.name!r} is required, and nobody gives it to a run that is started {how}. "
                    f"Give it a default, or take it from an event, in each @trigger of a flow without @schedule: "
                    f"@trigger(event={{'name': ..., 'parameters': ...}})."
                )


def remove(backend: Backend, orchestrator: Orchestrator, row: DeploymentRow, options: Mapping[str, Any]) -> None:
    """Take a deployment away. Its runs and its token stay."""
    orchestrator.delete(as_deployment(row), options)
    deployments.end_deployment(backend.db, row.pk)
    _release_packages(backend, orchestrator, row.name)


def as_deployment(row: DeploymentRow) -> Deployment:
    """The deployment, as an orchestrator's plugin sees it."""
    return Deployment(
        row.pk, row.name, row.flow, row.orchestrator, row.owner, row.created_at, row.handle, row.info, row.plan
    )
