"""The Job that Kubernetes is told of, as the API has it.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metaflow_core.engine.interface import JobNeeds
from metaflow_core.errors import ComputeUnavailable

from metaflow_plugins.container_job import COMMAND
from metaflow_plugins.container_needs import Size, size_of, temporary_folder
from metaflow_plugins.kubernetes_options import PodOptions, pod_options

CONTAINER = "task"
KEPT_SECONDS = 24 * 3600  # for which a job that has ended can be looked at
START_SECONDS = 600.0  # on a node, to pull the image, before the time of a task counts
GRACE_SECONDS = 10  # to end in, after being asked
LONGEST_VARIABLE = 128 * 1024 - 1  # bytes of name and value, a limit of Linux
TEMPORARY, SHARED = "tmpfs", "shared-memory"  # volumes


class StepPods:
    """What all pods of a step have in common."""

    def __init__(self, step: str, needs: JobNeeds) -> None:
        self.needs = needs
        self.options: PodOptions = pod_options(f"@kubernetes on step {step}", needs.attributes)
        self.size = size_of(needs)
        if not self.options.image:
            raise ComputeUnavailable(
                f"@kubernetes on step {step} needs an image that has metaflow-tandem. Set "
                "METAFLOW_KUBERNETES_CONTAINER_IMAGE, or say @kubernetes(image='my-image')."
            )

    def manifest(
        self, name: str, labels: Mapping[str, str], variables: Mapping[str, str], seconds: float | None
    ) -> dict[str, Any]:
        """A Job. ``seconds`` is after which its pod is ended, should nobody be there any more who does so in time."""
        metadata = {"labels": {**self.options.labels, **labels}, "annotations": self.options.annotations}
        metadata = {key: value for key, value in metadata.items() if value}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": self.options.namespace, **metadata},
            "spec": {
                "backoffLimit": 0,
                "completions": 1,
                "parallelism": 1,
                "ttlSecondsAfterFinished": KEPT_SECONDS,
                "template": {"metadata": metadata, "spec": self._pod(variables, seconds)},
            },
        }

    def _pod(self, variables: Mapping[str, str], seconds: float | None) -> dict[str, Any]:
        options = self.options
        for name, value in variables.items():
            if len(name) + 1 + len(value.encode()) > LONGEST_VARIABLE:
                raise ComputeUnavailable(
                    f"The description of the task takes {len(value.encode())} bytes, and a variable of a container "
                    f"takes {LONGEST_VARIABLE}. What makes it long are options of the command line and settings."
                )
        volumes, mounts, more = self._volumes()
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": options.image,
            "command": COMMAND,
            "env": [{"name": name, "value": value} for name, value in {**more, **variables}.items()],
            "resources": _resources(self.size, options),
        }
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "containers": [container],
        }
        _add(
            container,
            imagePullPolicy=options.image_pull_policy,
            envFrom=[{"secretRef": {"name": secret}} for secret in options.secrets],
            volumeMounts=mounts,
            ports=[{"containerPort": int(self.needs.attributes["port"])}] if self.needs.attributes["port"] else None,
            securityContext=options.security_context,
        )
        _add(
            pod,
            activeDeadlineSeconds=math.ceil(seconds + START_SECONDS) if seconds is not None else None,
            serviceAccountName=options.service_account,
            imagePullSecrets=[{"name": secret} for secret in options.image_pull_secrets],
            nodeSelector=options.node_selector,
            tolerations=options.tolerations,
            volumes=volumes,
        )
        return pod

    def _volumes(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
        volumes: list[dict[str, Any]] = []
        mounts: list[dict[str, Any]] = []
        variables: dict[str, str] = {}
        folder = temporary_folder(self.needs, self.size.memory)
        if folder is not None:
            path, size, variables = folder
            volumes.append(_in_memory(TEMPORARY, size))
            mounts.append({"name": TEMPORARY, "mountPath": path})
        if self.size.shared_memory:
            volumes.append(_in_memory(SHARED, math.ceil(self.size.shared_memory)))
            mounts.append({"name": SHARED, "mountPath": "/dev/shm"})
        for number, (claim, path) in enumerate(self.options.volume_claims.items()):
            volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
            mounts.append({"name": f"claim-{number}", "mountPath": path})
        return volumes, mounts, variables


def _resources(size: Size, options: PodOptions) -> dict[str, Any]:
    memory = f"{math.ceil(size.memory)}M"
    requests = {"cpu": f"{math.ceil(size.cpu * 1000)}m", "memory": memory}
    if size.disk:
        requests["ephemeral-storage"] = f"{math.ceil(size.disk)}M"
    # A step that needs more memory than it asks for fails, and takes none from its neighbours.
    limits = dict(requests) if options.guaranteed else {"memory": memory}
    if size.gpu:
        limits[f"{options.gpu_vendor.lower()}.com/gpu"] = str(size.gpu)
    return {"requests": requests, "limits": limits}


def _in_memory(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": f"{size}M"}}


def _add(target: dict[str, Any], **values: Any) -> None:
    target.update({key: value for key, value in values.items() if value})
