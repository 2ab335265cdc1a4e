"""Objects in the two tables of a SQLite file.

An object is one row of ``objects`` and, in order, some of ``parts``. A log gets another part with each append; large
objects are cut: to read a few bytes is not to read all. An object is written in one transaction, so that a reader sees
all of it or nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import unquote

from metaflow_core.errors import MetaflowDataMissing, StorageError
from metaflow_core.names import show
from metaflow_core.store.interface import Storage, StoredObject, check_key

PART_BYTES = 4_000_000
PAGE = 1000  # objects per query of a scan
PATIENCE_SECONDS = 60.0
TABLES = """
    CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL);
    CREATE TABLE IF NOT EXISTS parts (
        key TEXT NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (key, start)
    );
"""


class OneFile(Storage):
    """The store at ``onefile:///absolute/path``. ``StorageError`` for what is no such address."""

    append_interval = 0.5  # an append is a transaction, and SQLite has one writer at a time

    def __init__(self, url: str) -> None:
        self.url = url
        self._path = unquote(url.removeprefix("onefile://"))
        if not os.path.isabs(self._path):
            raise StorageError(f"{show(url)} is no address of a file: write onefile:///an/absolute/path.db.")
        self._of = threading.local()  # a connection serves one thread of one process

    def put(self, key: str, write: Callable[[IO[bytes]], None], replace: bool = False) -> float | None:
        check_key(key)
        if not replace and (written := self._modified(key)) is not None:
            return written
        with self._errors("write"), SpooledTemporaryFile(max_size=PART_BYTES) as file:
            write(file)  # before the transaction: others must not wait for it
            file.seek(0)
            with self._transaction() as db:
                if not replace and (written := self._modified(key)) is not None:
                    return written
                self._forget(db, key)
                size = 0
                while data := file.read(PART_BYTES):
                    db.execute("INSERT INTO parts VALUES (?, ?, ?)", (key, size, data))
                    size += len(data)
                db.execute("INSERT INTO objects VALUES (?, ?, ?)", (key, size, time.time()))
        return None

    def read(self, key: str, start: int = 0, end: int | None = None) -> memoryview:
        with self._errors("read"):
            db = self._db()
            with _snapshot(db):
                size = self._row(key)[0]
                end = size if end is None else min(end, size)
                found = db.execute(
                    "SELECT start, data FROM parts"
                    " WHERE key = ? AND start < ? AND start + length(data) > ? ORDER BY start",
                    (key, end, start),
                ).fetchall()
        whole = bytearray().join(data for _, data in found)
        first = found[0][0] if found else start
        return memoryview(whole)[max(start - first, 0) : max(end - first, 0)]

    def exists(self, key: str) -> bool:
        return self._modified(check_key(key)) is not None

    def size(self, key: str) -> int:
        with self._errors("read"):
            return self._row(key)[0]

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.scan(prefix))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        if prefix:
            check_key(prefix)
        inside = "(key = ? OR (key > ? AND key < ?))" if prefix else "(? = ? OR ?)"
        values = (prefix, prefix + "/", prefix + "0") if prefix else (1, 1, 1)  # "0" follows "/"
        last = ""
        while True:
            with self._errors("read"):
                query = f"SELECT key, size, modified FROM objects WHERE {inside} AND key > ? ORDER BY key LIMIT {PAGE}"
                page = self._db().execute(query, (*values, last)).fetchall()
            for row in page:
                yield StoredObject(*row)
            if len(page) < PAGE:
                return
            last = page[-1][0]

    def delete(self, key: str) -> None:
        check_key(key)
        with self._errors("change"), self._transaction() as db:
            self._forget(db, key)

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        return 0, 0  # what a writer that was killed has left, SQLite has undone

    def append(self, key: str, data: bytes) -> None:
        check_key(key)
        if not data:
            return
        with self._errors("write"), self._transaction() as db:
            known = db.execute("SELECT size FROM objects WHERE key = ?", (key,)).fetchone()
            size = known[0] if known else 0
            db.execute("INSERT INTO parts VALUES (?, ?, ?)", (key, size, data))
            db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (key, size + len(data), time.time()))

    def close(self) -> None:
        if getattr(self._of, "pid", None) == os.getpid():
            self._of.db.close()
            del self._of.pid

    def _db(self) -> sqlite3.Connection:
        """The connection of this thread. What a fork has inherited is not used."""
        if getattr(self._of, "pid", None) != os.getpid():
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            db = sqlite3.connect(self._path, timeout=PATIENCE_SECONDS, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(TABLES)
            self._of.db, self._of.pid = db, os.getpid()
        connection: sqlite3.Connection = self._of.db
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _modified(self, key: str) -> float | None:
        with self._errors("read"):
            found = self._db().execute("SELECT modified FROM objects WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def _row(self, key: str) -> tuple[int, float]:
        check_key(key)
        found = self._db().execute("SELECT size, modified FROM objects WHERE key = ?", (key,)).fetchone()
        if found is None:
            raise MetaflowDataMissing(f"{key} is not in the artifact store {self.url}: it was deleted.")
        return found[0], found[1]

    def _forget(self, db: sqlite3.Connection, key: str) -> None:
        db.execute("DELETE FROM parts WHERE key = ?", (key,))
        db.execute("DELETE FROM objects WHERE key = ?", (key,))

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"Can't {verb} the artifact store {self.url}: {error}. Check the file.") from error


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """What is read inside is of one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")
