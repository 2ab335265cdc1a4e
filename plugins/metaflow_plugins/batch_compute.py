"""Tasks on AWS Batch: ``@batch``, ``--with batch``, ``METAFLOW_BATCH_JOB_QUEUE=my-queue``.

Each attempt is one job, which Batch does not repeat: ``@retry`` decides what follows a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.hookspecs import hookimpl
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.engine.interface import RemoteCompute
    from metaflow_core.graph.model import FlowDef, StepDef


class Batch(StepDecorator):
    """Run the step's tasks on AWS Batch: ``@batch(cpu=1, gpu=0, memory=4096, image=None, queue=None, ...)``.

    Sizes are in MB, ``ephemeral_storage`` is in GiB. What ``@resources`` asks for counts where it is more.
    """

    name = "batch"
    compute = "batch"
    defaults: ClassVar[Mapping[str, Any]] = {
        "cpu": 1,
        "gpu": 0,
        "memory": 4096,
        "image": None,
        "queue": None,
        "iam_role": None,
        "execution_role": None,
        "shared_memory": None,
        "max_swap": None,
        "swappiness": None,
        "aws_batch_tags": None,
        "use_tmpfs": False,
        "tmpfs_tempdir": True,
        "tmpfs_size": None,
        "tmpfs_path": None,
        "ephemeral_storage": None,
        "log_driver": None,
        "log_options": None,
        "host_volumes": None,
        "efs_volumes": None,
    }

    def check(self, flow: FlowDef, step: StepDef) -> None:
        limits = {
            "cpu": (0.25, None, False),
            "gpu": (0, None, True),
            "memory": (4, None, True),
            "shared_memory": (1, None, True),
            "max_swap": (0, None, True),
            "swappiness": (0, 100, True),
            "tmpfs_size": (1, None, True),
            "ephemeral_storage": (21, 200, True),
        }
        for key, (least, most, whole) in limits.items():
            if self.attributes[key] is not None:
                self.number(key, least, float("inf") if most is None else most, whole)
        tags = self.attributes["aws_batch_tags"]
        if tags is not None and not isinstance(tags, Mapping):
            raise InvalidDecoratorAttribute(
                f"@batch on {self.where}: aws_batch_tags must give each tag's value by its key, not {show(tags)}."
            )


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Batch]


@hookimpl
def open_remote_compute(name: str) -> RemoteCompute | None:
    if name != "batch":
        return None
    from metaflow_plugins.batch_driver import BatchCompute

    return BatchCompute()
