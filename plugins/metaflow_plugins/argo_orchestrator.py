"""Deployments on Argo Workflows, and their runs."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from metaflow_core import settings
from metaflow_core.deployment.interface import Deployed, Deployment, Execution
from metaflow_core.errors import MetaflowException, MetaflowNotFound

from metaflow_plugins.argo_names import deployment_name
from metaflow_plugins.argo_starting import cron_workflow, sensor
from metaflow_plugins.argo_template import API, LABEL, PLACE, argument_names, namespace, workflow_template
from metaflow_plugins.argo_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click
    from metaflow_core.deployment.plan import DeploymentPlan

    from metaflow_plugins.argo_client import Argo

NAME = "argo-workflows"
PREFIX = "argo"
STARTERS = ("CronWorkflow", "Sensor")
MOST_ARGUMENTS = 100_000  # characters: they are one variable of a container, which takes 128 KiB
_PHASES = {"Running": "running", "Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}


class ArgoWorkflows:
    """See :class:`metaflow_core.deployment.interface.Orchestrator`."""

    name = NAME
    title = "Argo Workflows"
    shares_files = False
    places: Collection[str] = (PLACE,)

    def options(self, command: str) -> Sequence[click.Parameter]:
        return []

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        _documents(plan)

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        """A list of objects as JSON, as ``kubectl apply -f`` takes it."""
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": _documents(plan)}, indent=2)

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        known = _argo(namespace()).get("WorkflowTemplate", deployment_name(plan.name))
        _check_owned(plan, known)

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        name, argo = deployment_name(plan.name), _argo(namespace())
        wanted = {one["kind"]: one for one in json.loads(document)["items"]}
        kinds = ["WorkflowTemplate", *STARTERS]
        # A cluster without Argo Events is fine for flows that wait for no event.
        before = {kind: _known(argo, kind, name, kind in wanted) for kind in kinds}
        for known in before.values():
            _check_owned(plan, known)
        done: list[str] = []
        try:
            for kind in kinds:
                done.append(kind)
                _put(argo, kind, name, wanted.get(kind), before[kind])
        except BaseException:
            for kind in reversed(done):
                with suppress(MetaflowException):  # what is told is why it went wrong in the first place
                    _put(argo, kind, name, before[kind], argo.get(kind, name))
            raise
        info = {
            "namespace": argo.namespace,
            "arguments": argument_names(plan),
            "timeout": plan.workflow_timeout,
        }
        return Deployed(name, info, list(_notes(plan, name, argo.namespace)))

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        given = [
            {"name": deployment.info["arguments"][name], "value": json_text(text)} for name, text in parameters.items()
        ]
        length = sum(len(one["value"]) for one in given)
        if length > MOST_ARGUMENTS:
            raise MetaflowException(
                f"The parameters are {length} characters of JSON, and a run on Argo Workflows takes {MOST_ARGUMENTS}. "
                f"Put large values where the steps can read them, and give their address."
            )
        labels = {LABEL: deployment.handle}
        workflow = _of(deployment).create(
            {
                "apiVersion": API,
                "kind": "Workflow",
                "metadata": {
                    "name": f"{deployment.handle}-{os.urandom(4).hex()}",
                    "namespace": deployment.info["namespace"],
                    "labels": labels,
                },
                "spec": {"workflowTemplateRef": {"name": deployment.handle}, "arguments": {"parameters": given}},
            }
        )
        return _execution(workflow, deployment)

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        workflows = sorted(
            _of(deployment).list("Workflow", f"{LABEL}={deployment.handle}"),
            key=lambda workflow: (workflow["metadata"].get("creationTimestamp", ""), workflow["metadata"]["name"]),
            reverse=True,
        )
        found = [_execution(workflow, deployment) for workflow in workflows]
        return [execution for execution in found if not statuses or execution.status in statuses]

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        execution = self.status(deployment, run_id, options)
        if execution.finished_at is not None:
            return execution
        # Not Terminate: that would leave out the exit handler, which marks the run as failed.
        change = {"spec": {"shutdown": "Stop"}}
        return _execution(_of(deployment).patch("Workflow", execution.handle, change), deployment)

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        prefix, _, name = run_id.partition("-")
        argo = _of(deployment)
        workflow = argo.get("Workflow", name) if prefix == PREFIX and name else None
        if workflow is None and argo.get("WorkflowTemplate", deployment.handle) is None:
            raise MetaflowException(
                f"The namespace {argo.namespace} has no WorkflowTemplate {deployment.handle}, so it can't be said how "
                f"{run_id} is. Is this the cluster to which {deployment.name} is deployed?"
            )
        if workflow is None or workflow["metadata"].get("labels", {}).get(LABEL) != deployment.handle:
            raise MetaflowNotFound(
                f"{deployment.name} has no run {run_id} on {self.title}. `list-runs` lists its runs."
            )
        return _execution(workflow, deployment)

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        argo = _of(deployment)
        for kind in (*STARTERS, "WorkflowTemplate"):  # first what would start runs of it
            known = _known(argo, kind, deployment.handle, kind == "WorkflowTemplate")
            if known is not None and known["metadata"].get("annotations", {}).get("metaflow/name") == deployment.name:
                argo.delete(kind, deployment.handle)


def _documents(plan: DeploymentPlan) -> list[dict[str, Any]]:
    starters = (cron_workflow(plan), sensor(plan))
    return [workflow_template(plan), *(one for one in starters if one is not None)]


def _argo(namespace: str) -> Argo:
    from metaflow_plugins.argo_client import Argo

    return Argo(namespace)


def _of(deployment: Deployment) -> Argo:
    return _argo(deployment.info["namespace"])


def _known(argo: Argo, kind: str, name: str, is_wanted: bool) -> dict[str, Any] | None:
    """The object; None when there is none, or when the cluster can't have any and none is wanted."""
    try:
        return argo.get(kind, name)
    except MetaflowException:
        if is_wanted or kind != "Sensor":
            raise
        return None


