"""PostgreSQL keeps the contract of metadata databases, survives what happens to servers, and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow_core.errors import MetadataError
from metaflow_core.metadata import recording
from metaflow_core.metadata.database import Database, TryAgain
from metaflow_core.metadata.recording import NewRun
from metaflow_core.metadata.run_values import values_of
from metaflow_core.testing.database import DatabaseContract
from metaflow_core.values import encode

pytest.importorskip("psycopg", reason="psycopg is not installed; `make setup` installs it")

from metaflow_plugins import postgresql as postgresql_plugin
from metaflow_plugins.local_storage import LocalStorage
from metaflow_plugins.postgresql import PostgreSQL, open_database
from postgresql_server import PostgresServer, new_server


class TestPostgreSQL(DatabaseContract):
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url

    def open(self, url: str) -> Database:
        return PostgreSQL(url)


@pytest.fixture
def db(team_database: str) -> Iterator[PostgreSQL]:
    db = PostgreSQL(team_database)
    yield db
    db.close()


def kill_connections(server: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def connections(server: PostgresServer, url: str) -> int:
    name = url.rpartition("/")[2]
    [(count,)] = server.sql(f"SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{name}'")
    return int(str(count))


def flows(db: Database) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM flows ORDER BY name")]


ADD = "INSERT INTO flows (name, created_at) VALUES (?, 1)"


def test_only_its_own_addresses_are_opened() -> None:
    assert open_database("sqlite:///x.db") is None
    assert open_database("mysql://somewhere/metaflow") is None


# --- values ---


def test_texts_are_in_the_order_of_their_bytes(db: PostgreSQL) -> None:
    for name in ("b", "B", "ä", "a", "_", "A"):
        db.execute(ADD, (name,))
    assert flows(db) == ["A", "B", "_", "a", "b", "ä"]


def test_numbers_by_which_runs_are_found_are_exact(db: PostgreSQL, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "third": 0.1 + 0.2,
        "large": 2**53 + 1,
        "tiny": 5e-324,
        "endless": float("-inf"),
        "none": float("nan"),
        "yes": True,
        "text": "50% ? it's",
    }
    new = NewRun("F", "tester", "user:tester", [], artifacts={k: encode(v) for k, v in values.items()})
    run = recording.create_run(db, LocalStorage(str(tmp_path)), new)
    found = values_of(db, [run.pk], None)[run.pk]
    assert found.pop("none") != values.pop("none")
    assert found == values and {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in values.items()
    }
    for name in ("third", "large", "tiny"):
        assert db.execute("SELECT name FROM run_values WHERE number = ?", (values[name],)) == [(name,)]


# --- transactions ---


def test_shared_transactions_go_side_by_side_and_others_wait(db: PostgreSQL, team_database: str) -> None:
    other = PostgreSQL(team_database)
    third = PostgreSQL(team_database)
    entered = threading.Event()

    def alone() -> None:
        with third.transaction():
            entered.set()

    with db.transaction(shared=True):
        db.execute(ADD, ("a",))
        with other.transaction(shared=True):
            other.execute(ADD, ("b",))
        assert flows(other) == ["b"]
        waiting = threading.Thread(target=alone)
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(10)
    assert entered.is_set()
    other.close()
    third.close()


def test_equal_values_of_many_tasks_at_once(team_database: str, tmp_path: Path) -> None:
    """The same new values in other orders: no deadlock, and each value is stored once."""
    storage = LocalStorage(str(tmp_path))
    first = PostgreSQL(team_database)
    run = recording.create_run(first, storage, NewRun("F", "tester", "user:tester", []))
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            db = PostgreSQL(team_database)
            for turn in range(5):
                values = {f"x{i}": encode(f"{turn} {i}") for i in range(30)}
                items = [encode(f"{turn} {i}") for i in range(30, 60)]
                if number % 2:
                    values = dict(reversed(values.items()))
                    items.reverse()
                    values, items = dict(zip(values, items, strict=True)), list(values.values())
                task = recording.create_task(db, run.pk, "start", f"{number}.{turn}", [], None, [])
                recording.commit_attempt(db, storage, task, 0, recording.Result("done"), values, items)
            db.close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert first.execute("SELECT COUNT(*) FROM contents") == [(300,)]
    first.close()


def test_run_numbers_have_no_gap_and_no_twin(team_database: str, tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    ids: list[str] = []

    def begin() -> None:
        db = PostgreSQL(team_database)
        for _ in range(5):
            ids.append(recording.create_run(db, storage, NewRun("F", "tester", "user:tester", ["user:tester"])).id)
        db.close()

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, ids)) == list(range(1, 41))


# --- lost connections ---


def test_a_lost_connection_is_made_anew(db: PostgreSQL, postgresql: PostgresServer) -> None:
    db.execute(ADD, ("a",))
    for name in ("b", "c"):
        kill_connections(postgresql, db.url)
        assert "a" in flows(db)
        kill_connections(postgresql, db.url)
        db.execute(ADD, (name,))
    kill_connections(postgresql, db.url)
    db.executemany(ADD, [("d",), ("e",)])
    assert flows(db) == ["a", "b", "c", "d", "e"]


def test_a_transaction_whose_connection_is_lost_has_no_effect(db: PostgreSQL, postgresql: PostgresServer) -> None:
    with pytest.raises(TryAgain), db.transaction():
        db.execute(ADD, ("a",))
        kill_connections(postgresql, db.url)
        db.execute(ADD, ("b",))
    with pytest.raises(TryAgain), db.transaction():
        db.execute(ADD, ("a",))
        kill_connections(postgresql, db.url)
    assert flows(db) == []
    with db.transaction():
        db.execute(ADD, ("c",))
    assert flows(db) == ["c"]


def test_a_commit_whose_answer_is_lost_counts_once(
    db: PostgreSQL, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stored it and died before it could say so: it is asked what became of that transaction."""
    import psycopg

    execute = psycopg.Connection.execute

    def lose(self: Any, query: Any, *more: Any, **options: Any) -> Any:
        done = execute(self, query, *more, **options)
        if query == "COMMIT":
            monkeypatch.undo()
            kill_connections(postgresql, db.url)
            execute(self, "SELECT 1")
        return done

    monkeypatch.setattr(psycopg.Connection, "execute", lose)
    db.execute(ADD, ("a",))
    assert flows(db) == ["a"]


