"""The DAG file of a deployment: `airflow_dag.py`, with the plan in it as one JSON literal.

Whatever a user has written, a name, a description or a default, stands inside of that literal and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from metaflow_core.deployment.plan import PROGRAM, DeploymentPlan, PlanNode, PlanParameter
from metaflow_core.deployment.schedule import for_airflow

MAX_DAG_ID = 250
MAX_TAG = 100
MAX_EVENT_NAME = 1500
_EMPTY = 'json.loads("{}")'
# What a parameter may be in the form of Airflow's pages and in a request. Text always: the flow reads it as an option.
_TYPES = {"int": "integer", "float": "number", "bool": "boolean"}


def dag_file(plan: DeploymentPlan, python: str) -> str:
    """The text of the DAG file; ``python`` is the interpreter on the workers."""
    path = os.path.join(os.path.dirname(__file__), "airflow_dag.py")
    with open(path, encoding="utf-8") as file:
        before, after = file.read().split(_EMPTY)
    lines = json.dumps(_data(plan, python), indent=1).splitlines()
    literal = "\n".join(f"    {line!a}" for line in lines)
    return f"{before}json.loads(\n{literal}\n){after}"


def dag_id(name: str) -> str:
    """What Airflow calls a deployment: its name, unless that has characters that Airflow does not allow."""
    found = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if found == name and len(name) <= MAX_DAG_ID:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{found[: MAX_DAG_ID - 9]}-{mark}"


def can_name_asset(name: str) -> bool:
    """Whether Airflow takes it as the name of an asset."""
    return (
        name.isascii()
        and bool(name.strip())
        and len(name) <= MAX_EVENT_NAME
        and not name.lower().startswith("airflow:")
    )


def run_id(name: str, run: str) -> str:
    """The id of the run that Airflow calls ``run``, as the DAG file computes it."""
    return f"airflow-{hashlib.sha256(f'{name}/{run}'.encode()).hexdigest()[:16]}"


def mark(plan: DeploymentPlan) -> str:
    """What the DAG's documentation says, so that who has deployed sees when Airflow has read the new file."""
    return f"Deployed with Metaflow by {plan.owner} as {plan.name}, version {plan.id}."


def paths_source(plan: DeploymentPlan, node: PlanNode) -> str | None:
    """The task that has the paths of a step: a foreach, or one that looks for them; None for a step without a path.

    Where a step runs exactly where another one has run before it, that one's paths are its own.
    """
    if not node.fans:
        return None
    if node.is_join:
        return paths_source(plan, next(each for each in plan if each.join == node.step))
    before = plan.leading_to(node.step)
    if len(before) == 1:
        (parent,) = before
        if parent.kind in ("linear", "split"):
            return paths_source(plan, parent)
        if parent.kind == "foreach" and not parent.fans:
            return parent.step
    return f"{node.step}-paths"


def _data(plan: DeploymentPlan, python: str) -> dict[str, Any]:
    schedule = plan.schedule
    start = datetime.now(timezone.utc).replace(microsecond=0) if schedule else datetime(2020, 1, 1, tzinfo=timezone.utc)
    tags = ["metaflow", *([f"project:{plan.project}", f"branch:{plan.branch}"] if plan.project else []), *plan.tags]
    return {
        "dag": dag_id(plan.name),
        "name": plan.name,
        "flow": plan.flow,
        "description": plan.doc,
        "doc": f"{plan.doc}\n\n{mark(plan)}".strip(),
        "owner": plan.owner,
        "tags": sorted({tag for tag in tags if len(tag) <= MAX_TAG}),
        "cron": for_airflow(schedule) if schedule else None,
        "timezone": (schedule.timezone if schedule else None) or "UTC",
        "start_date": start.isoformat(),
        "triggers": [[event.name for event in trigger.events] for trigger in plan.triggers],
        # One that can't be named has no followers: their deployments are refused.
        "end_event": plan.end_event if can_name_asset(plan.end_event) else "",
        "max_workers": plan.max_workers,
        "timeout": plan.workflow_timeout,
        "parameters": [_parameter(one) for one in plan.parameters if one.kind != "file"],
        "python": python,
        "program": PROGRAM,
        "environment": plan.environment(),
        "start": plan.start.step,
        "end": plan.end.step,
        "fans": [node.step for node in plan if node.kind == "foreach" and not node.fans],
        "switches": [node.step for node in plan if node.kind == "switch" and not node.fans],
        "nodes": [_node(plan, node) for node in plan],
    }


def _node(plan: DeploymentPlan, node: PlanNode) -> Mapping[str, Any]:
    return {
        "step": node.step,
        "doc": node.doc,
        "parents": [parent.step for parent in plan.leading_to(node.step)],
        "paths": paths_source(plan, node),
        "retries": node.attempts - 1,
        "wait": node.wait,
    }


def _parameter(parameter: PlanParameter) -> Mapping[str, Any]:
    default: Any = parameter.default
    kind = _TYPES.get(parameter.kind)
    if kind and default is not None:
        try:
            default = json.loads(default)
        except ValueError:
            default = parameter.default
    types = [*([kind] if kind else []), "string", "null"]
    return {"name": parameter.name, "default": default, "types": types, "help": parameter.help}
