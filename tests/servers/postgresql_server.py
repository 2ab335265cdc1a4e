"""A PostgreSQL server of the tests' own, shared by the workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import getpass
import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from object_stores import free_ports

OWNER = "owner"  # a superuser, who needs no password from here
SLOW_BUT_SAFE = ("fsync", "full_page_writes")  # for when the machine crashes, not only the server


class PostgresServer:
    """A server in a temporary folder. As root it runs as the user ``postgres``, because it refuses to run as root."""

    def __init__(self, folder: Path, options: str = "-c max_connections=200") -> None:
        self.folder = folder
        self.options = options
        self.data = folder / "data"

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    def create(self) -> None:
        (port,) = free_ports(1)
        (self.folder / "port").write_text(str(port))
        if os.getuid() == 0:
            found = pwd.getpwnam("postgres")
            for path in (self.folder, self.folder / "port"):
                os.chown(path, found.pw_uid, found.pw_gid)
        self._run("initdb", "-D", str(self.data), "-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._run("sh", "-c", f"cat >{self.data}/pg_hba.conf", text=(
            "local all all trust\nhost all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        ))  # fmt: skip
        self.start()

    def start(self) -> None:
        options = [f"-p {self.port}", "-h 127.0.0.1", f"-k {self.folder}", self.options]
        options += [f"-c {name}=off" for name in SLOW_BUT_SAFE]
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-o", " ".join(options), "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def url(self, database: str, user: str = OWNER, more: str = "") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{more}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner, outside of what is tested."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a database of its own, which is gone afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str, text: str | None = None) -> None:
        command = [_program(program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        # Not through a pipe: the server would inherit it, and its end never come.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command, input=text, text=True, stdout=output, stderr=output, cwd=self.folder, check=False
            )
            output.seek(0)
            assert done.returncode == 0, f"{command}\n{output.read().decode()}"


def _program(name: str) -> str:
    found = [*sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")), shutil.which(name)]
    return next((path for path in reversed(found) if path), name)


@contextmanager
def new_server(options: str = "") -> Iterator[PostgresServer]:
    """A server of one test's own, for what disturbs others. Without PostgreSQL the test is skipped."""
    _need_postgresql()
    folder = Path(tempfile.mkdtemp(prefix="mf-pg-", dir="/tmp"))  # a short path, as that of a socket must be
    server = PostgresServer(folder, options)
    try:
        server.create()
        yield server
    finally:
        if server.running():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_server(base: Path) -> Iterator[PostgresServer]:
    """The server that all workers of this run of the tests share: the first one starts it, the last one stops it."""
    _need_postgresql()
    with _locked(base) as users:
        if not users.exists():
            folder = Path(tempfile.mkdtemp(prefix="mf-pg-", dir="/tmp"))
            PostgresServer(folder).create()
            users.write_text(f"{folder}\n")
        lines = users.read_text().splitlines()
        users.write_text("\n".join([*lines, str(os.getpid())]) + "\n")
    server = PostgresServer(Path(lines[0]))
    try:
        yield server
    finally:
        with _locked(base) as users:
            lines = [line for line in users.read_text().splitlines() if line != str(os.getpid())]
            if len(lines) == 1:
                server.stop()
                shutil.rmtree(server.folder, ignore_errors=True)
                users.unlink()
            else:
                users.write_text("\n".join(lines) + "\n")


@contextmanager
def _locked(base: Path) -> Iterator[Path]:
    with open(base / "postgresql.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield base / "postgresql.users"


def _need_postgresql() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed; `make setup` installs it")
    if not os.path.exists(_program("initdb")):
        pytest.skip("PostgreSQL is not installed; `make setup` installs it")
    if os.getuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        pytest.skip(f"PostgreSQL does not run as {getpass.getuser()}, and there is no user postgres")
