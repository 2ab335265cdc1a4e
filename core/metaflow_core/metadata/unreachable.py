"""What nothing refers to: stored values, their payloads, logs, graphs and sources.

Everything is removed inside a transaction in which it was looked up once more. Tasks commit in transactions too, and
these exclude each other; docs/retention.md has the whole argument. The runs in ``going_runs``, a temporary table, do
not count as referring to anything: so a dry run tells what their removal would set free.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TypeVar

from metaflow_core.metadata import run_queries
from metaflow_core.metadata.code_packages import held_packages
from metaflow_core.metadata.contents import INLINE_LIMIT, storage_key
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.retention import REFERS_TO_TASK, remove_tasks
from metaflow_core.metadata.turns import in_turns
from metaflow_core.store.interface import Storage, StoredObject

_VALUES_AT_A_TIME = 2000
_ROWS_AT_A_TIME = 200
_SURVIVES = "NOT EXISTS (SELECT 1 FROM going_runs g WHERE g.run_pk = t.run_pk)"
_REFERRED = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} x JOIN tasks t ON t.pk = x.task_pk WHERE x.content_pk = c.pk AND {_SURVIVES})"
    for table in ("artifacts", "split_items")
)
_FLOW = ", ".join(
    f"(SELECT f.name FROM {table} x JOIN tasks t ON t.pk = x.task_pk JOIN runs r ON r.pk = t.run_pk"
    " JOIN flows f ON f.pk = r.flow_pk WHERE x.content_pk = c.pk LIMIT 1)"
    for table in ("artifacts", "split_items")
)
_ROW_BYTES = f"CASE WHEN payload IS NULL AND size > {INLINE_LIMIT} THEN 0 ELSE size END"
_TEXTS = (("graphs", "graph", ("graph_pk",)), ("texts", "text", ("source_pk", "environment_pk")))
# What we have written there; anything else is left alone.
_PAYLOAD = re.compile(r"data/([0-9a-f]{2})/\1[0-9a-f]{62}")
_LOG = re.compile(r"logs/[^/]+/[^/]+/[^/]+/[^/]+\.\d+\.log")
T = TypeVar("T")


@dataclass
class Amount:
    """How many, and how many bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, bytes: int, count: int = 1) -> None:
        self.count += count
        self.bytes += bytes


