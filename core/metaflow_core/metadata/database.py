"""What a metadata plugin provides: a small driver under portable SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from metaflow_core.errors import MetadataError, MetaflowException

Row = Sequence[Any]


class TryAgain(MetadataError):
    """Nothing has taken effect, through no fault of the statements: the same may work in a moment.

    The connection was lost, the server restarts, two transactions waited for each other.
    """

    condition = MetadataError.condition


def no_text(error: UnicodeEncodeError) -> MetaflowException:
    """For a value in which there is half a character, as in a name that the shell passed on and that is no UTF-8."""
    return MetaflowException(
        f"{error.object[:100]!r} can't be stored or looked up: it is no text that UTF-8 can write."
    )


class Database(Protocol):
    """One connection to a database that holds the tables of ``schema``.

    Statements are written once, in the SQL that SQLite and PostgreSQL share, with ``?`` for each value. Not safe to
    share between processes: open it after a fork. Every method raises ``MetadataError`` when the database is
    unreachable, read-only, full or damaged, and :func:`no_text` for a text that it can't hold.
    """

    url: str
    dialect: str  # "sqlite" or "postgresql"

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return its rows (none for a statement that gives none)."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def transaction(self, shared: bool = False) -> AbstractContextManager[None]:
        """All statements inside take effect together or not at all.

        Transactions wait for each other. Those that are ``shared`` need not wait for each other, only for the others:
        they add rows, and change none that another transaction of the kind may change after having read it.
        """

    def rest(self) -> None:
        """Nothing may be asked for a while: then what others may want is given back, such as a connection."""

    def close(self) -> None: ...
