"""What a run writes as it goes: the run, its tasks, their attempts and results.

Each function is one transaction. The driver creates runs, tasks and attempts; a task commits its own result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metaflow_core.clock import now
from metaflow_core.errors import AttemptGivenUp, MetaflowInternalError, MetaflowNotFound
from metaflow_core.machine import here
from metaflow_core.metadata.contents import save_contents, saved_payloads
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.lineage import Noted, save_reads
from metaflow_core.metadata.repeating import repeated
from metaflow_core.metadata.run_values import save_run_values
from metaflow_core.metadata.sharing import register
from metaflow_core.metadata.texts import save_text
from metaflow_core.store.interface import Storage
from metaflow_core.values.encoded import Encoded

PARAMETERS_STEP = "_parameters"
PARAMETERS_TASK = "0"
_GIVEN_UP = -1  # the process of an attempt that another one has given up, so that none takes it for its own
_ENDED = "ended"  # a fact of the parameters' task of a run whose end an orchestrator has told

# A value to be stored, or the `pk` of one that is stored already.
Content = Encoded | int


@dataclass(slots=True)
class RunRow:
    """A run, as its driver knows it."""

    pk: int
    id: str
    flow_pk: int
    parameters_pk: int


@dataclass(slots=True)
class TaskRow:
    """A task, as the process that executes it knows it."""

    pk: int
    run_pk: int
    step: str
    id: str
    frames: list[list[Any]]
    split_index: int | None


@dataclass(slots=True)
class Result:
    """How an attempt ended."""

    status: str
    transition: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    pid: int | None = None  # of the attempt's process; by default this one


@dataclass(slots=True)
class NewRun:
    """What is known of a run when it starts."""

    flow: str
    owner: str
    identity: str
    system_tags: Sequence[str]
    user_tags: Sequence[str] = ()
    graph: str = "{}"
    graph_fingerprint: str = ""
    artifacts: Mapping[str, Content] = field(default_factory=dict)  # parameters, constants and `name`
    id: str | None = None  # by default the flow's next number
    origin_run_id: str | None = None
    host: str | None = None  # of the driver; None: an orchestrator drives the run, and gives no sign of life
    pid: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # of the run, kept with its parameters
    source: str | None = None  # JSON: what ran
    environment: str | None = None  # JSON: with which packages


@repeated
def create_run(db: Database, storage: Storage, new: NewRun) -> RunRow:
    """Create a run and its ``_parameters`` task."""
    register(db, storage)
    with saved_payloads(db, storage, new.artifacts.values()):
        at = now()
        db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (new.flow, at))
        flow_pk = db.execute("SELECT pk FROM flows WHERE name = ?", (new.flow,))[0][0]
        if new.origin_run_id is not None:
            _check_origin(db, flow_pk, new)
        run_id = new.id
        while run_id is None:
            db.execute("UPDATE flows SET last_run = last_run + 1 WHERE pk = ?", (flow_pk,))
            number = str(db.execute("SELECT last_run FROM flows WHERE pk = ?", (flow_pk,))[0][0])
            if not db.execute("SELECT 1 FROM runs WHERE flow_pk = ? AND id = ?", (flow_pk, number)):
                run_id = number
        db.execute(
            "INSERT INTO graphs (fingerprint, graph) VALUES (?, ?) ON CONFLICT (fingerprint) DO NOTHING",
            (new.graph_fingerprint, new.graph),
        )
        graph_pk = db.execute("SELECT pk FROM graphs WHERE fingerprint = ?", (new.graph_fingerprint,))[0][0]
        run_pk = db.execute(
            "INSERT INTO runs (flow_pk, id, owner, status, created_at, heartbeat_at, host, pid, origin_run_id,"
            " graph_pk, source_pk, environment_pk) VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?, ?) RETURNING pk",
            (
                *(
                    flow_pk,
                    run_id,
                    new.owner,
                    at,
                    None if new.pid is None else at,
                    new.host,
                    new.pid,
                    new.origin_run_id,
                    graph_pk,
                ),
                *(save_text(db, new.source), save_text(db, new.environment)),
            ),
        )[0][0]
        tags = dict.fromkeys(new.user_tags, 0) | dict.fromkeys(new.system_tags, 1)
        db.executemany(
            "INSERT INTO run_tags (run_pk, tag, flow_pk, is_system) VALUES (?, ?, ?, ?)",
            [(run_pk, tag, flow_pk, is_system) for tag, is_system in tags.items()],
        )
        db.executemany(
            "INSERT INTO tag_events (run_pk, tag, action, identity, at) VALUES (?, ?, 'added', ?, ?)",
            [(run_pk, tag, new.identity, at) for tag, is_system in tags.items() if not is_system],
        )
        parameters_pk = _insert_task(db, run_pk, PARAMETERS_STEP, PARAMETERS_TASK, [], None, [], at)
        _finish(db, parameters_pk, 0, Result("done"), at)
        pks = _save_contents(db, list(new.artifacts.values()))
        _save_artifacts(db, parameters_pk, 0, dict(zip(new.artifacts, pks, strict=True)))
        if new.facts:
            add_facts(db, parameters_pk, 0, new.facts)
        save_run_values(db, run_pk)
    return RunRow(run_pk, run_id, flow_pk, parameters_pk)


def find_run(db: Database, flow: str, run_id: str) -> RunRow:
    """The run, or ``MetaflowNotFound``."""
    rows = db.execute(
        "SELECT runs.pk, runs.id, runs.flow_pk, tasks.pk FROM runs JOIN flows ON flows.pk = runs.flow_pk"
        " JOIN tasks ON tasks.run_pk = runs.pk AND tasks.step = ? AND tasks.id = ?"
        " WHERE flows.name = ? AND runs.id = ?",
        (PARAMETERS_STEP, PARAMETERS_TASK, flow, run_id),
    )
    if not rows:
        raise MetaflowNotFound(f"There is no run {flow}/{run_id}.")
    return RunRow(*rows[0])


def beat(db: Database, run_pk: int) -> None:
    """Say that the run's driver is alive."""
    db.execute("UPDATE runs SET heartbeat_at = ? WHERE pk = ?", (now(), run_pk))


