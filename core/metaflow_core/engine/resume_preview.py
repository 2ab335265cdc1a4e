"""What a resumed run would take over and what it would run, in words: ``resume --dry-run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metaflow_core.engine.resume import ResumePlan
from metaflow_core.engine.resume_ahead import not_started, steps_ahead
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.cloning import OriginTask

LISTED = 5  # tasks that are named; of more, only how many there are


def preview(flow: FlowDef, plan: ResumePlan, tasks: Sequence[OriginTask]) -> Iterator[str]:
    """A line for each step, whatever the number of its ``tasks`` in the run that is resumed."""
    by_step: dict[str, list[OriginTask]] = {step.name: [] for step in flow}
    for task in tasks:
        by_step.setdefault(task.step, []).append(task)
    missing = not_started(flow, tasks, plan.rerun)
    ahead = steps_ahead(flow, tasks, plan.rerun)
    incomplete = [name for name in plan.take if missing[name] > 0 or any(not task.finished for task in by_step[name])]
    width = max(len(step.name) for step in flow)
    for step in flow:
        of_step = by_step[step.name]
        if not of_step and step.name not in ahead:
            text = "does not run: the flow has taken another way"
        elif step.name in plan.rerun:
            text = _again(of_step, plan.rerun[step.name])
        elif not of_step:
            text = "runs: it was not reached"
        else:
            before = [name for name in incomplete if name != step.name and step.name in flow.downstream(name)]
            text = _in_part(of_step, missing[step.name], before[-1] if before else None)
        yield f"{step.name:<{width}}  {text}"


def _again(tasks: Sequence[OriginTask], reason: str) -> str:
    if not tasks:
        return f"runs: {reason}"
    return f"{_count(tasks)} run{'s' * (len(tasks) == 1)} again{_names(tasks)}: {reason}"


def _in_part(tasks: Sequence[OriginTask], missing: int, incomplete_before: str | None) -> str:
    """Of a step whose finished tasks are taken over."""
    parts = []
    finished = [task for task in tasks if task.finished]
    unfinished = [task for task in tasks if not task.finished]
    if finished:
        parts.append(f"{_count(finished)} taken over{_names(finished)}")
    if unfinished:
        reasons = [f"{task.step}/{task.id} {_why(task)}" for task in unfinished[:LISTED]]
        if len(unfinished) > LISTED:
            reasons.append(f"and {len(unfinished) - LISTED} more")
        parts.append(f"{len(unfinished)} run{'s' * (len(unfinished) == 1)} again: {', '.join(reasons)}")
    if missing:
        parts.append(f"{missing} run{'s' * (missing == 1)}: not reached")
    if incomplete_before is not None:
        parts.append(f"the rest runs: it follows {incomplete_before}")
    return "; ".join(parts)


def _why(task: OriginTask) -> str:
    if task.status != "failed":
        return "was not finished"
    return f"failed ({task.error['type']})" if task.error else "failed"


def _count(tasks: Sequence[OriginTask]) -> str:
    return f"{len(tasks)} task{'s' * (len(tasks) != 1)}"


def _names(tasks: Sequence[OriginTask]) -> str:
    if len(tasks) > LISTED:
        return ""
    return f" ({', '.join(f'{task.step}/{task.id}' for task in tasks)})"
