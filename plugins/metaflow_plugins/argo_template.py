"""The WorkflowTemplate of a deployment: what runs, in which containers.

https://argo-workflows.readthedocs.io/en/latest/fields/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metaflow_core import settings
from metaflow_core.deployment.plan import PROGRAM, PROGRAM_VARIABLE, DeploymentPlan, PlanNode
from metaflow_core.engine.interface import JobNeeds
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked, show

from metaflow_plugins.argo_graph import PATH, graph_templates
from metaflow_plugins.argo_names import Names, deployment_name
from metaflow_plugins.argo_text import BRACE, json_text, safe_json, shown_text, texts, variable_text
from metaflow_plugins.kubernetes_compute import Kubernetes
from metaflow_plugins.kubernetes_manifest import StepPods
from metaflow_plugins.kubernetes_names import label_value

API = "argoproj.io/v1alpha1"
RESULT = "/tmp/metaflow-result"
TRIGGER = "metaflow-trigger"  # the argument with the events that have started a run
PLACE = "kubernetes"
LABEL = "metaflow/deployment"
SHOWN = 100  # characters of a default
# Of the volumes, the node and the rest of a pod, what a template has.
_OF_A_POD = {
    "activeDeadlineSeconds",
    "containers",
    "imagePullSecrets",  # of the whole workflow
    "nodeSelector",
    "restartPolicy",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
}


def argument_names(plan: DeploymentPlan) -> dict[str, str]:
    """The name of the argument of a workflow for each parameter of the flow."""
    names = Names()
    names.of("trigger", "metaflow")
    return {parameter.name: names.of(parameter.name) for parameter in plan.parameters}


def namespace() -> str:
    return str(settings.get("KUBERNETES_NAMESPACE"))


def metadata(plan: DeploymentPlan) -> dict[str, Any]:
    """Of everything that is deployed."""
    return {
        "name": deployment_name(plan.name),
        "namespace": namespace(),
        "labels": {
            "app.kubernetes.io/managed-by": "metaflow-tandem",
            LABEL: deployment_name(plan.name),
            "metaflow/flow": label_value(plan.flow),
            "metaflow/owner": label_value(plan.owner),
        },
        "annotations": {
            "metaflow/name": plan.name,
            "metaflow/flow": plan.flow,
            "metaflow/owner": plan.owner,
            "metaflow/version": str(plan.id),
        },
    }


def run_labels(plan: DeploymentPlan) -> dict[str, str]:
    """Of the workflows, so that they are found, whoever has started them."""
    return {LABEL: deployment_name(plan.name), "metaflow/flow": label_value(plan.flow)}


def workflow_template(plan: DeploymentPlan) -> dict[str, Any]:
    """``MetaflowException`` for what Argo can't do."""
    names = Names()
    failed, on_exit = names.of("failed", "tell"), names.of("exit", "on")
    containers = _Containers(plan)
    templates = list(graph_templates(plan, names))
    templates += [containers.of_step(node, names.of(node.step)) for node in plan]
    templates += [
        {
            "name": on_exit,
            "steps": [[{"name": failed, "template": failed, "when": "'{{workflow.status}}' != 'Succeeded'"}]],
        },
        containers.of_end(failed),
    ]
    spec: dict[str, Any] = {
        "entrypoint": names.of(plan.start.step, "from"),
        "onExit": on_exit,
        "parallelism": plan.max_workers,
        "podGC": {"strategy": "OnPodSuccess"},  # what steps print is in the store
        "workflowMetadata": {"labels": run_labels(plan)},
        "arguments": {"parameters": _arguments(plan)},
        "templates": templates,
    }
    if plan.workflow_timeout is not None:
        spec["activeDeadlineSeconds"] = math.ceil(plan.workflow_timeout)
    if containers.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in containers.pull_secrets]
    if settings.get("KUBERNETES_SERVICE_ACCOUNT"):
        spec["serviceAccountName"] = settings.get("KUBERNETES_SERVICE_ACCOUNT")
    return {"apiVersion": API, "kind": "WorkflowTemplate", "metadata": metadata(plan), "spec": spec}


def _arguments(plan: DeploymentPlan) -> list[dict[str, str]]:
    """What a workflow is submitted with: JSON, where null stands for what is not given.

    Defaults are not among the values: who submits a workflow does not give them, and an event may give something else.
    """
    names = argument_names(plan)
    found = []
    for parameter in plan.parameters:
        described = {"name": names[parameter.name], "value": "null"}
        words = [shown_text(parameter.help).strip()] if parameter.help else []
        if parameter.default is not None and parameter.kind != "file":
            words.append(f"By default {shown_text(json_text(parameter.default)[:SHOWN])}.")
        if words:
            described["description"] = " ".join(words)
        found.append(described)
    if plan.triggers:
        found.append({"name": TRIGGER, "value": "", "description": "The events that have started the run, as JSON."})
    return found


