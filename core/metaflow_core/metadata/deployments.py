"""What is deployed to orchestrators: every version of it, and the production tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated

_COLUMNS = "pk, orchestrator, name, flow, token, owner, created_at, handle, info, plan, given"


class TokenRow(NamedTuple):
    """The production token of a deployment's name: ``before`` tokens were made earlier."""

    token: str
    owner: str
    created_at: int
    before: int


class DeploymentRow(NamedTuple):
    """One version of a deployment."""

    pk: int
    orchestrator: str
    name: str
    flow: str
    token: str
    owner: str
    created_at: int
    handle: str
    info: Mapping[str, Any]
    plan: Mapping[str, Any]
    given: Mapping[str, Any]


def latest_token(db: Database, name: str) -> TokenRow | None:
    """The token without which nothing can be deployed under ``name``; None when nothing was deployed yet."""
    rows = db.execute(
        "SELECT token, owner, created_at FROM production_tokens WHERE name = ? ORDER BY pk DESC LIMIT 1", (name,)
    )
    if not rows:
        return None
    count = db.execute("SELECT COUNT(*) FROM production_tokens WHERE name = ?", (name,))[0][0]
    token, owner, created_at = rows[0]
    return TokenRow(token, owner, created_at, count - 1)


@repeated
def begin_deployment(
    db: Database,
    orchestrator: str,
    name: str,
    flow: str,
    token: str,
    owner: str,
    plan: Mapping[str, Any],
    given: Mapping[str, Any],
) -> int:
    """Record a version that is being deployed, and return its ``pk``. It counts once :func:`deployed` is called."""
    with db.transaction(shared=True):
        pk: int = db.execute(
            "INSERT INTO deployments (orchestrator, name, flow, token, owner, status, created_at, handle, info, plan,"
            " given) VALUES (?, ?, ?, ?, ?, 'creating', ?, '', '{}', ?, ?) RETURNING pk",
            (orchestrator, name, flow, token, owner, now(), json.dumps(plan), json.dumps(given)),
        )[0][0]
    return pk


@repeated
def deployed(db: Database, row: DeploymentRow, handle: str, info: Mapping[str, Any]) -> None:
    """The version is in place: it replaces those before it, and its token counts from now on."""
    at = now()
    with db.transaction():
        db.execute(
            "UPDATE deployments SET status = 'replaced', ended_at = ? WHERE orchestrator = ? AND name = ?"
            " AND status = 'active'",
            (at, row.orchestrator, row.name),
        )
        db.execute(
            "UPDATE deployments SET status = 'active', handle = ?, info = ? WHERE pk = ?",
            (handle, json.dumps(info), row.pk),
        )
        db.execute(
            "INSERT INTO production_tokens (name, token, owner, created_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (token) DO NOTHING",
            (row.name, row.token, row.owner, at),
        )


@repeated
def end_deployment(db: Database, pk: int, status: str) -> None:
    """A version is no more: it was ``deleted``, or could not be deployed (``failed``)."""
    with db.transaction(shared=True):
        db.execute("UPDATE deployments SET status = ?, ended_at = ? WHERE pk = ?", (status, now(), pk))


def active_deployment(db: Database, orchestrator: str, name: str) -> DeploymentRow | None:
    """The version that runs now; None when nothing is deployed."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE orchestrator = ? AND name = ? AND status = 'active'"
        " ORDER BY pk DESC LIMIT 1",
        (orchestrator, name),
    )
    return _row(rows[0]) if rows else None


def active_deployments(db: Database, orchestrator: str | None = None) -> list[DeploymentRow]:
    """All that are in place, on one orchestrator or on any, by name."""
    where, values = ("", ()) if orchestrator is None else (" AND orchestrator = ?", (orchestrator,))
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE status = 'active'{where} ORDER BY name, orchestrator, pk", values
    )
    return [_row(row) for row in rows]


def deployment(db: Database, pk: int) -> DeploymentRow:
    """The version with this number, in place or not. ``MetaflowNotFound`` when there is none."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM deployments WHERE pk = ?", (pk,))
    if not rows:
        raise MetaflowNotFound(f"There is no deployment number {pk} in the metadata database.")
    return _row(rows[0])


def _row(row: Sequence[Any]) -> DeploymentRow:
    plain, texts = row[:8], row[8:]
    return DeploymentRow._make([*plain, *map(json.loads, texts)])
