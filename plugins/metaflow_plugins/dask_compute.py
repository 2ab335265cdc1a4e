"""Tasks on an existing Dask cluster: ``@dask``, ``--with dask``, ``METAFLOW_DASK_SCHEDULER=tcp://host:8786``.

Each attempt is one task of Dask's, run as one process of a worker, so a worker runs as many attempts as it has threads.
What Dask does about failures is off: an attempt whose worker is lost has failed, and ``@retry`` decides what follows.

TLS and timeouts are those of Dask's own configuration: https://docs.dask.org/en/stable/configuration.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.engine.interface import RemoteCompute


class Dask(StepDecorator):
    """Run the step's tasks on the Dask cluster of the setting ``METAFLOW_DASK_SCHEDULER``."""

    name = "dask"
    compute = "dask"


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Dask]


@hookimpl
def open_remote_compute(name: str) -> RemoteCompute | None:
    if name != "dask":
        return None
    from metaflow_plugins.dask_driver import DaskCompute

    return DaskCompute()
