"""Reads runs and their tags: by id, and newest first by tags and status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.search import Place, find
from metaflow_core.metadata.search_terms import Condition, Fact, Tag

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


def flow_by_pk(db: Database, pk: int) -> StoredFlow:
    return StoredFlow(*db.execute("SELECT pk, name, created_at FROM flows WHERE pk = ?", (pk,))[0])


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


def flow_names(db: Database) -> list[str]:
    """The names of all flows."""
    return [row[0] for row in db.execute("SELECT name FROM flows ORDER BY name")]


def flow_has_tag(db: Database, flow_pk: int, tag: str) -> bool:
    """Whether any run of the flow has ``tag`` now."""
    return bool(db.execute("SELECT 1 FROM run_tags WHERE flow_pk = ? AND tag = ? LIMIT 1", (flow_pk, tag)))


def run_by_id(db: Database, flow_pk: int, id: str) -> StoredRun | None:
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.flow_pk = ? AND r.id = ?", (flow_pk, id))
    return StoredRun(*rows[0]) if rows else None


def latest_id(db: Database, flow_pk: int) -> str | None:
    """The id of the latest run of a flow, whosever it is."""
    rows = db.execute("SELECT id FROM runs WHERE flow_pk = ? ORDER BY pk DESC LIMIT 1", (flow_pk,))
    return str(rows[0][0]) if rows else None


def runs_by_id(db: Database, flow_pk: int, ids: Sequence[str]) -> list[StoredRun]:
    """The runs of the flow with these ids (at most some hundred), in no order."""
    marks = ", ".join("?" * len(ids))
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.flow_pk = ? AND r.id IN ({marks})", (flow_pk, *ids))
    return [StoredRun(*row) for row in rows]


def run_by_pk(db: Database, pk: int) -> StoredRun:
    """The run, or ``MetaflowNotFound``."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.pk = ?", (pk,))
    if not rows:
        raise MetaflowNotFound("This run is not there any more: garbage collection has removed it.")
    return StoredRun(*rows[0])


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


def runs_by_pk(db: Database, pks: Sequence[int]) -> list[StoredRun]:
    """These runs, in this order, without those that are gone."""
    found: dict[int, StoredRun] = {}
    for first in range(0, len(pks), 500):
        part = pks[first : first + 500]
        marks = ", ".join("?" * len(part))
        for row in db.execute(f"SELECT {_COLUMNS} FROM runs r WHERE r.pk IN ({marks})", part):
            found[row[0]] = StoredRun(*row)
    return [found[pk] for pk in pks if pk in found]


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
    conditions: list[Condition] = [Tag(tag) for tag in dict.fromkeys(tags)]
    if status is not None:
        conditions.append(Fact("status", "=", status))
    return runs_by_pk(db, [place.pk for place in find(db, flow_pk, conditions, after=Place(before), limit=limit)])


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
