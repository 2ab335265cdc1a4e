"""Decides what a resumed run takes over from its origin, and takes it over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from metaflow_core.engine.plan import Plan
from metaflow_core.engine.resume_ahead import check_reached
from metaflow_core.engine.resume_gangs import gangs_to_run
from metaflow_core.errors import CommandException
from metaflow_core.graph.model import FlowDef, reachable
from metaflow_core.metadata import cloning, recording
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.recording import RunRow
from metaflow_core.names import advise

_GANG = "its tasks run at once, and not all of them were finished"


@dataclass(slots=True)
class ResumePlan:
    """``take`` are the steps whose finished tasks are taken over; ``rerun`` says of each other step why it runs.

    ``at_once`` tasks, those of the largest gang that is begun anew, must be able to run at the same time.
    """

    origin: RunRow
    take: list[str]
    rerun: dict[str, str]
    at_once: int = 1


def plan_resume(db: Database, flow: FlowDef, origin: RunRow, step: str | None) -> ResumePlan:
    """What to take over when ``flow`` is resumed from ``step``, or else from where ``origin`` failed.

    ``CommandException`` when the step is unknown, or when there is nothing to resume.
    """
    rerun: dict[str, str] = {}
    if step is not None:
        if step not in flow:
            raise CommandException(f"There is no step {step!r} to resume from. {advise(step, flow.steps, 'Steps')}")
        for name in flow.downstream(step):
            rerun[name] = "it was asked for" if name == step else f"it follows {step}"
    old = _steps_of(db, origin)
    if step in old:
        check_reached(flow, origin.id, cloning.origin_tasks(db, origin.pk), str(step))
    for name, reason in _changed(flow, old):
        # What it led to in the old graph as well: a task is taken over only together with all that led to it.
        for follower in flow.downstream(name) | reachable(name, lambda step: old.get(step, {}).get("next", ())):
            rerun.setdefault(follower, reason if follower == name else f"it follows {name}")
    at_once = 1
    if any(node.transition is not None and node.transition.kind == "parallel" for node in flow):
        for gang in gangs_to_run(flow, cloning.origin_tasks(db, origin.pk), rerun):
            at_once = max(at_once, gang.size)
            for follower in flow.downstream(gang.step) if gang.begun else ():
                rerun.setdefault(follower, _GANG if follower == gang.step else f"it follows {gang.step}")
    take = [name for name in flow.steps if name not in rerun]
    # A driver that was killed or interrupted at the very end leaves all tasks finished, and the run not.
    complete = db.execute("SELECT 1 FROM runs WHERE pk = ? AND status = 'completed'", (origin.pk,))
    if not rerun and complete:
        raise CommandException(
            f"Run {flow.name}/{origin.id} is complete, there is nothing to resume. Name the step to run again from: "
            f"resume STEP. Steps: {', '.join(flow.steps)}."
        )
    return ResumePlan(origin, take, rerun, at_once)


def take_over(
    db: Database, flow: FlowDef, resume: ResumePlan, run: RunRow
) -> tuple[Plan, list[cloning.ClonedTask], int]:
    """Copy the tasks; returns the plan for the rest, the copies, and the first free task id."""
    cloning.clone_tasks(db, resume.origin, run, resume.take)
    cloned = cloning.cloned_tasks(db, run)
    parents = cloning.first_parents(db, run)
    plan = Plan(flow, ended=any(task.step == flow.end.name for task in cloned))
    for task in cloned:
        parent_pk, parent_frames = parents[task.pk]
        deeper = len(task.frames) > len(json.loads(parent_frames))
        plan.taken_over.add((parent_pk, task.step, task.frames[-1][2] if deeper else -1))
    plan.start(run.parameters_pk)
    for task in cloned:
        plan.finished(task.pk, task.id, task.frames, task.transition)
    numbers = [int(task.id) for task in cloned if task.id.isdigit()]
    return plan, cloned, max(numbers, default=0) + 1


def _steps_of(db: Database, origin: RunRow) -> dict[str, Any]:
    """The steps of the graph with which ``origin`` ran, as ``flow_to_dict`` gives them."""
    rows = db.execute("SELECT g.graph FROM runs r JOIN graphs g ON g.pk = r.graph_pk WHERE r.pk = ?", (origin.pk,))
    steps: dict[str, Any] = json.loads(rows[0][0]).get("steps", {}) if rows else {}
    return steps


def _changed(flow: FlowDef, old: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Steps of the flow that had no place, or another one, among the ``old`` ones, and what has changed."""
    from metaflow_core.graph.render import flow_to_dict

    for name, step in flow_to_dict(flow)["steps"].items():
        if name not in old:
            yield name, "it is new"
        elif (old[name].get("next"), old[name].get("type")) != (step["next"], step["type"]):
            yield name, "what follows it was changed"
        elif old[name].get("foreach") != step.get("foreach"):
            yield name, "its foreach was changed"


def find_origin(db: Database, flow: FlowDef, run_id: str | None, identity: str) -> RunRow:
    """The run to resume: the one that was named, ``5`` or ``Flow/5``, else the latest that ``identity`` started."""
    if run_id is None:
        run_id = cloning.latest_run_id(db, flow.name, identity)
        if run_id is None:
            raise CommandException(
                f"You ({identity.removeprefix('user:')}) have no run of {flow.name} in this project that could be "
                f"resumed. Name one: resume --origin-run-id RUN"
            )
    return recording.find_run(db, flow.name, run_id.removeprefix(f"{flow.name}/"))
