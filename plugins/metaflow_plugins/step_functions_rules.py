"""What starts a state machine by itself: rules of Amazon EventBridge."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent
from metaflow_core.deployment.schedule import for_aws
from metaflow_core.errors import CommandException
from metaflow_core.names import show

from metaflow_plugins.step_functions_names import rule_prefix

TARGET = "machine"  # the id of a rule's only target


class Rule(NamedTuple):
    """``settings`` are arguments of ``put_rule``, ``target`` is what the rule's target has beside its ARN and role."""

    name: str
    settings: dict[str, Any]
    target: dict[str, Any]


def check_rules(plan: DeploymentPlan) -> None:
    """Refuse what rules can't express."""
    if plan.schedule is not None:
        for_aws(plan.schedule)
        if plan.schedule.timezone not in (None, "UTC", "Etc/UTC"):
            raise CommandException(
                f"Rules of Amazon EventBridge know no time zones, and @schedule on flow {plan.flow} has timezone="
                f"{show(plan.schedule.timezone)}. Write the time in UTC and leave the time zone out, or deploy to Argo "
                f"Workflows or Airflow."
            )
    for trigger in plan.triggers:
        if len(trigger.events) > 1:
            names = ", ".join(event.name for event in trigger.events)
            raise CommandException(
                f"Rules of Amazon EventBridge wait for one event each, and flow {plan.flow} waits for all of: {names}. "
                f"Let any of them start it, with a decorator for each, or deploy to Argo Workflows or Airflow."
            )


def rules_of(plan: DeploymentPlan, machine: str) -> list[Rule]:
    """One for the schedule, and one for each event."""
    prefix = rule_prefix(machine)
    found = []
    if plan.schedule is not None:
        settings = {"ScheduleExpression": f"cron({for_aws(plan.schedule)})"}
        found.append(Rule(f"{prefix}schedule", settings, {"Input": json.dumps({"Parameters": "{}", "Trigger": []})}))
    events = {event.name: event for trigger in plan.triggers for event in trigger.events}
    for number, event in enumerate(events.values()):
        pattern: dict[str, Any] = {"detail-type": [event.name]}
        if event.flow is not None:
            pattern["source"] = ["metaflow"]
        settings = {"EventPattern": json.dumps(pattern)}
        found.append(Rule(f"{prefix}event-{number}", settings, {"InputTransformer": _transformer(event)}))
    return found


def _transformer(event: PlanEvent) -> dict[str, Any]:
    """EventBridge puts values in JSON for ``<name>``: texts with their quotes, objects as they are."""
    kind = "event" if event.flow is None else "run"
    trigger = f'[{{"name":<name>,"id":<id>,"time":<time>,"type":"{kind}","payload":<payload>}}]'
    return {
        "InputPathsMap": {"name": "$.detail-type", "id": "$.id", "time": "$.time", "payload": "$.detail"},
        "InputTemplate": f'{{"Parameters":"{{}}","Trigger":{trigger}}}',
    }
