"""How far each local deployment has come with what starts it: the next time of its schedule, and events.

There is a row for each version of a deployment, made when an agent first sees it. It goes on from where the version
before was, unless the deployment was deleted in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from metaflow_core.metadata.database import Database


class Starts(NamedTuple):
    """``waiting`` has, by trigger, ``after``: the last event that was looked at, and ``come``: those that count."""

    due_at: int | None
    waiting: dict[str, dict[str, Any]]


def active_versions(db: Database) -> list[int]:
    """The ``pk`` of each local deployment that is in place."""
    rows = db.execute("SELECT pk FROM deployments WHERE orchestrator = 'local' AND status = 'active' ORDER BY pk")
    return [int(pk) for (pk,) in rows]


def is_active(db: Database, deployment_pk: int) -> bool:
    return bool(db.execute("SELECT 1 FROM deployments WHERE pk = ? AND status = 'active'", (deployment_pk,)))


def starts_of(db: Database, deployment_pk: int) -> Starts | None:
    """How far it has come; None when no agent has seen it yet."""
    rows = db.execute("SELECT due_at, waiting FROM local_starts WHERE deployment_pk = ?", (deployment_pk,))
    return Starts(rows[0][0], json.loads(rows[0][1])) if rows else None


def before(db: Database, deployment_pk: int, name: str) -> tuple[Mapping[str, Any], Starts] | None:
    """The plan of the version before that an agent has seen, and how far that came. None for a new deployment."""
    rows = db.execute(
        "SELECT d.pk, d.plan FROM deployments d JOIN local_starts s ON s.deployment_pk = d.pk"
        " WHERE d.orchestrator = 'local' AND d.name = ? AND d.pk < ? ORDER BY d.pk DESC LIMIT 1",
        (name, deployment_pk),
    )
    if not rows:
        return None
    pk, plan = rows[0]
    deleted = db.execute(
        "SELECT 1 FROM deployments WHERE orchestrator = 'local' AND name = ? AND pk >= ? AND pk < ?"
        " AND status = 'deleted' LIMIT 1",
        (name, pk, deployment_pk),
    )
    found = starts_of(db, pk)
    return None if deleted or found is None else (json.loads(plan), found)


def save_starts(db: Database, deployment_pk: int, starts: Starts) -> None:
    db.execute(
        "INSERT INTO local_starts (deployment_pk, due_at, waiting) VALUES (?, ?, ?)"
        " ON CONFLICT (deployment_pk) DO UPDATE SET due_at = excluded.due_at, waiting = excluded.waiting",
        (deployment_pk, starts.due_at, json.dumps(starts.waiting)),
    )