class _Containers:
    """Templates that run a node. ``pull_secrets`` are those of all images."""

    def __init__(self, plan: DeploymentPlan) -> None:
        self.plan = plan
        self.pull_secrets: list[str] = []
        webhook = settings.get("ARGO_EVENTS_WEBHOOK_URL")
        self.webhook = webhook if webhook and masked(webhook) == webhook else None  # nothing deployed has a password
        self.secrets = [name.strip() for name in (settings.get("ARGO_WORKFLOWS_KUBERNETES_SECRETS") or "").split(",")]

    def of_step(self, node: PlanNode, name: str) -> dict[str, Any]:
        variables = {"METAFLOW_NODE_PATH": PATH if node.depth else "", "METAFLOW_NODE_RESULT": RESULT}
        if node.is_start:
            parts = [
                f"{json_text(parameter)}: {{{{workflow.parameters.{argument}}}}} "
                for parameter, argument in argument_names(self.plan).items()
            ]
            variables["METAFLOW_NODE_PARAMETERS"] = "{" + ", ".join(parts) + "}"
            if self.plan.triggers:
                variables["METAFLOW_NODE_TRIGGER"] = f"{{{{workflow.parameters.{TRIGGER}}}}}"
        template = self._template(node, name, [*PROGRAM, "node", node.step], variables, node.seconds)
        if node.depth:
            template["inputs"] = {"parameters": [{"name": "path"}]}
        told = {"foreach": "num_splits", "switch": "next"}.get(node.kind)
        if told is not None:
            template["outputs"] = {"parameters": [{"name": told, "valueFrom": {"path": f"{RESULT}/{told}"}}]}
        if node.attempts > 1:
            # Always: a pod that is lost counts as an attempt too.
            template["retryStrategy"] = {"limit": str(node.attempts - 1), "retryPolicy": "Always"}
            if node.wait:
                template["retryStrategy"]["backoff"] = {"duration": str(math.ceil(node.wait)), "factor": "1"}
        return template

    def of_end(self, name: str) -> dict[str, Any]:
        """Marks a run that has failed, and calls exit hooks: in a container like that of the last step."""
        return self._template(self.plan.end, name, [*PROGRAM, "finish", "--status", "failed"], {}, None)

    def _template(
        self, node: PlanNode, name: str, words: list[str], more: Mapping[str, str], seconds: float | None
    ) -> dict[str, Any]:
        where = f"Step {node.step}"
        attributes = node.place_attributes if node.place == PLACE else Kubernetes.defaults
        pods = StepPods(node.step, JobNeeds(node.languages, node.needs, attributes))
        if pods.options.namespace != namespace():
            raise MetaflowException(
                f"{where} is to run in the namespace {pods.options.namespace}, and all pods of a workflow run in one: "
                f"{namespace()}. Remove namespace from @kubernetes, or set METAFLOW_KUBERNETES_NAMESPACE."
            )
        labels = {"app.kubernetes.io/managed-by": "metaflow-tandem", "metaflow/step": label_value(node.step)}
        job = pods.manifest(name, labels, {}, seconds)
        for text in texts(job):
            if "{{" in text:
                raise MetaflowException(
                    f"{where}: {show(text)} can't be said of a pod of Argo Workflows, which replaces what stands "
                    f"between two braces. Write it without them."
                )
        pod = job["spec"]["template"]["spec"]
        unknown = set(pod) - _OF_A_POD
        assert not unknown, unknown
        for secret in pod.get("imagePullSecrets", []):
            if secret["name"] not in self.pull_secrets:
                self.pull_secrets.append(secret["name"])
        (container,) = pod["containers"]
        del container["name"]
        container["command"] = ["python3", *words]
        container["env"] += self._variables(node, more)
        for secret in filter(None, self.secrets):
            source = {"secretRef": {"name": secret}}
            if source not in container.setdefault("envFrom", []):
                container["envFrom"].append(source)
        template = {"name": name, "metadata": job["spec"]["template"]["metadata"], "container": container}
        for key in ("activeDeadlineSeconds", "nodeSelector", "serviceAccountName", "tolerations", "volumes"):
            if key in pod:
                template[key] = pod[key]
        return template

    def _variables(self, node: PlanNode, more: Mapping[str, str]) -> list[dict[str, str]]:
        """Those of ``more`` have what Argo replaces."""
        plain = self.plan.environment(node)
        if self.webhook:  # where the last node tells that the run has succeeded
            plain["METAFLOW_ARGO_EVENTS_WEBHOOK_URL"] = self.webhook
        given = {key: variable_text(value) for key, value in plain.items()}
        if any(BRACE in value for value in given.values()):
            given = {BRACE: "{", **given}
        given[PROGRAM_VARIABLE] = safe_json(self.plan.program)
        given["METAFLOW_RUN_ID"] = "argo-{{workflow.name}}"
        return [{"name": key, "value": value} for key, value in {**given, **more}.items()]
