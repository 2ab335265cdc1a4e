"""Turns a flow into a deployment plan."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.decorators.resolve import step_decorators
from metaflow_core.deployment.plan import DeploymentPlan, NodeKind, PlanNode, PlanParameter
from metaflow_core.engine.remote import remote_steps
from metaflow_core.errors import CommandException, MetaflowException
from metaflow_core.graph.model import FlowDef, ParameterDef, StepDef
from metaflow_core.graph.order import in_order
from metaflow_core.graph.parameter_file import parsed
from metaflow_core.graph.parameters import convert, kind
from metaflow_core.graph.splits import Stack, find_splits
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.decorators.interface import StepDecorator
    from metaflow_core.deployment.interface import Orchestrator

_KINDS: dict[str, NodeKind] = {
    "linear": "linear",
    "split": "split",
    "foreach": "foreach",
    "parallel": "parallel",
    "switch": "switch",
}


def compile_nodes(flow: FlowDef, orchestrator: Orchestrator) -> dict[str, PlanNode]:
    """The nodes of a checked flow, in the order of the graph. ``CommandException`` for gangs, which few can run."""
    splits = find_splits(flow)
    places = {step: (place, needs) for place, steps in remote_steps(flow).items() for step, needs in steps.items()}
    found: dict[str, PlanNode] = {}
    for name in in_order(flow):
        step = flow[name]
        scope = splits.around[name]
        decorators = step_decorators(step)
        place, needs = places.get(name, (None, None))
        found[name] = PlanNode(
            step=name,
            kind=_kind(step, orchestrator),
            targets=tuple(dict.fromkeys(step.targets)),
            scope=scope,
            is_start=step.is_start,
            is_join=step.is_join,
            join=splits.closed_by.get(name),
            loops_to=tuple(target for target in dict.fromkeys(step.targets) if target == name),
            cases=dict(step.transition.cases) if step.transition else {},
            fans=_fans(flow, scope),
            attempts=attempts_of(decorators) + any(decorator.handles_failure for decorator in decorators),
            wait=max((decorator.retry_wait for decorator in decorators), default=0.0),
            seconds=min((d.seconds for d in decorators if d.seconds is not None), default=None),
            needs=next((decorator.needs for decorator in decorators if decorator.needs is not None), None),
            place=place,
            place_attributes=dict(needs.attributes) if needs is not None else {},
            languages=tuple(sorted({flow.language, step.language})),
            doc=step.doc,
        )
    return found


def attempts_of(decorators: Sequence[StepDecorator]) -> int:
    """How often the body of a step is run at most."""
    return 1 + max((decorator.retries for decorator in decorators), default=0)


def known_parameters(plan: Mapping[str, Any]) -> list[ParameterDef]:
    """The parameters in what :func:`plan_as_json` has made, without what only the flow's code can do."""
    return [
        ParameterDef(
            one["name"],
            "str" if one["kind"] == "click" else one["kind"],
            required=one["required"],
            help=one["help"],
            separator=one.get("separator"),
            options=dict(one.get("options") or {}),
        )
        for one in plan["parameters"]
    ]


def _kind(step: StepDef, orchestrator: Orchestrator) -> NodeKind:
    if step.is_end or step.transition is None:
        return "end"
    if step.transition.kind == "parallel" and not getattr(orchestrator, "has_gangs", False):
        raise CommandException(
            f"Step {step.name} leads on with num_parallel. The tasks of a gang start at once, which "
            f"{orchestrator.title} can't see to. Use foreach, deploy the flow with `local create`, or start it with "
            f"`run` from a scheduler of your own."
        )
    return _KINDS[step.transition.kind]


def _fans(flow: FlowDef, scope: Stack) -> tuple[str, ...]:
    transitions = ((split, flow[split].transition) for split, _ in scope)
    return tuple(split for split, transition in transitions if transition and transition.kind == "foreach")


def compile_parameters(flow: FlowDef, defaults: Mapping[str, Any]) -> list[PlanParameter]:
    """The parameters, with the ``defaults`` that the deployment has found, by artifact."""
    return [
        PlanParameter(
            parameter.name,
            kind(parameter),
            _text(parameter, defaults.get(parameter.artifact)),
            parameter.required and parameter.default is None,
            parameter.help or "",
            parameter.separator,
            {name: parameter.options[name] for name in ("is_text", "encoding") if name in parameter.options},
        )
        for parameter in flow.parameters
    ]


def parameter_text(parameter: ParameterDef, value: Any) -> str:
    """A value as a node takes it: what one would type, or JSON. ``TypeError``, ``ValueError`` when it has none."""
    if isinstance(value, str) and kind(parameter) != "json":
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if parameter.separator is not None and isinstance(value, list):
        joined = parameter.separator.join(map(str, value))
        if convert(parameter, joined) == value:
            return joined
    return json.dumps(value)


def given_file(parameter: ParameterDef, text: str) -> Any:
    """The value of a file whose content :func:`parameter_text` has made a text."""
    if parameter.options.get("is_text", True):
        return parsed(parameter, text, "that was given")
    try:
        return parsed(parameter, base64.b64decode(text, validate=True), "that was given")
    except binascii.Error:
        raise MetaflowException(f"Parameter {parameter.name!r} must be the content of a file in base64.") from None


def _text(parameter: ParameterDef, value: Any) -> str | None:
    if value is None or isinstance(value, bytes):
        return None  # the content of a file, which nobody types
    return parameter_text(parameter, value)


def storable(flow: FlowDef, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Values as JSON has them. ``CommandException`` for one that it can't express."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            found[name] = {"bytes": base64.b64encode(value).decode()}
            continue
        try:
            found[name] = {"value": json.loads(json.dumps(value))}
        except (TypeError, ValueError):
            raise CommandException(
                f"The {what} {name!r} of {flow.name} can't be deployed: {show(value)} is nothing that JSON can express."
            ) from None
    return found


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`storable` has made."""
    found = {}
    for name, value in values.items():
        if "bytes" in value:
            found[name] = base64.b64decode(value["bytes"])
        else:
            found[name] = value["value"]
    return found


def plan_as_json(plan: DeploymentPlan) -> dict[str, Any]:
    """What is kept of a plan with the deployment: all that a command about it needs later."""
    return {
        "parameters": [parameter._asdict() for parameter in plan.parameters],
        "schedule": plan.schedule and {"cron": plan.schedule.cron, "timezone": plan.schedule.timezone},
        "triggers": [
            [{"name": e.name, "parameters": dict(e.parameters), "flow": e.flow} for e in trigger.events]
            for trigger in plan.triggers
        ],
        "workflow_timeout": plan.workflow_timeout,
        "project": plan.project,
        "branch": plan.branch,
        "is_production": plan.is_production,
    }
