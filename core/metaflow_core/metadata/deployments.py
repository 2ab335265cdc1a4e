"""What is deployed to orchestrators: every version of it, and the production tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import CommandException, MetaflowNotFound
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
    known: str | None,
) -> int:
    """Record a version that is being deployed, and return its ``pk``. It counts once :func:`deployed` is called.

    Its token counts from now on. ``CommandException`` when the latest one is not ``known`` any more.
    """
    with db.transaction():
        row = latest_token(db, name)
        if (None if row is None else row.token) != known:
            raise CommandException(
                f"Somebody has deployed {name} with a new production token at this moment. Nothing was deployed. Try "
                f"again, with that token."
            )
        if token != known:
            if db.execute("SELECT 1 FROM production_tokens WHERE token = ?", (token,)):
                raise CommandException(
                    f"The production token {token} was in use before, so its namespace is not empty. Choose another."
                )
            db.execute(
                "INSERT INTO production_tokens (name, token, owner, created_at) VALUES (?, ?, ?, ?)",
                (name, token, owner, now()),
            )
        pk: int = db.execute(
            "INSERT INTO deployments (orchestrator, name, flow, token, owner, status, created_at, handle, info, plan,"
            " given) VALUES (?, ?, ?, ?, ?, 'creating', ?, '', '{}', ?, ?) RETURNING pk",
            (orchestrator, name, flow, token, owner, now(), json.dumps(plan), json.dumps(given)),
        )[0][0]
    return pk


@repeated
def deployed(db: Database, row: DeploymentRow, handle: str, info: Mapping[str, Any]) -> None:
    """The version is in place: it replaces those before it."""
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


@repeated
def not_deployed(db: Database, pk: int) -> None:
    """A version could not be deployed. A token that was made for it is forgotten."""
    with db.transaction():
        db.execute("UPDATE deployments SET status = 'failed', ended_at = ? WHERE pk = ?", (now(), pk))
        db.execute(
            "DELETE FROM production_tokens WHERE token = (SELECT token FROM deployments WHERE pk = ?)"
            " AND token NOT IN (SELECT token FROM deployments WHERE status <> 'failed')",
            (pk,),
        )


@repeated
def end_deployment(db: Database, pk: int) -> None:
    """A version was removed, with nothing in its place."""
    with db.transaction(shared=True):
        db.execute("UPDATE deployments SET status = 'deleted', ended_at = ? WHERE pk = ?", (now(), pk))


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