@repeated
def finish_run(db: Database, run_pk: int, status: str) -> None:
    with db.transaction(shared=True):
        db.execute("UPDATE runs SET status = ?, finished_at = ? WHERE pk = ?", (status, now(), run_pk))
        save_run_values(db, run_pk)


@repeated
def fail_run(db: Database, run_pk: int, task_pk: int) -> None:
    """An attempt of the task was the last: the run has failed, unless it has ended or others go on with the task."""
    with db.transaction(shared=True):
        failed = db.execute(
            "UPDATE runs SET status = 'failed', finished_at = ? WHERE pk = ? AND status = 'running' AND EXISTS"
            " (SELECT 1 FROM tasks t JOIN attempts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
            " WHERE t.pk = ? AND a.status = 'failed' AND a.pid <> ?) RETURNING pk",
            (now(), run_pk, task_pk, _GIVEN_UP),
        )
        if failed:
            save_run_values(db, run_pk)


@repeated
def reopen_run(db: Database, run_pk: int) -> None:
    """An orchestrator goes on with a run that has failed: the run is running again. One that is complete remains so."""
    with db.transaction(shared=True):
        db.execute(
            "UPDATE runs SET status = 'running', finished_at = NULL WHERE pk = ?"
            " AND status IN ('failed', 'interrupted')",
            (run_pk,),
        )
        db.execute(
            "DELETE FROM task_metadata WHERE task_pk IN (SELECT t.pk FROM tasks t JOIN runs r ON r.pk = t.run_pk"
            " WHERE r.pk = ? AND r.status <> 'completed' AND t.step = ?) AND field = ?",
            (run_pk, PARAMETERS_STEP, _ENDED),
        )


@repeated
def end_run_once(db: Database, run_pk: int, status: str) -> bool:
    """Record how a run ended that an orchestrator drives. False when its end was recorded by this function before.

    A run that is complete remains so.
    """
    with db.transaction():
        rows = db.execute(
            "SELECT t.pk, m.pk FROM tasks t LEFT JOIN task_metadata m ON m.task_pk = t.pk AND m.field = ?"
            " WHERE t.run_pk = ? AND t.step = ?",
            (_ENDED, run_pk, PARAMETERS_STEP),
        )
        parameters_pk, ended = rows[0]
        if ended is not None:
            return False
        db.execute(
            "UPDATE runs SET status = ?, finished_at = ? WHERE pk = ? AND status <> 'completed'",
            (status, now(), run_pk),
        )
        add_facts(db, parameters_pk, 0, {_ENDED: status})
        save_run_values(db, run_pk)
    return True


@repeated
def create_task(
    db: Database,
    run_pk: int,
    step: str,
    id: str,
    frames: list[list[Any]],
    split_index: int | None,
    parents: Sequence[int],
) -> int:
    """Create a task and its attempt 0, and return its ``pk``. ``AttemptGivenUp`` when another process has made it."""
    with db.transaction(shared=True):
        return _insert_task(db, run_pk, step, id, frames, split_index, parents, now())