@dataclass
class Garbage:
    """What was found that nothing refers to, or what was removed of it.

    ``values`` and ``texts`` are in the database. ``older`` are files that were there before the database was, which
    are never removed. ``flows`` tells how many bytes the runs of each flow account for, wherever they are.
    """

    values: Amount = field(default_factory=Amount)
    files: Amount = field(default_factory=Amount)
    logs: Amount = field(default_factory=Amount)
    texts: Amount = field(default_factory=Amount)
    temporary: Amount = field(default_factory=Amount)
    older: Amount = field(default_factory=Amount)
    flows: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of everything but ``older``."""
        return sum(part.bytes for part in (self.values, self.files, self.logs, self.texts, self.temporary))


class Collector:
    """Goes through a database and its store.

    ``grace`` and ``born`` are in seconds since 1970: a file that was written after the one is spared, for a task may
    be about to refer to it, and one from before the other is of another database.
    """

    def __init__(self, db: Database, storage: Storage, grace: float, born: float, dry_run: bool) -> None:
        self.db = db
        self.storage = storage
        self.grace = grace
        self.born = born
        self.dry_run = dry_run
        self.found = Garbage()

    def collect(self, going: Iterable[int] = ()) -> Garbage:
        """Remove what nothing refers to. A dry run tells what the removal of the runs ``going`` would add to it."""
        lost_runs = self._lost_runs()
        with _going_runs(self.db, [*going, *lost_runs]):
            if not self.dry_run:
                self._remove_lost_tasks(lost_runs)
            self._values()
            for number in range(256):
                self._files(f"data/{number:02x}")
            self._logs()
            self._texts()
        self.found.temporary.add(*reversed(self.storage.clean(self.grace, self.dry_run)))
        return self.found

    # --- rows of tasks whose run is gone: a driver that was taken for dead may have written them ---

    def _lost_runs(self) -> list[int]:
        rows = self.db.execute(
            "SELECT DISTINCT t.run_pk FROM tasks t WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.pk = t.run_pk)"
        )
        return [row[0] for row in rows]

    def _remove_lost_tasks(self, runs: Sequence[int]) -> None:
        for run in runs:
            done = False
            while not done:
                with in_turns(self.db):
                    done = remove_tasks(self.db, run)
        for table, column in REFERS_TO_TASK:
            rows = self.db.execute(
                f"SELECT DISTINCT x.{column} FROM {table} x"
                f" WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.pk = x.{column})"
            )
            for some in _batches((row[0] for row in rows), _ROWS_AT_A_TIME):
                with in_turns(self.db):
                    self.db.execute(f"DELETE FROM {table} WHERE {column} IN ({_marks(some)})", some)

    # --- values ---

    def _values(self) -> None:
        last = self.db.execute("SELECT COALESCE(MAX(pk), 0) FROM contents")[0][0]
        flow = f"COALESCE({_FLOW})" if self.dry_run else "NULL"
        for first in range(0, last, _VALUES_AT_A_TIME):
            rows = self.db.execute(
                f"SELECT c.pk, c.size, {_ROW_BYTES}, {flow} FROM contents c"
                f" WHERE c.pk > ? AND c.pk <= ? AND NOT ({_REFERRED})",
                (first, first + _VALUES_AT_A_TIME),
            )
            if self.dry_run:
                for _, size, in_row, name in rows:
                    self.found.values.add(in_row)
                    self._of_flow(name, size)
            else:
                for some in _batches((row[0] for row in rows), _ROWS_AT_A_TIME):
                    self._remove_values(some)

    def _remove_values(self, pks: list[int]) -> None:
        with in_turns(self.db):
            removed = self.db.execute(
                f"DELETE FROM contents WHERE pk IN ({_marks(pks)})"
                " AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.content_pk = contents.pk)"
                " AND NOT EXISTS (SELECT 1 FROM split_items i WHERE i.content_pk = contents.pk)"
                f" RETURNING {_ROW_BYTES}",
                pks,
            )
        self.found.values.add(sum(row[0] for row in removed), len(removed))

    # --- payloads ---

    def _files(self, prefix: str) -> None:
        old = (
            found
            for found in self.storage.scan(prefix)
            if found.modified < self.grace and _PAYLOAD.fullmatch(found.key)
        )
        for some in _batches(old, _ROWS_AT_A_TIME):
            keys = [found.key.rpartition("/")[2] for found in some]
            rows = self.db.execute(
                f"SELECT c.key FROM contents c WHERE c.key IN ({_marks(keys)}) AND ({_REFERRED})", keys
            )
            needed = {storage_key(key) for key in (*(row[0] for row in rows), *held_packages(self.storage))}
            self._drop_files([found for found in some if found.key not in needed and self._is_ours(found)])

    def _drop_files(self, files: list[StoredObject]) -> None:
        if self.dry_run:
            self.found.files.add(sum(file.size for file in files), len(files))
            return
        while files:
            with in_turns(self.db) as end:
                held = held_packages(self.storage)
                while files and time.monotonic() < end:
                    key = files.pop().key
                    if key.rpartition("/")[2] not in held:
                        self._remove_file(key)

    def _remove_file(self, key: str) -> None:
        """Remove a payload, in a transaction, unless something refers to it by now or it was written anew."""
        if self.db.execute("SELECT 1 FROM contents WHERE key = ?", (key.rpartition("/")[2],)):
            return
        for file in self.storage.scan(key):
            if file.modified < self.grace:
                self.storage.delete(key)
                self.found.files.add(file.size)

    # --- logs ---

    def _logs(self) -> None:
        """Logs of attempts that are not recorded. Recording comes before the first line, so none is on its way."""
        for flow in run_queries.find_flows(self.db, None):
            logs = self.storage.scan(f"logs/{flow.name}")
            for run, group in groupby(logs, lambda log: log.key.split("/", 3)[2]):
                self._logs_of(flow.pk, flow.name, run, list(group))

    def _logs_of(self, flow_pk: int, flow: str, run: str, logs: list[StoredObject]) -> None:
        rows = self.db.execute(
            "SELECT t.step, t.id, a.attempt FROM runs r JOIN tasks t ON t.run_pk = r.pk"
            f" JOIN attempts a ON a.task_pk = t.pk WHERE r.flow_pk = ? AND r.id = ? AND {_SURVIVES}",
            (flow_pk, run),
        )
        recorded = {f"logs/{flow}/{run}/{step}/{task}.{attempt}.log" for step, task, attempt in rows}
        for log in logs:
            if not _LOG.fullmatch(log.key) or log.key in recorded or not self._is_ours(log):
                continue
            self.found.logs.add(log.size)
            if self.dry_run:
                self._of_flow(flow, log.size)
            else:
                self.storage.delete(log.key)

    # --- graphs and sources ---

    def _texts(self) -> None:
        for table, column, users in _TEXTS:
            left = " AND r.pk NOT IN (SELECT run_pk FROM going_runs)"
            loose = self.db.execute(f"SELECT pk, LENGTH({column}) FROM {table} WHERE pk NOT IN ({_used(users, left)})")
            if self.dry_run:
                self.found.texts.add(sum(size for _, size in loose), len(loose))
                continue
            for some in _batches((row[0] for row in loose), _ROWS_AT_A_TIME):
                with in_turns(self.db):
                    removed = self.db.execute(
                        f"DELETE FROM {table} WHERE pk IN ({_marks(some)}) AND pk NOT IN ({_used(users)})"
                        f" RETURNING LENGTH({column})",
                        some,
                    )
                self.found.texts.add(sum(row[0] for row in removed), len(removed))

    def _is_ours(self, file: StoredObject) -> bool:
        if file.modified >= self.born:
            return True
        self.found.older.add(file.size)
        return False

    def _of_flow(self, flow: str | None, bytes: int) -> None:
        if flow is not None:
            self.found.flows[flow] = self.found.flows.get(flow, 0) + bytes


@contextmanager
def _going_runs(db: Database, pks: Iterable[int]) -> Iterator[None]:
    db.execute("CREATE TEMPORARY TABLE going_runs (run_pk BIGINT PRIMARY KEY)")
    try:
        db.executemany("INSERT INTO going_runs (run_pk) VALUES (?)", ((pk,) for pk in pks))
        yield
    finally:
        db.execute("DROP TABLE going_runs")


def _used(columns: Sequence[str], condition: str = "") -> str:
    """What the runs name in these columns."""
    return " UNION ALL ".join(f"SELECT r.{name} FROM runs r WHERE r.{name} IS NOT NULL{condition}" for name in columns)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
