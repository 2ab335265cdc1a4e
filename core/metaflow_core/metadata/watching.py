"""Tag events for watchers: each watcher gets each event once, in order, also those of when it was down.

A watcher is a name in the database with the event up to which all are dealt with. Claiming an event is a row of its
own, so that two processes under one name share the work and never do it twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from metaflow_core.clock import now
from metaflow_core.machine import alive
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated

# A database with several writers may show an event after a later one. The mark stays this far behind, in microseconds.
SETTLED = 60_000_000


class Condition(NamedTuple):
    """Which events are meant. ``flow`` None is any flow, ``namespace`` None any namespace."""

    flow: str | None
    tags: Sequence[str]
    action: str = "added"
    namespace: str | None = None
    running: bool = False  # also events of runs that have not ended yet; by default these wait


class WatchedEvent(NamedTuple):
    """A tag event that this process has to act on."""

    pk: int
    flow: str
    run_id: str
    tag: str
    action: str
    identity: str
    at: int
    status: str  # of the run
    again: bool  # an earlier watcher was stopped while it acted on it


@repeated
def open_watcher(db: Database, name: str, from_beginning: bool) -> tuple[int, bool]:
    """The ``pk`` of the watcher, and whether it is new. A new one begins with the events from now on."""
    with db.transaction():
        found = db.execute("SELECT pk FROM watchers WHERE name = ?", (name,))
        if found:
            return found[0][0], False
        first = 0 if from_beginning else db.execute("SELECT COALESCE(MAX(pk), 0) FROM tag_events")[0][0]
        rows = db.execute(
            "INSERT INTO watchers (name, last_event, created_at) VALUES (?, ?, ?) RETURNING pk", (name, first, now())
        )
        return rows[0][0], True


@repeated
def claim(db: Database, watcher_pk: int, condition: Condition) -> WatchedEvent | None:
    """The oldest event that nobody has dealt with, now this process's to act on; None when there is none yet."""
    with db.transaction():
        if _is_busy(db, watcher_pk):
            return None  # one after the other
        last = db.execute("SELECT last_event FROM watchers WHERE pk = ?", (watcher_pk,))[0][0]
        newest = db.execute("SELECT COALESCE(MAX(pk), 0) FROM tag_events WHERE at < ?", (now() - SETTLED,))[0][0]
        claimed = None
        for event, run_pk, claims in _candidates(db, watcher_pk, condition, last):
            run = run_queries.run_by_pk(db, run_pk)
            status = liveness.status(run)
            if status == "running" and not condition.running:
                newest = min(newest, event - 1)
                continue
            claimed = _claim(db, watcher_pk, event, status, again=bool(claims))
            newest = min(newest, event - 1)
            break
        if newest > last:
            db.execute("UPDATE watchers SET last_event = ? WHERE pk = ?", (newest, watcher_pk))
        return claimed


def finish(db: Database, watcher_pk: int, event_pk: int, exit_code: int) -> None:
    """Record how acting on a claimed event ended."""
    db.execute(
        "UPDATE watched_events SET status = ?, exit_code = ?, finished_at = ? WHERE watcher_pk = ? AND event_pk = ?",
        ("failed" if exit_code else "done", exit_code, now(), watcher_pk, event_pk),
    )


def _is_busy(db: Database, watcher_pk: int) -> bool:
    """Whether another process, which lives, is acting on an event for this watcher."""
    rows = db.execute("SELECT host, pid FROM watched_events WHERE watcher_pk = ? AND status = 'running'", (watcher_pk,))
    here = os.uname().nodename
    return any(host != here or (pid != os.getpid() and alive(pid)) for host, pid in rows)


def _candidates(db: Database, watcher_pk: int, condition: Condition, last: int) -> list[tuple[int, int, int]]:
    """``(event, run, whether it was begun before)`` of the events that are not dealt with, the oldest first."""
    where, values = "", []
    if condition.flow is not None:
        where += " AND f.name = ?"
        values.append(condition.flow)
    if condition.namespace is not None:
        where += " AND EXISTS (SELECT 1 FROM run_tags t WHERE t.run_pk = r.pk AND t.tag = ?)"
        values.append(condition.namespace)
    marks = ", ".join("?" * len(condition.tags))
    rows = db.execute(
        "SELECT e.pk, e.run_pk, CASE WHEN w.status IS NULL THEN 0 ELSE 1 END FROM tag_events e"
        " JOIN runs r ON r.pk = e.run_pk JOIN flows f ON f.pk = r.flow_pk"
        " LEFT JOIN watched_events w ON w.watcher_pk = ? AND w.event_pk = e.pk"
        f" WHERE e.tag IN ({marks}) AND e.pk > ? AND e.action = ? AND (w.status IS NULL OR w.status = 'running')"
        f"{where} ORDER BY e.pk",
        (watcher_pk, *condition.tags, last, condition.action, *values),
    )
    return [(event, run, begun) for event, run, begun in rows]


def _claim(db: Database, watcher_pk: int, event_pk: int, status: str, again: bool) -> WatchedEvent:
    db.execute(
        "INSERT INTO watched_events (watcher_pk, event_pk, status, started_at, host, pid)"
        " VALUES (?, ?, 'running', ?, ?, ?) ON CONFLICT (watcher_pk, event_pk)"
        " DO UPDATE SET started_at = excluded.started_at, host = excluded.host, pid = excluded.pid",
        (watcher_pk, event_pk, now(), os.uname().nodename, os.getpid()),
    )
    flow, run, tag, action, identity, at = db.execute(
        "SELECT f.name, r.id, e.tag, e.action, e.identity, e.at FROM tag_events e JOIN runs r ON r.pk = e.run_pk"
        " JOIN flows f ON f.pk = r.flow_pk WHERE e.pk = ?",
        (event_pk,),
    )[0]
    return WatchedEvent(event_pk, flow, run, tag, action, identity, at, status, again)
