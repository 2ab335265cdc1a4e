"""Metadata in a SQLite file: ``sqlite:///path/to/metaflow.db``."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from metaflow_core.errors import MetadataError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.metadata.database import Database, Row, no_text

PREFIX = "sqlite:///"
WAIT_SECONDS = 60.0


@hookimpl
def open_database(url: str) -> Database | None:
    return SQLite(url) if url.startswith(PREFIX) else None


class SQLite:
    """One connection to a SQLite file, made with its folder when it does not exist.

    WAL lets readers go on while one process writes; ``synchronous=NORMAL`` can't corrupt the file when a process or
    the machine dies (https://www.sqlite.org/wal.html), it only may lose the last moments before a power cut.

    A file that can't be written (a read-only folder, a full disk) can still be read.
    """

    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = url.removeprefix(PREFIX)
        self._depth = 0
        self._unwritable = ""  # why the file can only be read
        with self._errors():
            folder = os.path.dirname(self.path)
            if folder:
                os.makedirs(folder, exist_ok=True)
            self._connection = self._connect(self.path)
            try:
                self._use_wal()
                self._connection.execute("PRAGMA synchronous=NORMAL")
            except sqlite3.OperationalError as error:
                if not self._open_to_read():
                    raise
                self._unwritable = str(error)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._errors():
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self, shared: bool = False) -> Iterator[None]:  # a file has one writer
        if self._depth:  # already inside one: the outer one decides
            yield
            return
        # IMMEDIATE: a transaction that first reads and then writes would fail when another writer came in between.
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._depth -= 1
        with self._errors():
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rest(self) -> None:
        """A file costs nothing while nothing is asked."""

    def close(self) -> None:
        self._connection.close()

    @staticmethod
    def _connect(place: str, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(place, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)

    def _open_to_read(self) -> bool:
        """Open a file that can't be written. WAL needs a file beside it, unless it is told that nobody writes."""
        from urllib.parse import quote

        modes = ["mode=ro"]
        log = self.path + "-wal"
        if os.path.isfile(self.path) and not (os.path.exists(log) and os.path.getsize(log)):
            modes.append("mode=ro&immutable=1")
        for mode in modes:
            with suppress(sqlite3.Error):
                connection = self._connect(f"file:{quote(os.path.abspath(self.path))}?{mode}", uri=True)
                connection.execute("SELECT COUNT(*) FROM sqlite_master")
                self._connection.close()
                self._connection = connection
                return True
        return False

    def _use_wal(self) -> None:
        # Two processes that turn a new file to WAL at once collide without SQLite's busy handler being asked.
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.005)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MetadataError(self._explain(str(error))) from error
        except UnicodeEncodeError as error:
            raise no_text(error) from None
        except OSError as error:
            raise MetadataError(f"The metadata database {self.path} can't be created: {error.strerror}.") from error

    def _explain(self, message: str) -> str:
        if self._unwritable and "readonly" in message:
            message = self._unwritable
        advice = {
            "readonly": "It is read-only: check the permissions of the file and of its folder.",
            "disk is full": "The disk is full: free some space and resume. Nothing that was stored is lost.",
            "disk i/o": "The disk does not accept writes: check its space and quota. Nothing that was stored is lost.",
            "unable to open": "Check that the folder exists and that you may write to it.",
            "not a database": "The file is no SQLite database: move it away, or set METAFLOW_METADATA_URL.",
            "malformed": "The file is damaged: restore it from a copy, or move it away.",
            "locked": f"Another process kept it locked for {WAIT_SECONDS:.0f} seconds: try again.",
        }
        hint = next((text for key, text in advice.items() if key in message.lower()), "")
        return f"The metadata database {self.path} can't be used: {message}. {hint}".rstrip()