@repeated
def start_attempt(db: Database, task_pk: int, attempt: int) -> None:
    """Create a further attempt of a task. ``AttemptGivenUp`` when another process has made it."""
    with db.transaction(shared=True):
        _insert_attempt(db, task_pk, attempt, now())
        db.execute("UPDATE tasks SET attempt = ?, status = 'running' WHERE pk = ?", (attempt, task_pk))


def find_task(db: Database, run_pk: int, step: str, id: str) -> TaskRow:
    """The task, or ``MetaflowNotFound``."""
    rows = db.execute(
        "SELECT pk, run_pk, step, id, frames, split_index FROM tasks WHERE run_pk = ? AND step = ? AND id = ?",
        (run_pk, step, id),
    )
    if not rows:
        raise MetaflowNotFound(
            f"The run has no task {step}/{id}. Its tasks of this step: {_task_ids(db, run_pk, step)}."
        )
    pk, run_pk, step, id, frames, split_index = rows[0]
    return TaskRow(pk, run_pk, step, id, json.loads(frames), split_index)


def _task_ids(db: Database, run_pk: int, step: str) -> str:
    rows = db.execute("SELECT id FROM tasks WHERE run_pk = ? AND step = ? ORDER BY pk LIMIT 11", (run_pk, step))
    ids = [str(row[0]) for row in rows]
    return ", ".join(ids[:10]) + (", ..." if len(ids) > 10 else "") or "none"


def parents(db: Database, task_pk: int, first: int, end: int) -> list[tuple[int, int, str, str]]:
    """``(pk, attempt, step, frames)`` of a task's parents, in order: at the positions from ``first`` to ``end``."""
    rows = db.execute(
        "SELECT t.pk, t.attempt, t.step, t.frames FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
        " WHERE p.task_pk = ? AND p.position >= ? AND p.position < ? ORDER BY p.position",
        (task_pk, first, end),
    )
    return [(pk, attempt, step, frames) for pk, attempt, step, frames in rows]


def count_parents(db: Database, task_pk: int) -> int:
    return int(db.execute("SELECT COUNT(*) FROM task_parents WHERE task_pk = ?", (task_pk,))[0][0])


def artifacts(db: Database, task_pk: int, attempt: int) -> dict[str, int]:
    """Name -> ``pk`` of the content of each artifact of an attempt."""
    rows = db.execute("SELECT name, content_pk FROM artifacts WHERE task_pk = ? AND attempt = ?", (task_pk, attempt))
    return dict(rows)  # type: ignore[arg-type]


@repeated
def commit_attempt(
    db: Database,
    storage: Storage,
    task_pk: int,
    attempt: int,
    result: Result,
    values: Mapping[str, Content],
    items: Sequence[Content] = (),
    facts: Mapping[str, str] | None = None,
    reads: Sequence[Noted] = (),
) -> None:
    """Make the result of an attempt visible: artifacts, split items, transition, facts and reads, all or nothing.

    Large payloads are written first; a crash in between leaves data that nothing refers to.
    """
    with saved_payloads(db, storage, [*values.values(), *items]):
        at = now()
        pks = _save_contents(db, [*values.values(), *items])
        _save_artifacts(db, task_pk, attempt, dict(zip(values, pks, strict=False)))
        if items:
            rows = [(task_pk, i, pk) for i, pk in enumerate(pks[len(values) :])]
            db.execute("DELETE FROM split_items WHERE task_pk = ?", (task_pk,))
            db.executemany("INSERT INTO split_items (task_pk, split_index, content_pk) VALUES (?, ?, ?)", rows)
        if facts:
            add_facts(db, task_pk, attempt, facts)
        if reads:
            save_reads(db, task_pk, reads)
        _finish(db, task_pk, attempt, result, at)


@repeated
def claim_attempt(db: Database, task_pk: int, attempt: int) -> bool:
    """Whether this process is the one that runs the attempt, and not another to which it was given before."""
    process = (here(), os.getpid())
    with db.transaction(shared=True):
        return bool(
            db.execute(
                "UPDATE attempts SET host = ?, pid = ? WHERE task_pk = ? AND attempt = ? AND status = 'running'"
                " AND (pid IS NULL OR (host = ? AND pid = ?)) RETURNING attempt",
                (*process, task_pk, attempt, *process),
            )
        )


@repeated
def fail_attempt(db: Database, task_pk: int, attempt: int, error: Mapping[str, Any], pid: int) -> None:
    """Record that the process ``pid`` of an attempt ended without a result of its own."""
    with db.transaction(shared=True):
        _finish(db, task_pk, attempt, Result("failed", None, dict(error), pid), now())


