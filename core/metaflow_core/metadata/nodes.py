"""What the tasks of a run that an orchestrator drives have left for the next ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from metaflow_core.metadata.database import Database

_AT_ONCE = 500  # values of one statement


class NodeTask(NamedTuple):
    """A task of such a run, and how its latest attempt ended."""

    pk: int
    step: str
    id: str
    frames: list[list[Any]]
    status: str
    attempt: int
    transition: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def is_done(self) -> bool:
        return self.status in ("done", "caught")

    def leads_to(self, step: str) -> bool:
        """Whether the flow goes on from here at that step."""
        return self.is_done and self.transition is not None and step in self.transition["targets"]


def tasks_with_ids(db: Database, run_pk: int, step: str, ids: Collection[str]) -> dict[str, NodeTask]:
    """Those of the tasks of a step that exist, by id."""
    found = {}
    wanted = list(ids)
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        for task in _tasks(db, run_pk, step, f" AND t.id IN ({marks})", some):
            found[task.id] = task
    return found


def tasks_of_step(db: Database, run_pk: int, step: str) -> list[NodeTask]:
    """All tasks of a step, in the order in which they were made."""
    return list(_tasks(db, run_pk, step, "", []))


def has_child(db: Database, parent_pk: int, step: str, ids: Collection[str]) -> bool:
    """Whether one of these tasks of the step was made from the parent."""
    marks = ", ".join("?" * len(ids))
    return bool(
        db.execute(
            "SELECT 1 FROM task_parents p JOIN tasks t ON t.pk = p.task_pk"
            f" WHERE p.parent_pk = ? AND t.step = ? AND t.id IN ({marks}) LIMIT 1",
            (parent_pk, step, *ids),
        )
    )


def has_system_tag(db: Database, run_pk: int, tag: str) -> bool:
    """Whether the run has had this tag from its beginning."""
    return bool(db.execute("SELECT 1 FROM run_tags WHERE run_pk = ? AND tag = ? AND is_system = 1", (run_pk, tag)))


def _tasks(db: Database, run_pk: int, step: str, where: str, values: list[str]) -> Iterator[NodeTask]:
    rows = db.execute(
        "SELECT t.pk, t.step, t.id, t.frames, a.status, t.attempt, a.transition, a.error FROM tasks t"
        " JOIN attempts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
        f" WHERE t.run_pk = ? AND t.step = ?{where} ORDER BY t.pk",
        (run_pk, step, *values),
    )
    for pk, name, id, frames, status, attempt, transition, error in rows:
        yield NodeTask(
            *(pk, name, id, json.loads(frames), status, attempt),
            *(json.loads(transition or "null"), json.loads(error or "null")),
        )
