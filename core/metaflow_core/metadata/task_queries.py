"""Reads the steps, tasks, attempts and artifacts of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata.contents import COLUMNS
from metaflow_core.metadata.database import Database, Row
from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK
from metaflow_core.metadata.run_queries import NEWEST

_COLUMNS = (
    "t.pk, t.run_pk, t.step, t.id, t.split_index, t.status, t.attempt, t.created_at, t.finished_at, t.origin_task_pk"
)


class StoredTask(NamedTuple):
    """A row of ``tasks``. ``status`` and ``attempt`` are those of the latest attempt."""

    pk: int
    run_pk: int
    step: str
    id: str
    split_index: int | None
    status: str
    attempt: int
    created_at: int
    finished_at: int | None
    origin_task_pk: int | None


class StoredStep(NamedTuple):
    """The tasks of one step of a run, taken together."""

    name: str
    tasks: int
    created_at: int
    finished_at: int | None


class StoredAttempt(NamedTuple):
    """A row of ``attempts``. ``error`` is JSON with ``type``, ``message`` and ``stacktrace``."""

    attempt: int
    status: str
    started_at: int
    finished_at: int | None
    host: str | None
    pid: int | None
    error: str | None


class Fact(NamedTuple):
    """A row of ``task_metadata``."""

    field: str
    value: str
    type: str
    created_at: int


def steps(db: Database, run_pk: int) -> list[StoredStep]:
    """The steps of which the run has tasks, the newest first; ``finished_at`` is when the last task ended."""
    rows = db.execute(
        "SELECT step, COUNT(*), MIN(created_at), MAX(finished_at) FROM tasks WHERE run_pk = ?"
        " GROUP BY step ORDER BY MIN(pk) DESC",
        (run_pk,),
    )
    return [StoredStep(*row) for row in rows]


def step_exists(db: Database, run_pk: int, step: str) -> bool:
    return bool(db.execute("SELECT 1 FROM tasks WHERE run_pk = ? AND step = ? LIMIT 1", (run_pk, step)))


def step_times(db: Database, run_pk: int, step: str) -> tuple[int, int | None]:
    """When the first task of the step was created, and when the last ended: None while one has not."""
    created, finished, tasks, ended = db.execute(
        "SELECT MIN(created_at), MAX(finished_at), COUNT(*), COUNT(finished_at) FROM tasks"
        " WHERE run_pk = ? AND step = ?",
        (run_pk, step),
    )[0]
    return created, finished if tasks == ended else None


def task_by_id(db: Database, run_pk: int, step: str, id: str) -> StoredTask | None:
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM tasks t WHERE t.run_pk = ? AND t.step = ? AND t.id = ?", (run_pk, step, id)
    )
    return StoredTask(*rows[0]) if rows else None


def task_by_pk(db: Database, pk: int) -> StoredTask:
    """The task, or ``MetaflowNotFound``."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM tasks t WHERE t.pk = ?", (pk,))
    if not rows:
        raise MetaflowNotFound("This task is not there any more: garbage collection has removed its run.")
    return StoredTask(*rows[0])


