"""What every metadata plugin must do, as tests to run against yours.

from metaflow_core.testing.database import DatabaseContract

class TestMyDatabase(DatabaseContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"mine://{tmp_path}"  # an empty database, a new one for each test

    def open(self, url):
        return MyDatabase(url)
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from metaflow_core.errors import MetadataError, MetaflowException
from metaflow_core.metadata import migrate
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.schema import DIALECTS, MIGRATIONS

THREADS = 4
TURNS = 25


class DatabaseContract:
    """Subclass it, name the class ``Test...``, and give :meth:`open` and the fixture ``url``."""

    def open(self, url: str) -> Database:
        """A new connection to the database at ``url``."""
        raise NotImplementedError

    @pytest.fixture
    def db(self, url: str) -> Iterator[Database]:
        db = self.open(url)
        migrate.migrate(db)
        yield db
        db.close()

    @pytest.fixture
    def other(self, db: Database, url: str) -> Iterator[Database]:
        """A second connection."""
        other = self.open(url)
        yield other
        other.close()

    # --- statements and values ---

    def test_it_says_where_it_is_and_what_it_speaks(self, db: Database, url: str) -> None:
        assert db.url == url
        assert db.dialect in DIALECTS

    def test_a_statement_without_rows_gives_none(self, db: Database) -> None:
        assert db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?)", ("F", 1)) == []
        assert db.execute("SELECT name FROM flows WHERE name = ?", ("other",)) == []

    @pytest.mark.parametrize(
        "text", ["", "Bäcker 猫 🚲", "'; DROP TABLE flows; --", "50% ? %s {x}", "a\nb\tc\\", "x" * 10**5]
    )
    def test_text_comes_back_as_it_was(self, db: Database, text: str) -> None:
        db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?)", (text, 1))
        assert db.execute("SELECT name FROM flows WHERE name = ?", (text,))[0][0] == text

    def test_half_a_character_is_no_text(self, db: Database) -> None:
        for half in ("\udcff", "a\ud83d"):
            with pytest.raises(MetaflowException, match="is no text that UTF-8 can write"):
                db.execute("SELECT pk FROM flows WHERE name = ?", (half,))
            with pytest.raises(MetaflowException, match="is no text that UTF-8 can write"):
                db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?)", (half, 1))
        assert _flows(db) == []

    @pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
    def test_integers_of_64_bits(self, db: Database, number: int) -> None:
        _save_content(db, int_value=number)
        assert db.execute("SELECT int_value FROM contents") == [(number,)]

    @pytest.mark.parametrize("number", [0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf")])
    def test_floats_bit_by_bit(self, db: Database, number: float) -> None:
        _save_content(db, real_value=number)
        [(found,)] = db.execute("SELECT real_value FROM contents")
        assert struct.pack("d", found) == struct.pack("d", number)

    @pytest.mark.parametrize("blob", [b"", b"\x00\xff'?%", bytes(range(256)) * 300])
    def test_bytes(self, db: Database, blob: bytes) -> None:
        _save_content(db, payload=blob)
        [(found,)] = db.execute("SELECT payload FROM contents")
        assert bytes(found) == blob

    def test_null(self, db: Database) -> None:
        _save_content(db)
        assert tuple(db.execute("SELECT int_value, text_value, payload FROM contents")[0]) == (None, None, None)

    def test_the_sql_that_the_core_speaks(self, db: Database) -> None:
        [(first,)] = db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?) RETURNING pk", ("a", 1))
        [(second,)] = db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?) RETURNING pk", ("b", 2))
        assert second > first
        db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", ("a", 9))
        db.execute(
            "INSERT INTO flows (name, created_at) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at",
            ("b", 7),
        )
        assert [tuple(row) for row in db.execute("SELECT name, created_at FROM flows ORDER BY name")] == [
            ("a", 1),
            ("b", 7),
        ]
        found = db.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM flows f CROSS JOIN flows g WHERE f.pk < ? LIMIT 3) s", (2**62,)
        )
        assert found[0][0] == 3
        assert db.execute("SELECT COALESCE(MAX(pk), 0) FROM flows WHERE name LIKE 'zz%'")[0][0] == 0

    def test_many_rows_at_once(self, db: Database) -> None:
        db.executemany("INSERT INTO flows (name, created_at) VALUES (?, ?)", ((f"F{i}", i) for i in range(1000)))
        db.executemany("INSERT INTO flows (name, created_at) VALUES (?, ?)", [])
        names = [f"F{i}" for i in range(500)]
        marks = ", ".join("?" * len(names))
        assert len(db.execute(f"SELECT pk FROM flows WHERE name IN ({marks})", names)) == 500

    # --- transactions ---

    def test_a_transaction_is_seen_as_a_whole(self, db: Database, other: Database) -> None:
        with db.transaction():
            _add_flow(db, "a")
            assert _flows(other) == []
            _add_flow(db, "b")
            assert _flows(db) == ["a", "b"]
        assert _flows(other) == ["a", "b"]

    def test_an_exception_undoes_a_transaction(self, db: Database, other: Database) -> None:
        _add_flow(db, "before")
        with pytest.raises(KeyboardInterrupt), db.transaction():
            _add_flow(db, "a")
            raise KeyboardInterrupt
        assert _flows(db) == _flows(other) == ["before"]
        _add_flow(db, "after")
        assert _flows(other) == ["after", "before"]

    def test_a_transaction_in_a_transaction_belongs_to_the_outer_one(self, db: Database, other: Database) -> None:
        with pytest.raises(ZeroDivisionError), db.transaction():
            with db.transaction():
                _add_flow(db, "inner")
            assert _flows(other) == []
            _add_flow(db, "outer")
            raise ZeroDivisionError
        assert _flows(db) == _flows(other) == []
        with db.transaction():
            _add_flow(db, "again")
        assert _flows(other) == ["again"]

    def test_a_shared_transaction_is_one_too(self, db: Database, other: Database) -> None:
        with db.transaction(shared=True):
            _add_flow(db, "a")
            assert _flows(other) == []
        with pytest.raises(ZeroDivisionError), db.transaction(shared=True):
            _add_flow(db, "b")
            raise ZeroDivisionError
        assert _flows(db) == _flows(other) == ["a"]

    def test_no_other_transaction_begins_during_one_that_is_not_shared(self, db: Database, other: Database) -> None:
        entered = threading.Event()

        def enter() -> None:
            with other.transaction(shared=True):
                entered.set()

        with db.transaction():
            thread = threading.Thread(target=enter)
            thread.start()
            assert not entered.wait(0.2)
        thread.join()
        assert entered.is_set()

    def test_after_a_rest_it_goes_on(self, db: Database) -> None:
        _add_flow(db, "a")
        db.rest()
        assert _flows(db) == ["a"]
        with db.transaction():
            db.rest()
            _add_flow(db, "b")
        assert _flows(db) == ["a", "b"]

    def test_without_a_transaction_each_statement_counts_at_once(self, db: Database, other: Database) -> None:
        _add_flow(db, "a")
        assert _flows(other) == ["a"]

    def test_what_was_stored_outlives_the_connection(self, db: Database, url: str) -> None:
        with db.transaction():
            _add_flow(db, "a")
        db.close()
        later = self.open(url)
        assert _flows(later) == ["a"]
        later.close()

    # --- several at a time ---

    def test_no_change_is_lost_when_many_read_and_then_write(self, db: Database, url: str) -> None:
        _add_flow(db, "F")

        def count() -> None:
            own = self.open(url)
            for _ in range(TURNS):
                with own.transaction():
                    last = own.execute("SELECT last_run FROM flows WHERE name = ?", ("F",))[0][0]
                    own.execute("UPDATE flows SET last_run = ? WHERE name = ?", (last + 1, "F"))
            own.close()

        _at_once(count)
        assert db.execute("SELECT last_run FROM flows")[0][0] == THREADS * TURNS

    def test_a_reader_does_not_wait_for_a_writer(self, db: Database, other: Database) -> None:
        _add_flow(db, "a")
        with db.transaction():
            db.execute("UPDATE flows SET last_run = 5")
            assert other.execute("SELECT last_run FROM flows") == [(0,)]
        assert other.execute("SELECT last_run FROM flows") == [(5,)]

    # --- errors ---

    def test_errors_are_of_one_class_and_leave_the_connection_usable(self, db: Database) -> None:
        _add_flow(db, "a")
        with pytest.raises(MetadataError):
            _add_flow(db, "a")
        with pytest.raises(MetadataError):
            db.execute("SELECT nonsense FROM nowhere")
        with pytest.raises(MetadataError):
            db.executemany("INSERT INTO flows (name, created_at) VALUES (?, ?)", [("b", 1), ("a", 2)])
        with pytest.raises(MetadataError):
            db.execute("INSERT INTO flows (name) VALUES (?)", ("no time",))
        assert "a" in _flows(db)

    def test_an_error_in_a_transaction_undoes_it(self, db: Database) -> None:
        _add_flow(db, "a")
        with pytest.raises(MetadataError), db.transaction():
            _add_flow(db, "b")
            _add_flow(db, "a")
        assert _flows(db) == ["a"]
        _add_flow(db, "c")
        assert _flows(db) == ["a", "c"]

    # --- migrations ---

    def test_a_new_database_gets_every_migration_once(self, url: str) -> None:
        db = self.open(url)
        assert migrate.version(db) == 0
        for _ in range(2):
            migrate.migrate(db)
            assert migrate.version(db) == len(MIGRATIONS)
        numbers = db.execute("SELECT version FROM schema_migrations ORDER BY version")
        assert [row[0] for row in numbers] == list(range(1, len(MIGRATIONS) + 1))
        db.close()

    def test_many_who_meet_a_new_database_at_once(self, url: str) -> None:
        def begin() -> None:
            own = self.open(url)
            migrate.migrate(own)
            own.close()

        _at_once(begin)
        db = self.open(url)
        assert migrate.version(db) == len(MIGRATIONS)
        db.close()

    def test_a_failed_migration_leaves_what_was_there(
        self, db: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _add_flow(db, "a")
        script = "CREATE TABLE half (pk {pk});\nCREATE TABLE half (pk {pk});\n"
        monkeypatch.setattr(migrate, "MIGRATIONS", [*MIGRATIONS, script])
        with pytest.raises(MetadataError):
            migrate.migrate(db)
        assert migrate.version(db) == len(MIGRATIONS)
        with pytest.raises(MetadataError):
            db.execute("SELECT pk FROM half")
        assert _flows(db) == ["a"]

    def test_a_newer_database_is_refused_untouched(self, db: Database) -> None:
        newer = len(MIGRATIONS) + 1
        db.execute("INSERT INTO schema_migrations VALUES (?, ?)", (newer, 1))
        with pytest.raises(MetadataError, match=r"[Uu]pgrade"):
            migrate.migrate(db)
        assert migrate.version(db) == newer


def _add_flow(db: Database, name: str) -> None:
    db.execute("INSERT INTO flows (name, created_at) VALUES (?, ?)", (name, 1))


def _flows(db: Database) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM flows ORDER BY name")]


def _save_content(
    db: Database, int_value: int | None = None, real_value: float | None = None, payload: bytes | None = None
) -> None:
    db.execute(
        "INSERT INTO contents (key, fingerprint, type, language, encoding, size, int_value, real_value, payload)"
        " VALUES ('k', 'f', 't', 'python', 'e', 0, ?, ?, ?)",
        (int_value, real_value, payload),
    )


def _at_once(work: Callable[[], None]) -> None:
    """Run ``work`` in several threads that begin together, and raise what any of them raised."""
    barrier = threading.Barrier(THREADS)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            barrier.wait()
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
