"""Gangs in a run that is resumed: the tasks of ``num_parallel`` wait for each other, so none of them runs alone."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.cloning import OriginTask


class Gang(NamedTuple):
    """A step that ``num_parallel`` leads to and that is to run: how many tasks at once, and whether it was begun."""

    step: str
    size: int
    begun: bool


def gangs_to_run(flow: FlowDef, tasks: Sequence[OriginTask], rerun: Container[str]) -> list[Gang]:
    """Those after steps that are taken over: of the steps of ``rerun``, and of those that did not finish as a whole."""
    found = []
    for step in flow:
        if step.transition is None or step.transition.kind != "parallel" or step.name in rerun:
            continue
        gang = step.targets[0]
        sizes = [
            task.transition["num_splits"]
            for task in tasks
            if task.step == step.name and task.finished and task.transition and task.transition["kind"] == "parallel"
        ]
        members = [task for task in tasks if task.step == gang]
        if sizes and (gang in rerun or sum(task.finished for task in members) < sum(sizes)):
            found.append(Gang(gang, max(sizes), bool(members)))
    return found