@repeated
def give_up_attempt(db: Database, task_pk: int, attempt: int, error: Mapping[str, Any]) -> None:
    """Record that nobody knows of a process of an attempt. If it lives, its result won't count."""
    with db.transaction(shared=True):
        _finish(db, task_pk, attempt, Result("failed", None, dict(error), _GIVEN_UP), now())


def add_facts(db: Database, task_pk: int, attempt: int, facts: Mapping[str, str]) -> None:
    at = now()
    db.executemany(
        "INSERT INTO task_metadata (task_pk, attempt, field, type, value, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [(task_pk, attempt, name, name, value, at) for name, value in facts.items()],
    )


def attempt_result(db: Database, task_pk: int, attempt: int) -> Result:
    """The result that an attempt has committed; its status is ``running`` when there is none."""
    rows = db.execute(
        "SELECT status, transition, error FROM attempts WHERE task_pk = ? AND attempt = ?", (task_pk, attempt)
    )
    if not rows:
        raise MetaflowInternalError(f"Attempt {attempt} of task {task_pk} is not in the metadata.")
    status, transition, error = rows[0]
    return Result(status, json.loads(transition) if transition else None, json.loads(error) if error else None)


def _insert_task(
    db: Database,
    run_pk: int,
    step: str,
    id: str,
    frames: list[list[Any]],
    split_index: int | None,
    parents: Sequence[int],
    at: int,
) -> int:
    made = db.execute(
        "INSERT INTO tasks (run_pk, step, id, frames, split_index, status, attempt, created_at)"
        " VALUES (?, ?, ?, ?, ?, 'running', 0, ?) ON CONFLICT (run_pk, step, id) DO NOTHING RETURNING pk",
        (run_pk, step, id, json.dumps(frames, separators=(",", ":")), split_index, at),
    )
    if not made:
        raise AttemptGivenUp(f"The task {step}/{id} was begun by another process at this moment.")
    pk: int = made[0][0]
    db.executemany(
        "INSERT INTO task_parents (task_pk, position, parent_pk) VALUES (?, ?, ?)",
        ((pk, i, parent) for i, parent in enumerate(parents)),
    )
    _insert_attempt(db, pk, 0, at)
    return pk


def _insert_attempt(db: Database, task_pk: int, attempt: int, at: int) -> None:
    made = db.execute(
        "INSERT INTO attempts (task_pk, attempt, status, started_at) VALUES (?, ?, 'running', ?)"
        " ON CONFLICT (task_pk, attempt) DO NOTHING RETURNING attempt",
        (task_pk, attempt, at),
    )
    if not made:
        raise AttemptGivenUp(f"Attempt {attempt} of this task was begun by another process at this moment.")


def _finish(db: Database, task_pk: int, attempt: int, result: Result, at: int) -> None:
    process = (here(), result.pid or os.getpid())
    # An attempt has one result. This process may have written it already, and not have been told so.
    found = db.execute(
        "UPDATE attempts SET status = ?, finished_at = ?, host = ?, pid = ?, transition = ?, error = ?"
        " WHERE task_pk = ? AND attempt = ? AND (status = 'running' OR (host = ? AND pid = ?)) RETURNING attempt",
        (
            result.status,
            at,
            *process,
            json.dumps(result.transition, separators=(",", ":")) if result.transition else None,
            json.dumps(result.error) if result.error else None,
            task_pk,
            attempt,
            *process,
        ),
    )
    if not found:
        raise AttemptGivenUp("This attempt was given up: the run has gone on without it, so its result is dropped.")
    db.execute(
        "UPDATE tasks SET status = ?, finished_at = ? WHERE pk = ? AND attempt = ?",
        (result.status, at, task_pk, attempt),
    )


def _check_origin(db: Database, flow_pk: int, new: NewRun) -> None:
    """A run that garbage collection removes at this moment has nothing left to take over."""
    found = db.execute("SELECT status FROM runs WHERE flow_pk = ? AND id = ?", (flow_pk, new.origin_run_id))
    if not found or found[0][0] == "removed":
        raise MetaflowNotFound(
            f"The run {new.flow}/{new.origin_run_id} can't be resumed: it was removed by garbage collection."
        )


def _save_contents(db: Database, values: Sequence[Content]) -> list[int]:
    """The ``pk`` of each value; all that are new at once, and so in one order."""
    pks = iter(save_contents(db, [value for value in values if not isinstance(value, int)]))
    return [value if isinstance(value, int) else next(pks) for value in values]


def _save_artifacts(db: Database, task_pk: int, attempt: int, pks: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO artifacts (task_pk, attempt, name, content_pk) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (task_pk, attempt, name) DO UPDATE SET content_pk = excluded.content_pk",
        [(task_pk, attempt, name, pk) for name, pk in pks.items()],
    )
