"""Runs that a service drives: while none of their tasks runs, nobody but the service knows whether they go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.identity import PRODUCTION
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.recording import PARAMETERS_STEP, add_facts
from metaflow_core.metadata.repeating import repeated
from metaflow_core.metadata.run_values import save_run_values

REASON = "end-reason"  # a fact of the parameters' task: why a run counts as ended that has not said so itself


class DrivenRun(NamedTuple):
    """A run of a deployment, as the metadata has it. Times are microseconds since 1970."""

    pk: int
    id: str
    status: str
    created_at: int
    finished_at: int | None


def unfinished_runs(db: Database, orchestrator: str, name: str, flow: str) -> list[DrivenRun]:
    """The runs of what is deployed as ``name`` whose end is not known, the newest first."""
    return _runs(db, orchestrator, name, flow, "r.status = 'running'", [])


def driven_run(db: Database, orchestrator: str, name: str, flow: str, run_id: str) -> DrivenRun | None:
    """This run of what is deployed as ``name``, however it is; None when the metadata has none."""
    found = _runs(db, orchestrator, name, flow, "r.id = ?", [run_id])
    return found[0] if found else None


def _runs(db: Database, orchestrator: str, name: str, flow: str, which: str, values: Sequence[str]) -> list[DrivenRun]:
    # One with a process, or with heartbeats, tells itself how it is: see `liveness`.
    rows = db.execute(
        "SELECT r.pk, r.id, r.status, r.created_at, r.finished_at FROM runs r JOIN flows f ON f.pk = r.flow_pk"
        f" WHERE f.name = ? AND {which} AND r.pid IS NULL AND r.heartbeat_at IS NULL"
        " AND EXISTS (SELECT 1 FROM run_tags t WHERE t.run_pk = r.pk AND t.tag = ?)"
        " AND EXISTS (SELECT 1 FROM run_tags t JOIN production_tokens p ON t.tag = ? || p.token"
        " WHERE t.run_pk = r.pk AND p.name = ?) ORDER BY r.pk DESC",
        (flow, *values, f"runtime:{orchestrator}", PRODUCTION, name),
    )
    return [DrivenRun(*row) for row in rows]


@repeated
def end_driven_run(db: Database, run: DrivenRun, reason: str, finished_at: int | None) -> bool:
    """The service has ended a run that counts as running: it has failed, with what ran of it. False when it has ended.

    What is wrong about it mends itself: a node that begins, or that ends the run, finds it as after any failure, and so
    does ``finish``, which still calls the exit hooks.
    """
    at = min(now(), max(finished_at or now(), run.created_at))
    error: dict[str, Any] = {"type": "TaskDied", "message": reason, "stacktrace": ""}
    with db.transaction():
        ended = db.execute(
            "UPDATE runs SET status = 'failed', finished_at = ? WHERE pk = ? AND status = 'running' RETURNING pk",
            (at, run.pk),
        )
        if not ended:
            return False
        db.execute(
            "UPDATE attempts SET status = 'failed', finished_at = ?, error = ? WHERE status = 'running'"
            " AND task_pk IN (SELECT pk FROM tasks WHERE run_pk = ? AND status = 'running')",
            (at, json.dumps(error), run.pk),
        )
        db.execute(
            "UPDATE tasks SET status = 'failed', finished_at = ? WHERE run_pk = ? AND status = 'running'", (at, run.pk)
        )
        parameters = db.execute("SELECT pk FROM tasks WHERE run_pk = ? AND step = ?", (run.pk, PARAMETERS_STEP))
        add_facts(db, parameters[0][0], 0, {REASON: reason})
        save_run_values(db, run.pk)
    return True