def test_what_a_task_commits_is_repeated(
    db: PostgreSQL, postgresql: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(str(tmp_path))
    run = recording.create_run(db, storage, NewRun("F", "tester", "user:tester", []))
    task = recording.create_task(db, run.pk, "start", "1", [], None, [])
    finish, times = recording._finish, []

    def interrupted(*arguments: Any) -> None:
        times.append(1)
        if len(times) < 3:
            kill_connections(postgresql, db.url)
        finish(*arguments)

    monkeypatch.setattr(recording, "_finish", interrupted)
    values = {"x": encode(1), "y": encode(list(range(5000)))}
    recording.commit_attempt(db, storage, task, 0, recording.Result("done"), values, facts={"a": "b"})
    assert len(times) == 3
    assert len(recording.artifacts(db, task, 0)) == 2
    assert db.execute("SELECT COUNT(*) FROM task_metadata") == [(1,)]
    assert recording.attempt_result(db, task, 0).status == "done"


def test_a_fork_has_a_connection_of_its_own(db: PostgreSQL, postgresql: PostgresServer) -> None:
    db.execute(ADD, ("parent",))
    pid = os.fork()
    if not pid:
        code = 1
        try:
            db.execute(ADD, ("child",))
            code = 0 if flows(db) == ["child", "parent"] and connections(postgresql, db.url) == 2 else 2
            db.close()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    with db.transaction():
        db.execute(ADD, ("more",))
    assert flows(db) == ["child", "more", "parent"]
    assert connections(postgresql, db.url) == 1


def test_a_connection_that_rests_for_long_is_given_back(
    db: PostgreSQL, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(ADD, ("a",))
    [(number,)] = db.execute("SELECT pg_backend_pid()")
    db.rest()
    assert db.execute("SELECT pg_backend_pid()") == [(number,)]  # it is soon needed again
    monkeypatch.setattr(postgresql_plugin, "REST_SECONDS", 1)
    for name in ("b", "c"):
        db.rest()
        deadline = time.monotonic() + 60
        while connections(postgresql, db.url) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connections(postgresql, db.url) == 0
        with db.transaction(shared=True):
            db.execute(ADD, (name,))
    assert flows(db) == ["a", "b", "c"]


# --- what is wrong is said, and the password is not ---


@pytest.fixture
def anne(postgresql: PostgresServer, team_database: str) -> Iterator[str]:
    """The URL of a member who needs a password."""
    name = f"anne_{os.getpid()}"
    postgresql.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'hush/hush'")
    yield team_database.replace("owner@", f"{name}:hush%2Fhush@")
    postgresql.sql(f"DROP OWNED BY {name}", team_database.rpartition("/")[2])
    postgresql.sql(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("hush%2Fhush", "wrong-hush"), r"test_\w+ on 127.0.0.1:\d+ .*password authentication failed.*PGPASSWORD"),
        ((":hush%2Fhush", ""), "no password supplied"),
        (("/test_", "/no_such_"), 'database "no_such_.*" does not exist'),
        (("127.0.0.1", "nowhere.invalid"), "nowhere.invalid.*Check the host"),
        (("hush%2Fhush", "hush/hush"), "is not valid.*%2F"),
        (("hush%2Fhush", "hush@hush"), "is not valid.*%40"),
        (("hush%2Fhush", "hush%zzhush"), "is not valid"),
    ],
)
def test_what_is_wrong_with_the_address(anne: str, change: tuple[str, str], message: str) -> None:
    assert PostgreSQL(anne).execute("SELECT 1") == [(1,)]
    with pytest.raises(MetadataError, match=message) as raised:
        PostgreSQL(anne.replace(*change))
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_server_that_is_down(project: Path, run_flow: Any) -> None:
    url = "postgresql://anne:hush@127.0.0.1:1/team"
    flow = """
        from metaflow import FlowSpec, step

        class OneFlow(FlowSpec):
            @step
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            OneFlow()
    """
    began = time.monotonic()
    done = run_flow(flow, "--metadata", url, "run", check=False)
    assert done.returncode == 1
    assert "team on 127.0.0.1:1 can't be used" in done.stderr and "Check that the server runs" in done.stderr
    assert "hush" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert time.monotonic() - began < 30
    environment = {**os.environ, "METAFLOW_METADATA_URL": url}
    for command in ("status", "doctor"):
        shown = subprocess.run(
            [Path(sys.executable).with_name("metaflow"), command],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "team on 127.0.0.1:1 can't be used" in shown.stdout
        assert "hush" not in shown.stdout + shown.stderr


def test_metadata_is_described_without_the_password(anne: str, project: Path, db: PostgreSQL) -> None:
    from metaflow import default_metadata, get_metadata, metadata

    db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    shown = metadata(anne)
    assert shown == get_metadata() == anne.replace("hush%2Fhush", "***")
    assert default_metadata().startswith("local@")
    assert metadata(shown) == shown  # what was described can be chosen again
    default_metadata()


def test_settings_of_libpq_hold(anne: str, team_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="SSL"):
        PostgreSQL(f"{anne}?sslmode=require")
    bare = anne.replace(":hush%2Fhush", "")
    monkeypatch.setenv("PGPASSWORD", "hush/hush")
    assert PostgreSQL(bare).execute("SELECT 1") == [(1,)]
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pass").write_text("*:*:*:*:hush/hush\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))
    assert PostgreSQL(bare).execute("SELECT 1") == [(1,)]
    user, _, rest = bare.partition("://")[2].partition("@")
    (host, _, port), name = rest.partition("/")[0].partition(":"), rest.partition("/")[2]
    (tmp_path / "services").write_text(f"[team]\nhost={host}\nport={port}\nuser={user}\ndbname={name}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert PostgreSQL("postgresql://?service=team").execute("SELECT 1") == [(1,)]
    slow = PostgreSQL(f"{team_database}?options=-cstatement_timeout%3D100")
    with pytest.raises(MetadataError, match="statement_timeout allows"):
        slow.execute("SELECT pg_sleep(5)")
    assert slow.execute("SELECT 1") == [(1,)]


def test_a_member_who_may_only_read(anne: str, postgresql: PostgresServer, db: PostgreSQL) -> None:
    from metaflow_core.metadata.migrate import migrate

    db.execute(ADD, ("a",))
    name = anne.partition("://")[2].partition(":")[0]
    postgresql.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", db.url.rpartition("/")[2])
    reader = PostgreSQL(anne)
    migrate(reader)
    assert flows(reader) == ["a"]
    with pytest.raises(MetadataError, match=r"permission denied.*which rights"):
        reader.execute(ADD, ("b",))
    assert flows(reader) == ["a"]
    reader.close()


def test_a_database_in_another_encoding(postgresql: PostgresServer) -> None:
    postgresql.sql("CREATE DATABASE old_letters TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(MetadataError, match="LATIN1: make it with ENCODING 'UTF8'"):
            PostgreSQL(postgresql.url("old_letters"))
    finally:
        postgresql.sql("DROP DATABASE old_letters")


# --- runs ---

MANY = """
    import os, time
    from metaflow import FlowSpec, Parameter, step

    class ManyFlow(FlowSpec):
        count = Parameter("count", default=64)
        wait = Parameter("wait", default=0.0)

        @step
        def start(self):
            self.items = list(range(self.count))
            self.next(self.work, foreach="items")

        @step
        def work(self):
            time.sleep(self.wait)
            self.square = self.input ** 2
            self.next(self.join)

        @step
        def join(self, inputs):
            self.total = sum(one.square for one in inputs)
            self.next(self.end)

        @step
        def end(self):
            print("total", self.total)

    if __name__ == "__main__":
        ManyFlow()
"""


@pytest.mark.slow
def test_sixty_four_tasks_at_once(run_flow: Any, team_database: str) -> None:
    environment = {"METAFLOW_METADATA_URL": team_database}
    done = run_flow(MANY, "run", "--max-workers", "64", env=environment)
    assert f"total {sum(i * i for i in range(64))}" in done.stdout


@pytest.mark.slow
def test_a_server_with_fewer_connections_than_tasks(run_flow: Any) -> None:
    with new_server("-c max_connections=12") as server:
        environment = {"METAFLOW_METADATA_URL": server.url("postgres")}
        done = run_flow(MANY, "run", "--max-workers", "30", "--wait", "0.2", "--count", "30", env=environment)
        assert f"total {sum(i * i for i in range(30))}" in done.stdout


@pytest.mark.slow
def test_a_server_that_restarts_during_a_run(run_flow: Any, project: Path) -> None:
    with new_server() as server:
        url = server.url("postgres")
        (project / "flow.py").write_text(dedent(MANY))
        run = subprocess.Popen(
            [sys.executable, "flow.py", "run", "--max-workers", "4", "--wait", "0.3", "--count", "24"],
            env={**os.environ, "METAFLOW_METADATA_URL": url},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        db = PostgreSQL(url)
        for mode, finished in (("immediate", 3), ("fast", 10)):
            while run.poll() is None:
                try:
                    done = db.execute("SELECT COUNT(*) FROM tasks WHERE step = 'work' AND status = 'done'")[0][0]
                except MetadataError:
                    done = 0  # not migrated yet
                if done >= finished:
                    break
                time.sleep(0.05)
            server.stop(mode)
            time.sleep(1)
            server.start()
        output, _ = run.communicate(timeout=200)
        assert run.returncode == 0, output
        assert f"total {sum(i * i for i in range(24))}" in output
        assert db.execute("SELECT status, COUNT(*) FROM attempts GROUP BY status") == [("done", 28)]
        db.close()
