"""What is deployed to orchestrators: every version of it, and the production tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import CommandException, MetaflowNotFound
from metaflow_core.machine import here, process_of
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated

CREATING_SECONDS = 900.0  # a deployment that has taken longer was given up, or its machine is gone
# Of a token p and a deployment d: both were inserted at the same moment. A token may come from another database, too.
_MADE_FOR = "d.token = p.token AND d.name = p.name AND d.created_at = p.created_at"
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
    """The token without which nothing can be deployed under ``name``; None when nothing was deployed yet.

    One that was made for a deployment counts once that is in place: its maker may have died before anybody saw it.
    """
    rows = db.execute(
        "SELECT token, owner, created_at FROM production_tokens p WHERE name = ? AND NOT EXISTS"
        f" (SELECT 1 FROM deployments d WHERE {_MADE_FOR} AND d.status = 'creating') ORDER BY pk DESC LIMIT 1",
        (name,),
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
    known: str | None,
) -> int:
    """Record a version that is being deployed, and return its ``pk``. It counts once :func:`deployed` is called.

    Under a name, one at a time is deployed. ``CommandException`` when another is, or when the latest token is not
    ``known`` any more.
    """
    at = now()
    with db.transaction():
        _refuse_others(db, name)
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
                (name, token, owner, at),
            )
        pk: int = db.execute(
            "INSERT INTO deployments (orchestrator, name, flow, token, owner, status, created_at, handle, info, plan,"
            " given) VALUES (?, ?, ?, ?, ?, 'creating', ?, ?, '{}', ?, '{}') RETURNING pk",
            (orchestrator, name, flow, token, owner, at, _this_process(), json.dumps(plan)),
        )[0][0]
    return pk


def _refuse_others(db: Database, name: str) -> None:
    """Those under this name whose process has died have failed. ``CommandException`` when one lives."""
    rows = db.execute(
        "SELECT pk, owner, created_at, handle FROM deployments WHERE name = ? AND status = 'creating'", (name,)
    )
    for pk, owner, created_at, process in rows:
        if _has_died(process) or now() - created_at > CREATING_SECONDS * 1e6:
            _fail(db, pk)
        else:
            raise CommandException(
                f"{name} is being deployed by {owner} at this moment. Nothing was deployed. Try again when that has "
                f"ended; when its machine is gone, {CREATING_SECONDS / 60:.0f} minutes after it began."
            )


def _this_process() -> str:
    return json.dumps([here(), os.getpid(), process_of(os.getpid())])


def _has_died(process: str) -> bool:
    host, pid, began = json.loads(process)
    return bool(host == here() and process_of(pid) != began)


@repeated
def give(db: Database, pk: int, given: Mapping[str, Any]) -> None:
    """What the runs of a version start with, before it is deployed."""
    with db.transaction(shared=True):
        db.execute("UPDATE deployments SET given = ? WHERE pk = ?", (json.dumps(given), pk))


@repeated
def deployed(db: Database, row: DeploymentRow, handle: str, info: Mapping[str, Any]) -> None:
    """The version is in place: it replaces those before it. ``CommandException`` when it was taken for dead."""
    at = now()
    with db.transaction():
        db.execute(
            "UPDATE deployments SET status = 'replaced', ended_at = ? WHERE orchestrator = ? AND name = ?"
            " AND status = 'active'",
            (at, row.orchestrator, row.name),
        )
        done = db.execute(
            "UPDATE deployments SET status = 'active', handle = ?, info = ? WHERE pk = ? AND status = 'creating'"
            " RETURNING pk",
            (handle, json.dumps(info), row.pk),
        )
        if not done:
            raise CommandException(
                f"This took more than {CREATING_SECONDS / 60:.0f} minutes, and somebody has deployed {row.name} "
                f"meanwhile. Look what is there with `status`, and deploy again."
            )


@repeated
def not_deployed(db: Database, pk: int) -> None:
    """A version could not be deployed. A token that was made for it is forgotten."""
    with db.transaction():
        _fail(db, pk)


def _fail(db: Database, pk: int) -> None:
    db.execute(
        "UPDATE deployments SET status = 'failed', ended_at = ?, handle = '' WHERE pk = ? AND status = 'creating'",
        (now(), pk),
    )
    db.execute(
        "DELETE FROM production_tokens WHERE pk IN (SELECT p.pk FROM production_tokens p JOIN deployments d"
        f" ON {_MADE_FOR} WHERE d.pk = ? AND d.status = 'failed')"
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


def packages_in_use(db: Database, orchestrator: str, name: str) -> set[str]:
    """The keys of the code packages of what is in place, and of what is being deployed."""
    rows = db.execute(
        "SELECT given FROM deployments WHERE orchestrator = ? AND name = ? AND status IN ('active', 'creating')",
        (orchestrator, name),
    )
    return {given["package"]["key"] for given in map(json.loads, (row[0] for row in rows)) if "package" in given}


def deployment(db: Database, pk: int) -> DeploymentRow:
    """The version with this number, in place or not. ``MetaflowNotFound`` when there is none."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM deployments WHERE pk = ?", (pk,))
    if not rows:
        raise MetaflowNotFound(f"There is no deployment number {pk} in the metadata database.")
    return _row(rows[0])


def _row(row: Sequence[Any]) -> DeploymentRow:
    plain, texts = row[:8], row[8:]
    return DeploymentRow._make([*plain, *map(json.loads, texts)])
