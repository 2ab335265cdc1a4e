"""Finds runs: by id, and newest first by tags and status.

The cost of each query grows with what it returns, not with how many runs there are: a search walks the index of the
rarest condition and looks the others up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metaflow_core.metadata.database import Database

NEWEST = 2**62  # larger than any `pk`
_COLUMNS = (
    "r.pk, r.flow_pk, r.id, r.owner, r.status, r.created_at, r.finished_at, r.heartbeat_at, r.host, r.pid,"
    " r.origin_run_id, r.graph_pk"
)


class StoredRun(NamedTuple):
    """A row of ``runs``. Times are microseconds since 1970 in UTC."""

    pk: int
    flow_pk: int
    id: str
    owner: str
    status: str
    created_at: int
    finished_at: int | None
    heartbeat_at: int | None
    host: str | None
    pid: int | None
    origin_run_id: str | None
    graph_pk: int | None


class Tags(NamedTuple):
    """The tags of a run."""

    user: frozenset[str]
    system: frozenset[str]


class StoredFlow(NamedTuple):
    """A row of ``flows``."""

    pk: int
    name: str
    created_at: int


def flow_by_name(db: Database, name: str) -> StoredFlow | None:
    rows = db.execute("SELECT pk, name, created_at FROM flows WHERE name = ?", (name,))
    return StoredFlow(*rows[0]) if rows else None


def find_flows(db: Database, tag: str | None) -> list[StoredFlow]:
    """Flows that have a run with ``tag`` (None: all flows), newest first."""
    where, values = "", []
    if tag is not None:
        where = "WHERE EXISTS (SELECT 1 FROM run_tags t WHERE t.flow_pk = f.pk AND t.tag = ?)"
        values = [tag]
    return [
        StoredFlow(*row)
        for row in db.execute(f"SELECT f.pk, f.name, f.created_at FROM flows f {where} ORDER BY f.pk DESC", values)
    ]


def flow_has_tag(db: Database, flow_pk: int, tag: str) -> bool:
    """Whether any run of the flow has ``tag`` now."""
    return bool(db.execute("SELECT 1 FROM run_tags WHERE flow_pk = ? AND tag = ? LIMIT 1", (flow_pk, tag)))


def run_by_id(db: Database, flow_pk: int, id: str) -> StoredRun | None:
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.flow_pk = ? AND r.id = ?", (flow_pk, id))
    return StoredRun(*rows[0]) if rows else None


def run_by_pk(db: Database, pk: int) -> StoredRun:
    return StoredRun(*db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.pk = ?", (pk,))[0])


def tags_of(db: Database, run_pks: Sequence[int]) -> dict[int, Tags]:
    """The tags of these runs (at most some hundred), by the run's ``pk``."""
    found: dict[int, tuple[list[str], list[str]]] = {pk: ([], []) for pk in run_pks}
    if found:
        marks = ", ".join("?" * len(run_pks))
        rows = db.execute(f"SELECT run_pk, tag, is_system FROM run_tags WHERE run_pk IN ({marks})", run_pks)
        for pk, tag, is_system in rows:
            found[pk][1 if is_system else 0].append(tag)
    return {pk: Tags(frozenset(user), frozenset(system)) for pk, (user, system) in found.items()}


def run_has_tag(db: Database, run_pk: int, tag: str) -> bool:
    return bool(db.execute("SELECT 1 FROM run_tags WHERE run_pk = ? AND tag = ?", (run_pk, tag)))


def find_runs(
    db: Database,
    flow_pk: int,
    tags: Iterable[str] = (),
    status: str | None = None,
    before: int = NEWEST,
    limit: int = 100,
) -> list[StoredRun]:
    """Up to ``limit`` runs of the flow that have all ``tags`` and this status, newest first.

    ``before`` gives the next page: the ``pk`` of the last run of the page before. Runs that start meanwhile do not
    shift the pages.
    """
    sql, values = search(db, flow_pk, list(dict.fromkeys(tags)), status, before, limit)
    return [StoredRun(*row) for row in db.execute(sql, values)]


def search(
    db: Database, flow_pk: int, tags: list[str], status: str | None, before: int, limit: int
) -> tuple[str, list[str | int]]:
    """The statement of :func:`find_runs` and its values."""
    driver = _rarest(db, flow_pk, tags, status)
    others = [tag for tag in tags if tag != driver]
    values: list[str | int] = [flow_pk]
    if driver is not None:
        # CROSS JOIN keeps SQLite from walking `runs` instead; to PostgreSQL it is a plain join.
        source, key = "run_tags d CROSS JOIN runs r", "d.run_pk"
        where = "d.flow_pk = ? AND d.tag = ? AND r.pk = d.run_pk"
        values.append(driver)
    else:
        source, key = "runs r", "r.pk"
        where = "r.flow_pk = ?"
    if status is not None:
        where += " AND r.status = ?"
        values.append(status)
    where += f" AND {key} < ?"
    values.append(before)
    for tag in others:
        where += f" AND EXISTS (SELECT 1 FROM run_tags o WHERE o.run_pk = {key} AND o.tag = ?)"
        values.append(tag)
    return f"SELECT {_COLUMNS} FROM {source} WHERE {where} ORDER BY {key} DESC LIMIT ?", [*values, limit]


def _rarest(db: Database, flow_pk: int, tags: list[str], status: str | None) -> str | None:
    """The tag whose index the search walks; None to walk the index of the status, or of all runs."""
    by_tag: list[tuple[str | None, str, tuple[int, str]]] = [
        (tag, "run_tags WHERE flow_pk = ? AND tag = ?", (flow_pk, tag)) for tag in tags
    ]
    if status is not None:
        by_tag.append((None, "runs WHERE flow_pk = ? AND status = ?", (flow_pk, status)))
    if len(by_tag) < 2:
        return tags[0] if tags else None
    # Counting stops early, so that it never costs more than the search that it speeds up.
    for most in (64, 4096):
        counts = {}
        for tag, rows, values in by_tag:
            counts[tag] = db.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {rows} LIMIT {most}) s", values)[0][0]
        rarest = min(counts, key=lambda tag: int(counts[tag]))
        if counts[rarest] < most:
            return rarest
    return tags[0]


class TagUse(NamedTuple):
    """Where a tag, and so a namespace, is in use."""

    tag: str
    is_system: bool
    runs: int
    first_at: int
    last_at: int
    owners: tuple[str, ...]


def tags_in_use(db: Database, flow_pk: int | None) -> list[TagUse]:
    """Every tag of the flow's runs (None: of all runs): on how many runs, when the first and last started, whose."""
    where, values = ("WHERE t.flow_pk = ?", (flow_pk,)) if flow_pk is not None else ("", ())
    uses: dict[str, TagUse] = {}
    for tag, is_system, owner, runs, first, last in db.execute(
        "SELECT t.tag, t.is_system, r.owner, COUNT(*), MIN(r.created_at), MAX(r.created_at)"
        f" FROM run_tags t JOIN runs r ON r.pk = t.run_pk {where} GROUP BY t.tag, t.is_system, r.owner"
        " ORDER BY r.owner",
        values,
    ):
        seen = uses.get(tag)
        if seen is None:
            uses[tag] = TagUse(tag, bool(is_system), runs, first, last, (owner,))
        else:
            owners = seen.owners if owner in seen.owners else (*seen.owners, owner)
            first, last = min(first, seen.first_at), max(last, seen.last_at)
            uses[tag] = TagUse(tag, seen.is_system or bool(is_system), seen.runs + runs, first, last, owners)
    return [uses[tag] for tag in sorted(uses)]
