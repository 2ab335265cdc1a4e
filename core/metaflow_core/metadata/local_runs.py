"""Runs of the local orchestrator: which are to begin, who looks after them, and how they have ended.

A run is taken up by one agent, which starts a process for it. The process begins only when the agent's claim still
counts: so a run that was taken up again, because its agent was gone, is not run twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import MetaflowNotFound
from metaflow_core.machine import here, process_of
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.local_agents import living_agents
from metaflow_core.metadata.repeating import repeated
from metaflow_core.metadata.run_queries import StoredRun

PREFIX = "local-"
_COLUMNS = (
    "pk, deployment_pk, name, flow, number, status, parameters, events, queued_at, started_at, finished_at, agent_pk,"
    " claims, host, pid, process, wanted, reason"
)
# How the metadata's word for the end of a run is said of one that an orchestrator runs.
ENDS = {"completed": "succeeded", "failed": "failed", "interrupted": "terminated"}


class LocalRun(NamedTuple):
    """A run of the local orchestrator. Times are microseconds since 1970."""

    pk: int
    deployment_pk: int
    name: str
    flow: str
    number: int
    status: str
    parameters: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    queued_at: int
    started_at: int | None
    finished_at: int | None
    agent_pk: int | None
    claims: int
    host: str | None
    pid: int | None
    process: str | None
    wanted: str | None
    reason: str

    @property
    def run_id(self) -> str:
        return f"{PREFIX}{self.number}"

    @property
    def pathspec(self) -> str:
        return f"{self.flow}/{self.run_id}"

    @property
    def is_here(self) -> bool:
        """Whether its process is on this machine, if it is anywhere."""
        return self.host == here()

    @property
    def has_process(self) -> bool:
        """Whether its process, which is on this machine, is there."""
        return self.pid is not None and process_of(self.pid) == self.process


@repeated
def queue(
    db: Database,
    deployment_pk: int,
    parameters: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]] = (),
) -> LocalRun:
    """A run of the deployment that is to begin."""
    with db.transaction():
        name, flow = db.execute("SELECT name, flow FROM deployments WHERE pk = ?", (deployment_pk,))[0]
        number = 1 + int(db.execute("SELECT COALESCE(MAX(number), 0) FROM local_runs WHERE flow = ?", (flow,))[0][0])
        while _has_run(db, flow, f"{PREFIX}{number}"):  # copied from another database
            number += 1
        pk = db.execute(
            "INSERT INTO local_runs (deployment_pk, name, flow, number, status, parameters, events, queued_at, claims,"
            " reason) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, 0, '') RETURNING pk",
            (deployment_pk, name, flow, number, json.dumps(parameters), json.dumps(list(events)), now()),
        )[0][0]
        return run(db, pk)


def run(db: Database, pk: int) -> LocalRun:
    """The run with this ``pk``."""
    return _row(db.execute(f"SELECT {_COLUMNS} FROM local_runs WHERE pk = ?", (pk,))[0])


def find(db: Database, name: str, run_id: str) -> LocalRun:
    """The run of what is deployed as ``name``. ``MetaflowNotFound`` when there is none."""
    number = run_id.removeprefix(PREFIX)
    rows = []
    if number.isascii() and number.isdecimal() and len(number) < 19:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM local_runs WHERE name = ? AND number = ? ORDER BY pk DESC", (name, int(number))
        )
    if not rows:
        raise MetaflowNotFound(f"{name} has no run {run_id} that the local orchestrator knows.")
    return _row(rows[0])


def latest(db: Database, name: str, count: int) -> list[LocalRun]:
    """The latest runs of what is deployed as ``name``, the newest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM local_runs WHERE name = ? ORDER BY pk DESC LIMIT ?", (name, count))
    return [_row(row) for row in rows]


def running(db: Database) -> list[LocalRun]:
    """All that an agent has taken up and that have not ended."""
    return [_row(row) for row in db.execute(f"SELECT {_COLUMNS} FROM local_runs WHERE status = 'running' ORDER BY pk")]


@repeated
def claim(db: Database, agent_pk: int) -> LocalRun | None:
    """The run that has waited longest, now this agent's to start; None when none waits.

    It is one of what is deployed now. ``status`` is ``terminated`` when that was removed meanwhile.
    """
    with db.transaction():
        rows = db.execute(f"SELECT {_COLUMNS} FROM local_runs WHERE status = 'queued' ORDER BY pk LIMIT 1")
        if not rows:
            return None
        found = _row(rows[0])
        active = db.execute(
            "SELECT pk FROM deployments WHERE orchestrator = 'local' AND name = ? AND status = 'active'"
            " ORDER BY pk DESC LIMIT 1",
            (found.name,),
        )
        at = now()
        if active:
            db.execute(
                "UPDATE local_runs SET status = 'running', deployment_pk = ?, agent_pk = ?, claims = claims + 1,"
                " host = ?, pid = NULL, process = NULL, started_at = ? WHERE pk = ?",
                (active[0][0], agent_pk, here(), at, found.pk),
            )
        else:
            db.execute(
                "UPDATE local_runs SET status = 'terminated', finished_at = ?, reason = ? WHERE pk = ?",
                (at, "What is deployed was deleted before the run began.", found.pk),
            )
        return run(db, found.pk)