def _put(argo: Argo, kind: str, name: str, wanted: dict[str, Any] | None, known: dict[str, Any] | None) -> None:
    if wanted is None:
        if known is not None:
            argo.delete(kind, name)
    elif known is None:
        argo.create(wanted)
    else:
        argo.replace(wanted, known)


def _check_owned(plan: DeploymentPlan, known: Mapping[str, Any] | None) -> None:
    if known is None:
        return
    annotations = known["metadata"].get("annotations") or {}
    if annotations.get("metaflow/name") != plan.name:
        raise MetaflowException(
            f"The namespace {namespace()} has a {known['kind']} {known['metadata']['name']} that was not made for "
            f"{plan.name}, and is left as it is. Remove it, or set METAFLOW_KUBERNETES_NAMESPACE to another namespace."
        )


def _notes(plan: DeploymentPlan, name: str, namespace: str) -> Iterable[str]:
    if plan.schedule is not None:
        yield f"It starts at {plan.schedule.cron} ({plan.schedule.timezone or 'UTC'})."
    for trigger in plan.triggers:
        yield f"It starts when these events have come: {', '.join(event.name for event in trigger.events)}."
    address = settings.get("ARGO_WORKFLOWS_UI_URL")
    if address:
        yield f"See it at {address.rstrip('/')}/workflow-templates/{namespace}/{name}"


def _execution(workflow: Mapping[str, Any], deployment: Deployment) -> Execution:
    status = workflow.get("status") or {}
    started, finished = _seconds(status.get("startedAt")), _seconds(status.get("finishedAt"))
    word = _PHASES.get(status.get("phase", ""), "queued")
    timeout = deployment.info.get("timeout")
    if word == "failed" and workflow["spec"].get("shutdown"):
        word = "terminated"
    elif word == "failed" and timeout and started is not None and finished is not None:
        word = "timed-out" if finished - started >= timeout else word
    name = workflow["metadata"]["name"]
    note = str(status.get("message") or "") if word in ("failed", "queued") else ""
    return Execution(f"{PREFIX}-{name}", word, started, finished, name, note)


def _seconds(text: str | None) -> float | None:
    """Of a time as Kubernetes writes it: 2026-11-23T20:12:12Z."""
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
