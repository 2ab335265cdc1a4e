"""Metadata in PostgreSQL: ``postgresql://user@host/database``, with all that libpq takes in a URL.

Each process has one connection, made when it is needed. One that was lost is made anew, and what was asked for is asked
for again: a read at once, and a transaction by whoever began it (:class:`TryAgain`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetadataError
from metaflow_core.hookspecs import hookimpl
from metaflow_core.metadata.database import Database, Row, TryAgain, no_text

if TYPE_CHECKING:
    import psycopg

PREFIXES = ("postgresql://", "postgres://")
WAIT_SECONDS = 60.0  # for a server that was there before, and for others who change the same
REST_SECONDS = 3  # until a connection that rests is given back
OLDEST = 14  # the first in which NUMERIC has infinity
LOCK = 0x6D657461666C6F77  # "metaflow": what transactions lock so as to exclude each other
# When the server started, and when it last recovered from a crash.
SERVER = "SELECT pg_postmaster_start_time()::text, (SELECT stats_reset::text FROM pg_stat_bgwriter)"
# Every statement finds what it needs through an index. To join whole tables, which the planner likes while it takes
# them for small ones, would make the cost of a search grow with the number of runs.
PLANNER = "".join(f"SET enable_{way} = off; " for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan", "memoize"))
WAITING = "SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = '10min'"
DEFAULTS = {"connect_timeout": "10", "keepalives_idle": "60", "application_name": "metaflow"}
# SQLSTATE: undone through no fault of its own (serialisation, deadlock), and the server that ends the connection.
UNDONE = ("40001", "40P01")
ENDED = ("57P01", "57P02", "57P03", "57P05", "25P03", "08")

_not_ours: list[Any] = []  # connections of the process that this one is a fork of: to close them would break them there


@hookimpl
def open_database(url: str) -> Database | None:
    return PostgreSQL(url) if url.startswith(PREFIXES) else None


class PostgreSQL:
    """One connection to a PostgreSQL database. It connects at once, so that what is wrong is known at once."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url
        self._depth = 0
        self._transaction = ""  # the number that the server gave it
        self._server: object = None  # which start of the server gave it
        self._pid = os.getpid()
        self._options: dict[str, Any] = dict(_options(url))
        self._connection: psycopg.Connection[Any] | None = None
        self._connection = self._connect()

    # --- statements ---

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if self._depth:
            return self._ask(sql, values)
        reads = sql.lstrip()[:6].upper() in ("SELECT", "EXPLAI", "WITH R", "SHOW S")
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                if reads:
                    return self._ask(sql, values)
                with self.transaction(shared=True):
                    return self._ask(sql, values)
            except TryAgain:
                if time.monotonic() > end:
                    raise

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        every = list(rows)
        end = time.monotonic() + WAIT_SECONDS
        while every:
            try:
                with self.transaction(shared=True):
                    connection = self._usable()
                    with self._errors(connection), connection.cursor() as cursor:
                        cursor.executemany(_numbered(sql), every)
                return
            except TryAgain:
                if self._depth or time.monotonic() > end:
                    raise

    def _ask(self, sql: str, values: Sequence[Any]) -> list[Row]:
        connection = self._usable()
        with self._errors(connection):
            cursor = connection.execute(_numbered(sql), values)
            return cursor.fetchall() if cursor.description else []

    # --- transactions ---

    @contextmanager
    def transaction(self, shared: bool = False) -> Iterator[None]:
        if self._depth:  # already inside one: the outer one decides
            yield
            return
        self._begin("pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            self._roll_back()
            raise
        self._depth = 0
        try:
            self._commit()
        except BaseException:
            self._roll_back()
            raise

    def _begin(self, lock: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while True:
            connection = self._usable()
            try:
                with self._errors(connection):
                    # One message, and so one way to the server and back. The transaction's number tells afterwards
                    # whether it took effect.
                    cursor = connection.execute(f"BEGIN; SELECT {lock}({LOCK}), pg_current_xact_id()::text")
                    cursor.nextset()
                    self._transaction = str((cursor.fetchone() or ("", ""))[1])
                return
            except TryAgain:  # nothing was done yet
                self._roll_back()
                if time.monotonic() > end:
                    raise
            except BaseException:
                self._roll_back()
                raise

    def _commit(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            raise TryAgain(self._about("The connection was lost."))
        try:
            with self._errors(connection):
                done = connection.execute("COMMIT").statusmessage
        except TryAgain:
            if not self._took_effect():
                raise
            return
        if done != "COMMIT":
            raise MetadataError(self._about("A statement of the transaction had failed, so it was undone."))

    def _took_effect(self) -> bool:
        """Whether the transaction whose end was not heard of is permanent.

        A server that crashed may have given the number of a transaction that was lost to another one.
        """
        server = self._server
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            # None: a server that crashed does not know it any more.
            [(status,)] = self.execute(
                "SELECT CASE WHEN CAST(? AS xid8) < pg_snapshot_xmax(pg_current_snapshot())"
                " THEN pg_xact_status(CAST(? AS xid8)) END",
                (self._transaction, self._transaction),
            )
            if status == "committed" and server == self._server:
                return True
            if status in ("aborted", None):
                return False
            if status == "committed":
                break
            time.sleep(0.05)
        raise MetadataError(self._about("It is not known whether the last change was stored."))

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            return
        import psycopg

        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
                return
            self.rest()

    # --- the connection ---

    def rest(self) -> None:
        """Let the server end the connection when nothing is asked for a while; the next statement makes another.

        To make one costs both sides more than all that a small task asks, so a task that is soon done keeps its own.
        """
        if self._connection is not None and self._pid == os.getpid() and not self._depth:
            with suppress(TryAgain):
                self._ask(f"SET idle_session_timeout = '{REST_SECONDS}s'", ())

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._pid == os.getpid():
            connection.close()
        else:
            _not_ours.append(connection)

    def _usable(self) -> psycopg.Connection[Any]:
        """The connection of this process, made anew when it was lost."""
        if self._connection is not None and self._pid == os.getpid() and not self._connection.closed:
            return self._connection
        if self._depth:
            raise TryAgain(self._about("The connection was lost."))
        self._drop()
        self._pid = os.getpid()
        end, pause = time.monotonic() + WAIT_SECONDS, 0.05
        while True:
            try:
                self._connection = self._connect()
                return self._connection
            except TryAgain:
                if time.monotonic() > end:
                    raise
                time.sleep(pause)
                pause = min(2.0, 2 * pause)

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        try:
            connection: psycopg.Connection[Any] = psycopg.connect(
                self.url, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.RawCursor, **self._options
            )
        except psycopg.Error as error:
            text = _first_failure(str(error))
            raise (MetadataError if _is_final(text) else TryAgain)(self._about(text)) from None
        try:
            if connection.info.server_version < OLDEST * 10000:
                found = connection.info.server_version // 10000
                raise MetadataError(self._about(f"The server is PostgreSQL {found}; {OLDEST} or newer is needed."))
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise MetadataError(self._about(f"Its encoding is {encoding}: make it with ENCODING 'UTF8'."))
            _take_plainly(connection)
            own = bool(connection.info.options) or "PGOPTIONS" in os.environ
            with self._errors(connection):
                cursor = connection.execute(f"{SERVER}; SET jit = off; {PLANNER}{'' if own else WAITING}")
                self._server = cursor.fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        import psycopg

        try:
            yield
        except UnicodeEncodeError as error:
            raise no_text(error) from None
        except psycopg.Error as error:
            code = error.sqlstate or ""
            lost = connection.closed or code.startswith(ENDED)
            if lost or (not code and isinstance(error, psycopg.OperationalError)):
                with suppress(psycopg.Error):
                    connection.close()
                raise TryAgain(self._about("The connection was lost.")) from error
            text = error.diag.message_primary or str(error).strip()
            raise (TryAgain if code in UNDONE else MetadataError)(self._about(text, code)) from error

    def _about(self, reason: str, code: str = "") -> str:
        advice = next((text for key, text in ADVICE.items() if code.startswith(key) or key in reason.lower()), "")
        reason = reason if reason.endswith((".", "?", "!")) else f"{reason}."
        return f"The metadata database {_place(self.url)} can't be used: {reason} {advice}".rstrip()


ADVICE = {
    "password authentication failed": "Check user and password: in the URL, PGPASSWORD or ~/.pgpass.",
    "no password supplied": "Give a password: in the URL, PGPASSWORD or ~/.pgpass.",
    "no pg_hba.conf entry": "The server does not accept this user from here: ask who runs it, and see sslmode.",
    "does not exist": "Check the name in the URL; docs/teams-database.md tells how a database is set up.",
    "connection refused": "Check that the server runs, and host and port in the URL.",
    "no such file": "Check that the server runs, and host and port in the URL.",
    "could not translate host name": "Check the host in the URL.",
    "failed to resolve host": "Check the host in the URL.",
    "too many clients": "The server has no connection left: raise max_connections, or use fewer --max-workers.",
    "connection slots": "The server has no connection left: raise max_connections, or use fewer --max-workers.",
    "timeout expired": "The server does not answer: check host, port and firewall.",
    "certificate": "Check sslmode, sslrootcert, sslcert and sslkey in the URL.",
    "23503": "What it belongs to is gone: garbage collection has removed that run.",
    "42501": "Your role may not do this: docs/teams-database.md tells which rights are needed.",
    "25006": "The server, or your role, only allows reading.",
    "53100": "The disk of the server is full: free some space and resume. Nothing that was stored is lost.",
    "55P03": f"Another process kept it locked for {WAIT_SECONDS:.0f} seconds: try again.",
    "57014": "It took longer than statement_timeout allows.",
    "22021": "It holds text only that is valid UTF-8 without NUL.",
}
FINAL = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist", "certificate")


def _is_final(text: str) -> bool:
    """Whether to connect once more would fail in the same way."""
    return any(part in text for part in FINAL) and "socket" not in text


def _first_failure(text: str) -> str:
    """What libpq says, of several addresses of one host the first, without line breaks."""
    text = text.partition("Multiple connection attempts failed")[2].partition("\n- ")[2].partition("\n-")[0] or text
    text = re.sub(r"^(host: .*?(?=connection to server)|connection (failed|is bad): )", "", text.strip())
    return " ".join(text.split())


def _options(url: str) -> dict[str, str]:
    """What the URL leaves open. libpq's own message about a URL may repeat a part of the password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if authority.count("@") < 2 and "@" not in path:
        try:
            given = conninfo_to_dict(url)
            return {name: value for name, value in DEFAULTS.items() if name not in given}
        except psycopg.Error:
            pass
    raise MetadataError(
        "The address of the metadata database is not valid. It is postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode="
        "require or a part of that, and in user and password each of @ : / ? # % is written as %40 %3A %2F %3F %23 %25."
    )


def _place(url: str) -> str:
    """Which database, on which host, without user and password."""
    from psycopg.conninfo import conninfo_to_dict

    given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value}
    name = given.get("dbname") or os.environ.get("PGDATABASE")
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST")
    if given.get("service") and not (name and host):
        return f"of the service {given['service']}"
    port = given.get("port") or os.environ.get("PGPORT")
    where = f"{host or 'this machine'}{f':{port}' if port else ''}"
    return f"{name} on {where}" if name else f"on {where}"


@lru_cache(maxsize=1000)
def _numbered(sql: str) -> bytes:
    """``?`` outside of quotes, as PostgreSQL numbers its parameters."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return re.sub(r"'[^']*'|\?", number, sql).encode()


def _take_plainly(connection: psycopg.Connection[Any]) -> None:
    """Give and take values as SQLite does: a bool is an integer, and a float keeps its digits in a NUMERIC column."""
    from psycopg.adapt import Dumper

    class Integer(Dumper):
        def dump(self, obj: Any) -> bytes:
            return b"1" if obj else b"0"

    class Float(Dumper):  # without a type of its own: the column's, as double precision would lose digits there
        def dump(self, obj: Any) -> bytes | None:
            return repr(float(obj)).encode() if obj == obj else None

    connection.adapters.register_dumper(bool, Integer)
    connection.adapters.register_dumper(float, Float)
