"""Finds runs: by id, and newest first by tags and status.

The cost of each query grows with what it returns, not with how many runs there are: a search walks the index of the
rarest condition and looks the others up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metaflow_core.metadata.database import Database

NEWEST = 2**62  # larger than any `pk`
# How many of the newest runs are looked at, and then how many of each condition are counted, before the next try.
EFFORTS = ((256, 2048), (2048, 16384), (8192, 2**18))
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


def runs_by_id(db: Database, flow_pk: int, ids: Sequence[str]) -> list[StoredRun]:
    """The runs of the flow with these ids (at most some hundred), in no order."""
    marks = ", ".join("?" * len(ids))
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.flow_pk = ? AND r.id IN ({marks})", (flow_pk, *ids))
    return [StoredRun(*row) for row in rows]


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
    tags = list(dict.fromkeys(tags))
    walked = tags[0] if tags else None
    if len(tags) + (status is not None) > 1:
        # What is looked for is mostly among the newest. Only when it is not, it pays to find out which tag is rarest.
        for near, most in EFFORTS:
            floor = _nth_newest(db, flow_pk, walked, before, near)
            sql, values = search(flow_pk, tags, status, walked, before, floor, limit)
            found = db.execute(sql, values)
            if not floor or len(found) == limit:
                return [StoredRun(*row) for row in found]
            rarest, count = _rarest(db, flow_pk, tags, status, most)
            if count < most:
                break
        walked = rarest
    sql, values = search(flow_pk, tags, status, walked, before, 0, limit)
    return [StoredRun(*row) for row in db.execute(sql, values)]


def search(
    flow_pk: int, tags: list[str], status: str | None, walked: str | None, before: int, after: int, limit: int
) -> tuple[str, list[str | int]]:
    """The statement that finds runs, and its values. It walks the index of the tag ``walked``, or of ``status``."""
    values: list[str | int] = [flow_pk]
    if walked is not None:
        # CROSS JOIN keeps SQLite from walking `runs` instead; to PostgreSQL it is a plain join.
        source, key = "run_tags w CROSS JOIN runs r", "w.run_pk"
        where = "w.flow_pk = ? AND w.tag = ? AND r.pk = w.run_pk"
        values.append(walked)
    else:
        source, key = "runs r", "r.pk"
        where = "r.flow_pk = ?"
    if status is not None:
        where += " AND r.status = ?"
        values.append(status)
    where += f" AND {key} < ? AND {key} > ?"
    values += [before, after]
    for tag in tags:
        if tag != walked:
            where += f" AND EXISTS (SELECT 1 FROM run_tags o WHERE o.run_pk = {key} AND o.tag = ?)"
            values.append(tag)
    return f"SELECT {_COLUMNS} FROM {source} WHERE {where} ORDER BY {key} DESC LIMIT ?", [*values, limit]


def _nth_newest(db: Database, flow_pk: int, tag: str | None, before: int, nth: int) -> int:
    """The ``pk`` of the run with the tag that ``nth`` others follow; 0 when there are not as many."""
    if tag is None:
        return 0
    rows = db.execute(
        "SELECT run_pk FROM run_tags WHERE flow_pk = ? AND tag = ? AND run_pk < ?"
        f" ORDER BY run_pk DESC LIMIT 1 OFFSET {nth}",
        (flow_pk, tag, before),
    )
    return int(rows[0][0]) if rows else 0


def _rarest(db: Database, flow_pk: int, tags: list[str], status: str | None, most: int) -> tuple[str | None, int]:
    """The tag that the fewest runs have, None when this status is rarer still, and how many, counted up to ``most``."""
    conditions: list[tuple[str | None, str, tuple[int, str]]] = [
        (tag, "run_tags WHERE flow_pk = ? AND tag = ?", (flow_pk, tag)) for tag in tags
    ]
    if status is not None:
        conditions.append((None, "runs WHERE flow_pk = ? AND status = ?", (flow_pk, status)))
    counts: dict[str | None, int] = {}
    for tag, rows, values in conditions:
        counts[tag] = db.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {rows} LIMIT {most}) s", values)[0][0]
    rarest = min(counts, key=lambda tag: counts[tag])
    return rarest, counts[rarest]


class TagUse(NamedTuple):
    """Where a tag, and so a namespace, is in use in a flow: on how many runs, which are the first and the last."""

    tag: str
    runs: int
    first_pk: int
    last_pk: int


def tags_in_use(db: Database, flow_pk: int) -> list[TagUse]:
    """Every tag of the flow's runs, in the order of the alphabet."""
    rows = db.execute(
        "SELECT tag, COUNT(*), MIN(run_pk), MAX(run_pk) FROM run_tags WHERE flow_pk = ? GROUP BY tag ORDER BY tag",
        (flow_pk,),
    )
    return [TagUse(*row) for row in rows]


def owners_of(db: Database, flow_pk: int, tag: str) -> list[str]:
    """Who has runs of the flow with this tag."""
    rows = db.execute(
        "SELECT DISTINCT r.owner FROM run_tags t CROSS JOIN runs r"
        " WHERE t.flow_pk = ? AND t.tag = ? AND r.pk = t.run_pk ORDER BY r.owner",
        (flow_pk, tag),
    )
    return [row[0] for row in rows]
