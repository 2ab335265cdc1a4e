"""Copies runs from one database and store into others, and compares what arrived.

A run is copied in one transaction, so it is there as a whole or not at all: a copy that was interrupted goes on with
the runs that are missing. Ids, times, tags with their history, and which task came from which stay what they are;
only the ``pk`` are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, NamedTuple

from metaflow_core.errors import MetadataError
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.contents import COLUMNS, saved_payloads, storage_key
from metaflow_core.metadata.database import Database, Row
from metaflow_core.metadata.repeating import repeated
from metaflow_core.metadata.sharing import register
from metaflow_core.store.interface import Storage
from metaflow_core.store.logs import log_key
from metaflow_core.values.encoded import Encoded

# Where each table is dealt with. A watcher is about what happens from now on, so watchers begin anew. What is deployed
# knows where its database is, so it has to be deployed again; under the tokens of before.
COPIED = {"flows", "graphs", "runs", "run_tags", "tag_events", "tasks", "task_parents", "attempts", "contents"} | {
    *("artifacts", "split_items", "task_metadata", "run_values", "artifact_reads", "texts", "production_tokens")
}
NOT_COPIED = {"watchers", "watched_events", "deployments", "events"} | {*("local_starts", "local_agents", "local_runs")}
_SCALARS = ("null", "bool", "int", "float", "str")
_RUN = (
    "r.pk, f.name, r.id, r.owner, r.status, r.created_at, r.finished_at, r.heartbeat_at, r.host, r.pid,"
    " r.origin_run_id, f.created_at, f.last_run, g.fingerprint, g.graph, s.fingerprint, s.text, e.fingerprint, e.text"
)
_JOINED = (
    "runs r JOIN flows f ON f.pk = r.flow_pk LEFT JOIN graphs g ON g.pk = r.graph_pk"
    " LEFT JOIN texts s ON s.pk = r.source_pk LEFT JOIN texts e ON e.pk = r.environment_pk"
)


class Known(NamedTuple):
    """A run: where it is, and by what it is told from another one with the same id."""

    pk: int
    flow: str
    id: str
    owner: str
    created_at: int

    @property
    def pathspec(self) -> str:
        return f"{self.flow}/{self.id}"


@dataclass
class Plan:
    """What is to be copied, oldest first, and what is not."""

    missing: list[Known] = field(default_factory=list)
    there: list[Known] = field(default_factory=list)  # copied before
    going: list[str] = field(default_factory=list)  # still running
    conflicts: list[str] = field(default_factory=list)  # another run has the id


class Place(NamedTuple):
    """A database and its store."""

    db: Database
    storage: Storage


def plan_copy(source: Database, target: Database, flows: Sequence[str]) -> Plan:
    """What copying the runs of these flows (none: of all) means."""
    plan = Plan()
    there = {(run.flow, run.id): run for run in _known(target)}
    for run in _known(source):
        if flows and run.flow not in flows:
            continue
        other = there.get((run.flow, run.id))
        status = liveness.status(run_queries.run_by_pk(source, run.pk))
        if status == "removed":
            continue
        if other is not None:
            same = (other.owner, other.created_at) == (run.owner, run.created_at)
            plan.there.append(run) if same else plan.conflicts.append(run.pathspec)
        elif status == "running":
            plan.going.append(run.pathspec)
        else:
            plan.missing.append(run)
    return plan


def copy_run(source: Place, target: Place, run: Known) -> None:
    """Copy one run with its logs and the payloads of its values."""
    register(target.db, target.storage)
    if source.storage.url != target.storage.url:
        for key in _logs(source.db, run):
            if source.storage.exists(key):
                target.storage.put(key, partial(_send, source.storage, key), replace=True)
    _insert_run(target.db, source, target.storage, run)


def copy_reads(source: Database, target: Database, runs: Sequence[Known]) -> None:
    """Which artifacts of other runs the tasks of these runs have read; once all runs are there."""
    here = {(run.flow, run.id): run.pk for run in _known(target)}
    names = {run.pk: (run.flow, run.id) for run in _known(source)}
    for run in runs:
        rows = source.execute(
            "SELECT t.step, t.id, a.source, a.source_run_pk, a.at FROM artifact_reads a"
            " JOIN tasks t ON t.pk = a.reader_pk WHERE a.reader_run_pk = ?",
            (run.pk,),
        )
        if rows:
            new = here[run.flow, run.id]
            tasks = _tasks(target, new)
            target.executemany(
                "INSERT INTO artifact_reads (reader_pk, source, reader_run_pk, source_run_pk, at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (reader_pk, source) DO NOTHING",
                [
                    (tasks[step, id], read, new, here.get(names.get(pk, ("", "")), 0), at)
                    for step, id, read, pk, at in rows
                ],
            )


def copy_tokens(source: Database, target: Database, flows: Sequence[str]) -> list[str]:
    """Copy the production tokens of these flows (none: of all). The names of deployments to which they belong.

    A name that has a token of its own there keeps that: who deploys there decides.
    """
    here, there = _tokens(source), _tokens(target)
    copied = []
    for name, rows in here.items():
        known = {row[0] for row in there.get(name, [])}
        if (flows and name.rpartition(".")[2] not in flows) or known - {row[0] for row in rows}:
            continue
        _insert_tokens(target, name, [row for row in rows if row[0] not in known])
        copied.append(name)
    return copied


def compare(source: Place, target: Place, runs: Sequence[Known], told: Callable[[int], None]) -> dict[str, int]:
    """Look at everything that was copied. How much there is; ``MetadataError`` when anything differs."""
    counts = {"runs": 0, "tasks": 0, "artifacts": 0, "objects": 0}
    here = {(run.flow, run.id): run.pk for run in _known(target.db)}
    seen: set[str] = set()
    for number, run in enumerate(runs, 1):
        pk = here[run.flow, run.id]
        old, new = _digest(source.db, run.pk), _digest(target.db, pk)
        if old != new:
            raise MetadataError(f"The run {run.pathspec} did not arrive as it was. Remove it there, and copy again.")
        if set(_events(source.db, run.pk)) - set(_events(target.db, pk)):
            raise MetadataError(f"The history of the tags of {run.pathspec} did not arrive as it was.")
        counts["runs"] += 1
        counts["tasks"] += old[1]
        counts["artifacts"] += old[2]
        keys = [storage_key(row[1]) for row in _contents(source.db, run.pk) if _is_object(row)]
        same_store = source.storage.url == target.storage.url
        logs = [] if same_store else [key for key in _logs(source.db, run) if source.storage.exists(key)]
        for key in [*keys, *logs]:
            if key not in seen:
                seen.add(key)
                if same_store:
                    target.storage.size(key)
                elif source.storage.read(key) != target.storage.read(key):
                    raise MetadataError(f"The object {key} of {run.pathspec} did not arrive as it was.")
        told(number)
    counts["objects"] = len(seen)
    return counts


def _tokens(db: Database) -> dict[str, list[Row]]:
    """The production tokens by the name of the deployment, the oldest first."""
    found: dict[str, list[Row]] = {}
    for name, *row in db.execute("SELECT name, token, owner, created_at FROM production_tokens ORDER BY pk"):
        found.setdefault(name, []).append(tuple(row))
    return found


@repeated
def _insert_tokens(db: Database, name: str, rows: Sequence[Row]) -> None:
    with db.transaction():
        for token, owner, created_at in rows:
            db.execute(
                "INSERT INTO production_tokens (name, token, owner, created_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (token) DO NOTHING",
                (name, token, owner, created_at),
            )


@repeated
def _insert_run(db: Database, source: Place, storage: Storage, run: Known) -> None:
    [row] = source.db.execute(f"SELECT {_RUN} FROM {_JOINED} WHERE r.pk = ?", (run.pk,))
    pk, flow, id, owner, status, created_at, finished_at, beat, host, pid, origin, flow_at, last_run, *texts = row
    contents = sorted(_contents(source.db, pk), key=lambda row: str(row[1]))
    with saved_payloads(db, storage, _payloads(source.storage, storage, contents)):
        db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (flow, flow_at))
        flow_pk = db.execute("SELECT pk FROM flows WHERE name = ?", (flow,))[0][0]
        db.execute("UPDATE flows SET last_run = ? WHERE pk = ? AND last_run < ?", (last_run, flow_pk, last_run))
        keys = [
            _once(db, table, column, *texts[2 * i : 2 * i + 2])
            for i, (table, column) in enumerate((("graphs", "graph"), ("texts", "text"), ("texts", "text")))
        ]
        [(new,)] = db.execute(
            "INSERT INTO runs (flow_pk, id, owner, status, created_at, finished_at, heartbeat_at, host, pid,"
            " origin_run_id, graph_pk, source_pk, environment_pk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " RETURNING pk",
            (flow_pk, id, owner, status, created_at, finished_at, beat, host, pid, origin, *keys),
        )
        _copy(source.db, db, "run_tags", "tag, is_system", "run_pk, flow_pk", pk, (new, flow_pk))
        _copy(source.db, db, "tag_events", "tag, action, identity, at", "run_pk", pk, (new,), "ORDER BY pk")
        _copy(source.db, db, "run_values", "name, kind, number, text", "run_pk, flow_pk", pk, (new, flow_pk))
        _insert_tasks(source.db, db, pk, new, flow_pk, _insert_contents(db, contents))


def _insert_tasks(source: Database, db: Database, old: int, new: int, flow_pk: int, contents: dict[int, int]) -> None:
    tasks = source.execute(
        "SELECT t.pk, t.step, t.id, t.frames, t.split_index, t.status, t.attempt, t.created_at, t.finished_at, r.id,"
        " o.step, o.id FROM tasks t LEFT JOIN tasks o ON o.pk = t.origin_task_pk LEFT JOIN runs r ON r.pk = o.run_pk"
        " WHERE t.run_pk = ? ORDER BY t.pk",
        (old,),
    )
    origins: dict[tuple[str, str, str], int] = {}
    for run_id in {row[9] for row in tasks if row[9] is not None}:
        for pk in db.execute("SELECT pk FROM runs WHERE flow_pk = ? AND id = ?", (flow_pk, run_id)):
            origins.update({(run_id, *task): number for task, number in _tasks(db, pk[0]).items()})
    db.executemany(
        "INSERT INTO tasks (run_pk, step, id, frames, split_index, status, attempt, created_at, finished_at,"
        " origin_task_pk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(new, *row[1:9], origins.get((row[9], row[10], row[11]))) for row in tasks],
    )
    there = _tasks(db, new)
    pks = {row[0]: there[row[1], row[2]] for row in tasks}
    for table, columns, changed in (
        ("attempts", "task_pk, attempt, status, started_at, finished_at, host, pid, transition, error", {}),
        ("artifacts", "task_pk, attempt, name, content_pk", {3: contents}),
        ("split_items", "task_pk, split_index, content_pk", {2: contents}),
        ("task_parents", "task_pk, position, parent_pk", {2: pks}),
        ("task_metadata", "task_pk, attempt, field, type, value, created_at", {}),
    ):
        rows = _of_tasks(source, table, columns, old)
        maps: dict[int, dict[int, int]] = {0: pks, **changed}
        marks = ", ".join("?" * (columns.count(",") + 1))
        db.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})",
            [tuple(maps[i][value] if i in maps else value for i, value in enumerate(row)) for row in rows],
        )


def _of_tasks(db: Database, table: str, columns: str, run_pk: int) -> list[Row]:
    names = ", ".join(f"x.{name}" for name in columns.split(", "))
    order = " ORDER BY x.pk" if table == "task_metadata" else ""
    return db.execute(
        f"SELECT {names} FROM tasks t JOIN {table} x ON x.task_pk = t.pk WHERE t.run_pk = ?{order}", (run_pk,)
    )


def _copy(
    source: Database, db: Database, table: str, kept: str, own: str, old: int, new: tuple[int, ...], order: str = ""
) -> None:
    rows = source.execute(f"SELECT {kept} FROM {table} WHERE run_pk = ? {order}", (old,))
    marks = ", ".join("?" * (kept.count(",") + 1 + len(new)))
    db.executemany(f"INSERT INTO {table} ({own}, {kept}) VALUES ({marks})", [(*new, *row) for row in rows])


def _once(db: Database, table: str, column: str, fingerprint: str | None, text: str | None) -> int | None:
    if fingerprint is None:
        return None
    db.execute(
        f"INSERT INTO {table} (fingerprint, {column}) VALUES (?, ?) ON CONFLICT (fingerprint) DO NOTHING",
        (fingerprint, text),
    )
    return int(db.execute(f"SELECT pk FROM {table} WHERE fingerprint = ?", (fingerprint,))[0][0])


def _tasks(db: Database, run_pk: int) -> dict[tuple[str, str], int]:
    return {(step, id): pk for pk, step, id in db.execute("SELECT pk, step, id FROM tasks WHERE run_pk = ?", (run_pk,))}


# --- values -----------------------------------------------------------------------------------------------------------


def _contents(db: Database, run_pk: int) -> list[Row]:
    """The rows of ``contents`` to which tasks of the run refer."""
    used = " UNION ".join(
        f"SELECT x.content_pk FROM tasks t JOIN {table} x ON x.task_pk = t.pk WHERE t.run_pk = ?"
        for table in ("artifacts", "split_items")
    )
    return db.execute(f"SELECT {COLUMNS} FROM contents WHERE pk IN ({used})", (run_pk, run_pk))


def _insert_contents(db: Database, rows: Sequence[Row]) -> dict[int, int]:
    """Old ``pk`` -> new ``pk``."""
    columns = COLUMNS.removeprefix("pk, ")
    marks = ", ".join("?" * (columns.count(",") + 1))
    db.executemany(
        f"INSERT INTO contents ({columns}) VALUES ({marks}) ON CONFLICT (key) DO NOTHING", [row[1:] for row in rows]
    )
    found: dict[str, int] = {}
    for first in range(0, len(rows), 500):
        keys = [row[1] for row in rows[first : first + 500]]
        found.update(db.execute(f"SELECT key, pk FROM contents WHERE key IN ({', '.join('?' * len(keys))})", keys))  # type: ignore[arg-type]
    return {row[0]: found[row[1]] for row in rows}


def _is_object(row: Row) -> bool:
    """Whether the payload of a row of ``COLUMNS`` is in the store."""
    return row[5] not in _SCALARS and row[10] is None


def _payloads(source: Storage, target: Storage, rows: Sequence[Row]) -> list[Encoded]:
    if source.url == target.url:
        return []
    return [
        Encoded(row[3], row[4], row[5], row[2], row[1], row[6], write=partial(_send, source, storage_key(row[1])))
        for row in rows
        if _is_object(row)
    ]


def _send(storage: Storage, key: str, file: IO[bytes]) -> None:
    file.write(storage.read(key))


def _logs(db: Database, run: Known) -> Iterator[str]:
    rows = db.execute(
        "SELECT t.step, t.id, a.attempt FROM tasks t JOIN attempts a ON a.task_pk = t.pk WHERE t.run_pk = ?", (run.pk,)
    )
    return (log_key(run.flow, run.id, step, task, attempt) for step, task, attempt in rows)


# --- what is the same on both sides -----------------------------------------------------------------------------------


def _known(db: Database) -> list[Known]:
    rows = db.execute(
        "SELECT r.pk, f.name, r.id, r.owner, r.created_at FROM runs r JOIN flows f ON f.pk = r.flow_pk ORDER BY r.pk"
    )
    return [Known(*row) for row in rows]


def _digest(db: Database, run_pk: int) -> tuple[str, int, int]:
    """What tells a run from any other, without its tags, which change; how many tasks and artifacts it has."""
    run = db.execute(f"SELECT {_RUN} FROM {_JOINED} WHERE r.pk = ?", (run_pk,))[0]
    tasks = db.execute(
        "SELECT step, id, frames, split_index, status, attempt, created_at, finished_at FROM tasks WHERE run_pk = ?",
        (run_pk,),
    )
    artifacts = _named(db, "artifacts", "x.attempt, x.name", run_pk)
    parents = db.execute(
        "SELECT t.step, t.id, p.position, o.step, o.id FROM tasks t JOIN task_parents p ON p.task_pk = t.pk"
        " JOIN tasks o ON o.pk = p.parent_pk WHERE t.run_pk = ?",
        (run_pk,),
    )
    attempts = "x.attempt, x.status, x.started_at, x.finished_at, x.host, x.pid, x.transition, x.error"
    facts = "x.attempt, x.field, x.type, x.value, x.created_at"
    others = [
        db.execute(
            f"SELECT t.step, t.id, {names} FROM tasks t JOIN {table} x ON x.task_pk = t.pk WHERE t.run_pk = ?",
            (run_pk,),
        )
        for table, names in (("attempts", attempts), ("task_metadata", facts))
    ]
    digest = hashlib.sha256(repr((*run[1:11], run[13:])).encode())
    for rows in (tasks, artifacts, parents, _named(db, "split_items", "x.split_index", run_pk), *others):
        digest.update(repr(sorted((tuple(row) for row in rows), key=repr)).encode())
    return digest.hexdigest(), len(tasks), len(artifacts)


def _named(db: Database, table: str, names: str, run_pk: int) -> list[Row]:
    """What the run's tasks refer to, by key and by fingerprint."""
    return db.execute(
        f"SELECT t.step, t.id, {names}, c.key, c.fingerprint, c.type, c.encoding, c.size, c.int_value, c.text_value"
        f" FROM tasks t JOIN {table} x ON x.task_pk = t.pk JOIN contents c ON c.pk = x.content_pk WHERE t.run_pk = ?",
        (run_pk,),
    )


def _events(db: Database, run_pk: int) -> list[tuple[Any, ...]]:
    rows = db.execute("SELECT tag, action, identity, at FROM tag_events WHERE run_pk = ?", (run_pk,))
    return [tuple(row) for row in rows]