def find_tasks(db: Database, run_pk: int, step: str, before: int = NEWEST, limit: int = 500) -> list[StoredTask]:
    """Up to ``limit`` tasks of the step, newest first; ``before`` is the ``pk`` of the last one of the page before."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM tasks t WHERE t.run_pk = ? AND t.step = ? AND t.pk < ? ORDER BY t.pk DESC LIMIT ?",
        (run_pk, step, before, limit),
    )
    return [StoredTask(*row) for row in rows]


def parent_tasks(db: Database, task_pk: int) -> Iterator[StoredTask]:
    """The tasks that led to this one, in the order of its inputs."""
    return _pages(
        lambda after, limit: db.execute(
            f"SELECT p.position, {_COLUMNS} FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
            " WHERE p.task_pk = ? AND p.position > ? ORDER BY p.position LIMIT ?",
            (task_pk, after, limit),
        )
    )


def child_tasks(db: Database, task_pk: int) -> Iterator[StoredTask]:
    """The tasks to which this one led, in the order in which they were created."""
    return _pages(
        lambda after, limit: db.execute(
            f"SELECT p.task_pk, {_COLUMNS} FROM task_parents p JOIN tasks t ON t.pk = p.task_pk"
            " WHERE p.parent_pk = ? AND p.task_pk > ? ORDER BY p.task_pk LIMIT ?",
            (task_pk, after, limit),
        )
    )


def _pages(load: Callable[[int, int], list[Row]], size: int = 500) -> Iterator[StoredTask]:
    """The tasks of rows that begin with a number by which they are in order; there may be very many."""
    after = -1
    while True:
        rows = load(after, size)
        for row in rows:
            yield StoredTask(*row[1:])
        if len(rows) < size:
            return
        after = rows[-1][0]


def parent_steps(db: Database, run_pk: int, step: str) -> list[str]:
    """The steps whose tasks led to tasks of this one."""
    return _related(db, run_pk, step, "t.pk = p.task_pk", "o.pk = p.parent_pk")


def child_steps(db: Database, run_pk: int, step: str) -> list[str]:
    """The steps to which tasks of this one led."""
    return _related(db, run_pk, step, "t.pk = p.parent_pk", "o.pk = p.task_pk")


def _related(db: Database, run_pk: int, step: str, here: str, there: str) -> list[str]:
    rows = db.execute(
        f"SELECT o.step FROM tasks t JOIN task_parents p ON {here} JOIN tasks o ON {there}"
        " WHERE t.run_pk = ? AND t.step = ? GROUP BY o.step ORDER BY MIN(o.pk)",
        (run_pk, step),
    )
    return [row[0] for row in rows]


def attempts(db: Database, task_pk: int) -> list[StoredAttempt]:
    """The task's attempts, the first one first."""
    rows = db.execute(
        "SELECT attempt, status, started_at, finished_at, host, pid, error FROM attempts"
        " WHERE task_pk = ? ORDER BY attempt",
        (task_pk,),
    )
    return [StoredAttempt(*row) for row in rows]


def facts(db: Database, task_pk: int, attempt: int) -> list[Fact]:
    """What was recorded of the task up to this attempt, the oldest first."""
    rows = db.execute(
        "SELECT field, value, type, created_at FROM task_metadata WHERE task_pk = ? AND attempt <= ? ORDER BY pk",
        (task_pk, attempt),
    )
    return [Fact(*row) for row in rows]


def artifact_names(db: Database, task: StoredTask, attempt: int) -> list[str]:
    """The names of the attempt's artifacts, and of the parameters and constants that all tasks share."""
    rows = db.execute(
        "SELECT name FROM artifacts WHERE task_pk = ? AND attempt = ?"
        " UNION SELECT a.name FROM tasks t JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
        " WHERE t.run_pk = ? AND t.step = ? AND t.id = ? ORDER BY 1",
        (task.pk, attempt, task.run_pk, PARAMETERS_STEP, PARAMETERS_TASK),
    )
    return [row[0] for row in rows]


def artifact_content(db: Database, task: StoredTask, attempt: int, name: str) -> Row | None:
    """The row of ``contents.COLUMNS`` of one artifact, or None when there is none of this name."""
    columns = ", ".join(f"c.{column}" for column in COLUMNS.split(", "))
    found = db.execute(
        f"SELECT {columns} FROM artifacts a JOIN contents c ON c.pk = a.content_pk"
        " WHERE a.task_pk = ? AND a.attempt = ? AND a.name = ?",
        (task.pk, attempt, name),
    ) or db.execute(
        f"SELECT {columns} FROM tasks t JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
        " JOIN contents c ON c.pk = a.content_pk WHERE t.run_pk = ? AND t.step = ? AND t.id = ? AND a.name = ?",
        (task.run_pk, PARAMETERS_STEP, PARAMETERS_TASK, name),
    )
    return found[0] if found else None


def graph_text(db: Database, graph_pk: int | None) -> str:
    """The flow's graph as the run saw it, as JSON."""
    rows = db.execute("SELECT graph FROM graphs WHERE pk = ?", (graph_pk,))
    return str(rows[0][0]) if rows else "{}"


def full_address(db: Database, task_pk: int) -> tuple[str, str, str, str]:
    """Flow, run, step and task id of the task."""
    flow, run, step, task = db.execute(
        "SELECT f.name, r.id, t.step, t.id FROM tasks t JOIN runs r ON r.pk = t.run_pk JOIN flows f ON f.pk = r.flow_pk"
        " WHERE t.pk = ?",
        (task_pk,),
    )[0]
    return flow, run, step, task
