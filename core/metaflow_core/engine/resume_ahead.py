"""The steps to which the rest of a resumed run can come, and those that the flow has left aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from metaflow_core.errors import CommandException
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.cloning import OriginTask


def steps_ahead(flow: FlowDef, tasks: Sequence[OriginTask], rerun: Container[str]) -> set[str]:
    """The steps to which the rest of a run can come: those after ``rerun`` and after what did not finish or start.

    A switch that has decided leads nowhere but to what it has chosen.
    """
    begun = {task.step for task in tasks}
    first = {task.step for task in tasks if not task.finished or task.step in rerun}
    for task in tasks:
        if task.finished and task.step not in rerun and task.transition:
            first.update(name for name in task.transition["targets"] if name in rerun or name not in begun)
    first.update(name for name, missing in not_started(flow, tasks, rerun).items() if missing > 0)
    return set().union(*(flow.downstream(name) for name in first if name in flow))


def not_started(flow: FlowDef, tasks: Sequence[OriginTask], rerun: Container[str]) -> Counter[str]:
    """Per step: how many tasks its parents led to that the run did not come to. Joins wait, so they do not count."""
    expected = Counter({flow.start.name: 1})
    for task in tasks:
        if task.finished and task.transition and task.step not in rerun:
            count = task.transition["num_splits"] if task.transition["kind"] in ("foreach", "parallel") else 1
            expected.update(dict.fromkeys(task.transition["targets"], count))
    for task in tasks:
        expected[task.step] -= 1
    return Counter({step.name: 0 if step.is_join else max(0, expected[step.name]) for step in flow})


def check_reached(flow: FlowDef, run_id: str, tasks: Sequence[OriginTask], step: str) -> None:
    """``CommandException`` when the run did not come to the step, and its rest would not either."""
    ran = {task.step for task in tasks}
    if step in ran or step in steps_ahead(flow, tasks, ()):
        return
    before = [name for name in flow.steps if name in ran and step in flow.downstream(name)]
    raise CommandException(
        f"Run {flow.name}/{run_id} has no task of step {step!r}: it took another way, and so would its rest. "
        f"To let it choose again, resume from a step before: resume {before[-1] if before else flow.start.name}"
    )
