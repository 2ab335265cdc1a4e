"""The plugin: ``@nice(by=10)`` runs a step's tasks with a lower priority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.engine.interface import RemoteCompute
    from metaflow_core.graph.model import FlowDef, StepDef


class Nice(StepDecorator):
    """Run the step's tasks in the background: ``@nice(by=10)``, where ``by`` is from 0 to 19, as for nice(1)."""

    name = "nice"
    compute = "nice"
    defaults = {"by": 10}

    def check(self, flow: FlowDef, step: StepDef) -> None:
        self.number("by", 0, 19, whole=True)


@hookimpl
def step_decorators() -> Sequence[type[StepDecorator]]:
    return [Nice]


@hookimpl
def open_remote_compute(name: str) -> RemoteCompute | None:
    if name != "nice":
        return None
    from metaflow_nice.place import NicePlace  # this module is imported at every start, that one when it is needed

    return NicePlace()
