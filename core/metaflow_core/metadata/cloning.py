"""Takes finished tasks over from one run into another, with one statement per table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.recording import PARAMETERS_STEP, RunRow
from metaflow_core.metadata.repeating import repeated


@dataclass(slots=True)
class ClonedTask:
    """A task that was taken over."""

    pk: int
    step: str
    id: str
    frames: list[list[Any]]
    transition: dict[str, Any] | None


class OriginTask(NamedTuple):
    """A task of a run that may be resumed: how it went, where it led, and the error when it failed."""

    step: str
    id: str
    status: str
    transition: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def finished(self) -> bool:
        """Whether the flow could go on from it, so that a resumed run takes it over."""
        return self.status in ("done", "caught")


@repeated
def clone_tasks(db: Database, origin: RunRow, run: RunRow, steps: Sequence[str]) -> None:
    """Copy the finished tasks of ``steps`` from ``origin`` into ``run``, with results, parents and split items.

    Ids, attempts and the contents of artifacts stay what they are. The caller sees to it that with a step all steps
    that lead to it are copied.
    """
    if not steps:
        return
    at = now()
    marks = ", ".join("?" * len(steps))
    with db.transaction(shared=True):
        db.execute(
            "INSERT INTO tasks (run_pk, step, id, frames, split_index, status, attempt, created_at, finished_at,"
            " origin_task_pk) SELECT ?, step, id, frames, split_index, status, attempt, ?, ?, pk FROM tasks"
            f" WHERE run_pk = ? AND status IN ('done', 'caught') AND step IN ({marks}) ORDER BY pk",
            (run.pk, at, at, origin.pk, *steps),
        )
        db.execute(
            "INSERT INTO attempts (task_pk, attempt, status, started_at, finished_at, host, pid, transition, error)"
            " SELECT n.pk, a.attempt, a.status, a.started_at, a.finished_at, a.host, a.pid, a.transition, a.error"
            " FROM tasks n JOIN attempts a ON a.task_pk = n.origin_task_pk AND a.attempt = n.attempt"
            " WHERE n.run_pk = ?",
            (run.pk,),
        )
        db.execute(
            "INSERT INTO artifacts (task_pk, attempt, name, content_pk)"
            " SELECT n.pk, a.attempt, a.name, a.content_pk"
            " FROM tasks n JOIN artifacts a ON a.task_pk = n.origin_task_pk AND a.attempt = n.attempt"
            " WHERE n.run_pk = ?",
            (run.pk,),
        )
        db.execute(
            "INSERT INTO split_items (task_pk, split_index, content_pk) SELECT n.pk, i.split_index, i.content_pk"
            " FROM tasks n JOIN split_items i ON i.task_pk = n.origin_task_pk WHERE n.run_pk = ?",
            (run.pk,),
        )
        db.execute(
            "INSERT INTO task_parents (task_pk, position, parent_pk) SELECT n.pk, p.position, m.pk"
            " FROM tasks n JOIN task_parents p ON p.task_pk = n.origin_task_pk"
            " JOIN tasks o ON o.pk = p.parent_pk"
            " JOIN tasks m ON m.run_pk = n.run_pk AND m.step = o.step AND m.id = o.id"
            " WHERE n.run_pk = ?",
            (run.pk,),
        )
        db.execute(
            "INSERT INTO artifact_reads (reader_pk, source, reader_run_pk, source_run_pk, at)"
            " SELECT n.pk, a.source, n.run_pk, a.source_run_pk, a.at"
            " FROM tasks n JOIN artifact_reads a ON a.reader_pk = n.origin_task_pk WHERE n.run_pk = ?",
            (run.pk,),
        )
        for field, value in (("origin-run-id", "?"), ("origin-task-id", "n.id")):
            db.execute(
                "INSERT INTO task_metadata (task_pk, attempt, field, type, value, created_at)"
                f" SELECT n.pk, n.attempt, '{field}', '{field}', {value}, ? FROM tasks n"
                " WHERE n.run_pk = ? AND n.origin_task_pk IS NOT NULL ORDER BY n.pk",
                (*([origin.id] if value == "?" else []), at, run.pk),
            )


def cloned_tasks(db: Database, run: RunRow) -> list[ClonedTask]:
    """The tasks that ``run`` has taken over, in the order in which they were made."""
    rows = db.execute(
        "SELECT n.pk, n.step, n.id, n.frames, a.transition FROM tasks n"
        " JOIN attempts a ON a.task_pk = n.pk AND a.attempt = n.attempt"
        " WHERE n.run_pk = ? AND n.step <> ? ORDER BY n.pk",
        (run.pk, PARAMETERS_STEP),
    )
    # Most tasks of a foreach lead to the same place: what they share is there once.
    same: dict[str, dict[str, Any]] = {}
    found = []
    for pk, step, id, frames, transition in rows:
        if transition and transition not in same:
            same[transition] = json.loads(transition)
        found.append(ClonedTask(pk, sys.intern(step), id, json.loads(frames), same.get(transition)))
    return found


def first_parents(db: Database, run: RunRow) -> dict[int, tuple[int, str]]:
    """For each task of ``run``: the ``pk`` and the frames (JSON) of its first parent."""
    rows = db.execute(
        "SELECT p.task_pk, t.pk, t.frames FROM tasks n JOIN task_parents p ON p.task_pk = n.pk AND p.position = 0"
        " JOIN tasks t ON t.pk = p.parent_pk WHERE n.run_pk = ?",
        (run.pk,),
    )
    return {task: (parent, frames) for task, parent, frames in rows}


def origin_tasks(db: Database, run_pk: int) -> list[OriginTask]:
    """All tasks of a run but that of its parameters, in the order in which they were made."""
    rows = db.execute(
        "SELECT t.step, t.id, t.status, a.transition, a.error FROM tasks t"
        " LEFT JOIN attempts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
        " WHERE t.run_pk = ? AND t.step <> ? ORDER BY t.pk",
        (run_pk, PARAMETERS_STEP),
    )
    return [
        OriginTask(step, id, status, json.loads(transition or "null"), json.loads(error or "null"))
        for step, id, status, transition, error in rows
    ]


def latest_run_id(db: Database, flow: str, identity: str) -> str | None:
    """The id of the latest run of a flow that ``identity`` started, resumed ones included."""
    rows = db.execute(
        "SELECT r.id FROM flows f CROSS JOIN run_tags t CROSS JOIN runs r"
        " WHERE f.name = ? AND t.flow_pk = f.pk AND t.tag = ? AND t.is_system = 1 AND r.pk = t.run_pk"
        " ORDER BY t.run_pk DESC LIMIT 1",
        (flow, identity),
    )
    return rows[0][0] if rows else None


def latest_task_id(db: Database, flow: str, run_id: str, step: str) -> str | None:
    """The id of the latest task of a step."""
    rows = db.execute(
        "SELECT t.id FROM tasks t JOIN runs r ON r.pk = t.run_pk JOIN flows f ON f.pk = r.flow_pk"
        " WHERE f.name = ? AND r.id = ? AND t.step = ? ORDER BY t.pk DESC LIMIT 1",
        (flow, run_id, step),
    )
    return rows[0][0] if rows else None


def latest_run_with(db: Database, flow_pk: int, step: str) -> str | None:
    """The id of the latest run of a flow in which a step has run."""
    rows = db.execute(
        "SELECT r.id FROM runs r WHERE r.flow_pk = ? AND EXISTS (SELECT 1 FROM tasks t WHERE t.run_pk = r.pk"
        " AND t.step = ?) ORDER BY r.pk DESC LIMIT 1",
        (flow_pk, step),
    )
    return rows[0][0] if rows else None


def steps_with_tasks(db: Database, run_pk: int) -> list[str]:
    """The steps of a run that have run, in that order."""
    rows = db.execute(
        "SELECT step FROM tasks WHERE run_pk = ? AND step <> ? GROUP BY step ORDER BY MIN(pk)",
        (run_pk, PARAMETERS_STEP),
    )
    return [step for (step,) in rows]
