"""What starts a state machine by itself: rules of Amazon EventBridge.

Rules know no time zones. A schedule that has one is one of EventBridge Scheduler, which is another service.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent
from metaflow_core.deployment.schedule import for_aws
from metaflow_core.errors import CommandException

from metaflow_plugins.step_functions_names import MAX_EVENT_NAME, rule_prefix

TARGET = "machine"  # the id of a rule's only target
NOTHING_GIVEN = json.dumps({"Parameters": "{}", "Trigger": []})


class Rule(NamedTuple):
    """``settings`` are arguments of ``put_rule``, ``target`` is what the rule's target has beside its ARN and role."""

    name: str
    settings: dict[str, Any]
    target: dict[str, Any]


def check_rules(plan: DeploymentPlan) -> None:
    """Refuse what rules can't express."""
    if plan.schedule is not None:
        for_aws(plan.schedule)
    for trigger in plan.triggers:
        for event in trigger.events:
            if len(event.name) > MAX_EVENT_NAME:
                raise CommandException(
                    f"Amazon EventBridge takes names of events of at most {MAX_EVENT_NAME} characters, not "
                    f"{event.name!r}. Use shorter names of projects, branches and flows."
                )
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
    if plan.schedule is not None and not _has_zone(plan):
        found.append(Rule(f"{prefix}schedule", {"ScheduleExpression": _expression(plan)}, {"Input": NOTHING_GIVEN}))
    events = {event.name: event for trigger in plan.triggers for event in trigger.events}
    for number, event in enumerate(events.values()):
        pattern: dict[str, Any] = {"detail-type": [event.name]}
        if event.flow is not None:
            pattern["source"] = ["metaflow"]
        settings = {"EventPattern": json.dumps(pattern)}
        found.append(Rule(f"{prefix}event-{number}", settings, {"InputTransformer": _transformer(event)}))
    return found


def zoned_schedule(plan: DeploymentPlan, machine: str) -> dict[str, Any] | None:
    """The schedule, if it is in a time zone: arguments of ``create_schedule``, but for the target's ARN and role."""
    if plan.schedule is None or not _has_zone(plan):
        return None
    return {
        "Name": schedule_name(machine),
        "Description": f"Starts the state machine {machine}.",
        "ScheduleExpression": _expression(plan),
        "ScheduleExpressionTimezone": plan.schedule.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Input": NOTHING_GIVEN},
    }


def schedule_name(machine: str) -> str:
    return f"{rule_prefix(machine)}schedule"


def _has_zone(plan: DeploymentPlan) -> bool:
    return plan.schedule is not None and plan.schedule.timezone not in (None, "UTC", "Etc/UTC")


def _expression(plan: DeploymentPlan) -> str:
    assert plan.schedule is not None
    return f"cron({for_aws(plan.schedule)})"


def _transformer(event: PlanEvent) -> dict[str, Any]:
    """EventBridge puts values in JSON for ``<name>``: texts with their quotes, objects as they are."""
    kind = "event" if event.flow is None else "run"
    trigger = f'[{{"name":<name>,"id":<id>,"time":<time>,"type":"{kind}","payload":<payload>}}]'
    return {
        "InputPathsMap": {"name": "$.detail-type", "id": "$.id", "time": "$.time", "payload": "$.detail"},
        "InputTemplate": f'{{"Parameters":"{{}}","Trigger":{trigger}}}',
    }
