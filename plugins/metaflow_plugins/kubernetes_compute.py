"""Tasks on a Kubernetes cluster: ``@kubernetes``, ``--with kubernetes``.

Each attempt is one Job with one pod, which Kubernetes does not repeat: ``@retry`` decides what follows a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.engine.interface import RemoteCompute
    from metaflow_core.graph.model import FlowDef, StepDef


class Kubernetes(StepDecorator):
    """Run the step's tasks as pods: ``@kubernetes(cpu=1, gpu=None, memory=4096, disk=10240, image=None, ...)``.

    Sizes are in MB. What ``@resources`` asks for counts where it is more.
    """

    name = "kubernetes"
    compute = "kubernetes"
    defaults: ClassVar[Mapping[str, Any]] = {
        "cpu": 1,
        "gpu": None,
        "memory": 4096,
        "disk": 10240,
        "image": None,
        "image_pull_policy": None,
        "image_pull_secrets": None,
        "service_account": None,
        "secrets": None,
        "node_selector": None,
        "namespace": None,
        "gpu_vendor": None,
        "tolerations": None,
        "labels": None,
        "annotations": None,
        "use_tmpfs": False,
        "tmpfs_tempdir": True,
        "tmpfs_size": None,
        "tmpfs_path": None,
        "persistent_volume_claims": None,
        "shared_memory": None,
        "port": None,
        "qos": "Burstable",
        "security_context": None,
    }

    def check(self, flow: FlowDef, step: StepDef) -> None:
        for key in ("cpu", "memory", "disk"):
            self.number(key, 0.001)
        for key, (most, whole) in {
            "gpu": (float("inf"), True),
            "shared_memory": (float("inf"), False),
            "tmpfs_size": (float("inf"), True),
            "port": (65535, True),
        }.items():
            if self.attributes[key] is not None:
                self.number(key, 0 if key == "gpu" else 1, most, whole)
        from metaflow_plugins.kubernetes_options import pod_options

        pod_options(f"@kubernetes on {self.where}", self.attributes)


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Kubernetes]


@hookimpl
def open_remote_compute(name: str) -> RemoteCompute | None:
    if name != "kubernetes":
        return None
    from metaflow_plugins.kubernetes_driver import KubernetesCompute

    return KubernetesCompute()