@repeated
def begin(db: Database, pk: int, claims: int) -> bool:
    """Whether this process is the one that runs it. False when the claim for which it was started does not count."""
    with db.transaction(shared=True):
        return bool(
            db.execute(
                "UPDATE local_runs SET host = ?, pid = ?, process = ? WHERE pk = ? AND claims = ?"
                " AND status = 'running' AND pid IS NULL RETURNING pk",
                (here(), os.getpid(), process_of(os.getpid()), pk, claims),
            )
        )


@repeated
def give_back(db: Database, taken: LocalRun) -> bool:
    """A run whose process has not begun waits again: the agent that has taken it up is gone."""
    with db.transaction(shared=True):
        return bool(
            db.execute(
                "UPDATE local_runs SET status = 'queued', agent_pk = NULL, host = NULL, started_at = NULL"
                " WHERE pk = ? AND claims = ? AND status = 'running' AND pid IS NULL AND wanted IS NULL RETURNING pk",
                (taken.pk, taken.claims),
            )
        )


@repeated
def take_over(db: Database, taken: LocalRun, agent_pk: int) -> bool:
    """Look after a run of an agent that is gone. False when another one was quicker."""
    with db.transaction(shared=True):
        return bool(
            db.execute(
                "UPDATE local_runs SET agent_pk = ? WHERE pk = ? AND claims = ? AND status = 'running'"
                " AND agent_pk = ? RETURNING pk",
                (agent_pk, taken.pk, taken.claims, taken.agent_pk),
            )
        )


@repeated
def finish(db: Database, pk: int, claims: int, status: str, reason: str = "") -> str | None:
    """The run has ended; how it counts now. None when its end is known already.

    What was told to end, and has not succeeded before it did, ends as it was wanted.
    """
    how = "?" if status == "succeeded" else "COALESCE(wanted, ?)"
    with db.transaction(shared=True):
        rows = db.execute(
            f"UPDATE local_runs SET status = {how}, finished_at = ?, reason = ? WHERE pk = ? AND claims = ?"
            " AND status = 'running' RETURNING status",
            (status, now(), reason, pk, claims),
        )
        return str(rows[0][0]) if rows else None


@repeated
def want(db: Database, pk: int, how: str) -> str:
    """Let a run end, ``terminated`` or ``timed-out``. One that has not begun has ended; its status now."""
    with db.transaction():
        db.execute("UPDATE local_runs SET wanted = ? WHERE pk = ? AND status = 'running' AND wanted IS NULL", (how, pk))
        db.execute(
            "UPDATE local_runs SET status = ?, finished_at = ?, wanted = ? WHERE pk = ? AND status = 'queued'",
            (how, now(), how, pk),
        )
        return str(db.execute("SELECT status FROM local_runs WHERE pk = ?", (pk,))[0][0])


@repeated
def drop_queued(db: Database, name: str) -> int:
    """Runs that have not begun will not. How many these were."""
    with db.transaction():
        rows = db.execute(
            "UPDATE local_runs SET status = 'terminated', finished_at = ?, reason = ? WHERE name = ?"
            " AND status = 'queued' RETURNING pk",
            (now(), "What is deployed was deleted before the run began.", name),
        )
        return len(rows)


def stored_run(db: Database, local: LocalRun) -> StoredRun | None:
    """What the metadata has of the run; None before it has begun."""
    flows = db.execute("SELECT pk FROM flows WHERE name = ?", (local.flow,))
    return run_queries.run_by_id(db, flows[0][0], local.run_id) if flows else None


def as_it_is(db: Database, local: LocalRun) -> LocalRun:
    """The run with what is true of it now, also when no agent has looked."""
    if local.status != "running":
        return local
    stored = stored_run(db, local)
    if stored is not None and stored.status in ENDS:
        at = stored.finished_at
        return local._replace(status=local.wanted or ENDS[stored.status], finished_at=at)
    gone = local.is_here and local.pid is not None and not local.has_process
    if gone or (stored is not None and liveness.status(stored) == "lost"):
        return local._replace(status=local.wanted or "failed", reason=died(local))
    return local


def died(local: LocalRun) -> str:
    """Why a run has failed whose process is gone."""
    return (
        f"Its process on {local.host} was killed, or the machine went down. What its tasks have finished is kept: "
        f"`resume --origin-run-id {local.run_id}` goes on from there."
    )


def agent_lives(db: Database) -> bool:
    """Whether any agent would take up a run."""
    return bool(living_agents(db))


def _has_run(db: Database, flow: str, run_id: str) -> bool:
    return bool(
        db.execute(
            "SELECT 1 FROM runs r JOIN flows f ON f.pk = r.flow_pk WHERE f.name = ? AND r.id = ?", (flow, run_id)
        )
    )


def _row(row: Sequence[Any]) -> LocalRun:
    values = list(row)
    values[6], values[7] = json.loads(values[6]), json.loads(values[7])
    return LocalRun(*values)
