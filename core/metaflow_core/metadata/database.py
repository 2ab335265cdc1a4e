"""What a metadata plugin provides: a small driver under portable SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = Sequence[Any]


class Database(Protocol):
    """One connection to a database that holds the tables of ``schema``.

    Statements are written once, in the SQL that SQLite and PostgreSQL share, with ``?`` for each value. Not safe to
    share between processes: open it after a fork. Every method raises ``MetadataError`` when the database is
    unreachable, read-only, full or damaged.
    """

    url: str
    dialect: str  # "sqlite" or "postgresql"

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return its rows (none for a statement that gives none)."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """All statements inside take effect together or not at all. Writers wait for each other."""

    def close(self) -> None: ...
