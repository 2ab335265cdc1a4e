"""What starts runs by itself: a CronWorkflow for a schedule, a Sensor for events.

https://argo-workflows.readthedocs.io/en/latest/cron-workflows/ and https://argoproj.github.io/argo-events/sensors/
"""

from __future__ import annotations

import re
from typing import Any

from metaflow_core import settings
from metaflow_core.deployment.plan import DeploymentPlan
from metaflow_core.deployment.schedule import for_argo
from metaflow_core.errors import MetaflowException

from metaflow_plugins.argo_names import deployment_name
from metaflow_plugins.argo_template import API, TRIGGER, metadata, run_labels

# The event as JSON, in which Argo Workflows and Kubernetes replace nothing (see `argo_text`).
_EVENT = r'.Input.body | toJson | replace "\x7b\x7b" "\x7b\\u007b" | replace "$" "\\u0024"'


def cron_workflow(plan: DeploymentPlan) -> dict[str, Any] | None:
    """None when the flow has no schedule."""
    if plan.schedule is None:
        return None
    spec = {
        "schedules": [for_argo(plan.schedule)],
        "timezone": plan.schedule.timezone or "UTC",
        "concurrencyPolicy": "Allow",
        "startingDeadlineSeconds": 300,  # for which a start that was missed is made up for
        "workflowMetadata": {"labels": run_labels(plan)},
        "workflowSpec": {"workflowTemplateRef": {"name": deployment_name(plan.name)}},
    }
    return {"apiVersion": API, "kind": "CronWorkflow", "metadata": metadata(plan), "spec": spec}


def sensor(plan: DeploymentPlan) -> dict[str, Any] | None:
    """None when no event starts the flow."""
    if not plan.triggers:
        return None
    source, event = settings.get("ARGO_EVENTS_EVENT_SOURCE"), settings.get("ARGO_EVENTS_EVENT")
    if not source or not event:
        raise MetaflowException(
            "Events come to Argo through an event source, and which one is not known. Set "
            "METAFLOW_ARGO_EVENTS_EVENT_SOURCE to its name, and METAFLOW_ARGO_EVENTS_EVENT to the name of its event."
        )
    awaited = list(dict.fromkeys(one.name for trigger in plan.triggers for one in trigger.events))
    dependencies = {name: f"event-{number}" for number, name in enumerate(awaited)}
    spec: dict[str, Any] = {
        "eventBusName": settings.get("ARGO_EVENTS_EVENT_BUS"),
        "dependencies": [
            {
                "name": dependency,
                "eventSourceName": source,
                "eventName": event,
                "filters": {"data": [{"path": "body.name", "type": "string", "value": [f"^{re.escape(name)}$"]}]},
            }
            for name, dependency in dependencies.items()
        ],
        "triggers": [
            _trigger(plan, number, [dependencies[one.name] for one in trigger.events])
            for number, trigger in enumerate(plan.triggers)
        ],
    }
    account = settings.get("ARGO_EVENTS_SERVICE_ACCOUNT")
    if account:
        spec["template"] = {"serviceAccountName": account}
    return {"apiVersion": API, "kind": "Sensor", "metadata": metadata(plan), "spec": spec}


def _trigger(plan: DeploymentPlan, number: int, dependencies: list[str]) -> dict[str, Any]:
    """Creates a workflow once all of these events are there, with a list of them as an argument."""
    needed = list(dict.fromkeys(dependencies))
    parts = []
    for place, dependency in enumerate(needed):
        before = "," if place else "["
        after = "]" if place == len(needed) - 1 else ""
        source = {"dependencyName": dependency, "dataTemplate": before + "{{ " + _EVENT + " }}" + after}
        parts.append({"src": source, "dest": "spec.arguments.parameters.0.value", "operation": "append"})
    return {
        "template": {
            "name": f"start-{number}",
            "conditions": " && ".join(needed),
            "k8s": {
                "operation": "create",
                "source": {
                    "resource": {
                        "apiVersion": API,
                        "kind": "Workflow",
                        "metadata": {
                            "generateName": f"{deployment_name(plan.name)}-",
                            "namespace": metadata(plan)["namespace"],
                            "labels": run_labels(plan),
                        },
                        "spec": {
                            "arguments": {"parameters": [{"name": TRIGGER, "value": ""}]},
                            "workflowTemplateRef": {"name": deployment_name(plan.name)},
                        },
                    }
                },
                "parameters": parts,
            },
        }
    }
