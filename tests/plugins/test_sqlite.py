"""SQLite keeps the contract of metadata databases, and says clearly what is wrong with its file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from metaflow_core.errors import MetadataError
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.migrate import migrate
from metaflow_core.testing.database import DatabaseContract
from metaflow_plugins.sqlite import SQLite, open_database


class TestSQLite(DatabaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ein Ordner/データ/metaflow.db"

    def open(self, url: str) -> Database:
        return SQLite(url)


def test_only_its_own_addresses_are_opened(tmp_path: Path) -> None:
    assert open_database(f"sqlite:///{tmp_path}/metaflow.db") is not None
    assert open_database("postgresql://somewhere/metaflow") is None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MetadataError, match="may write"):
        SQLite(f"sqlite:///{tmp_path}/metaflow.db")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MetadataError, match="can't be created"):
        SQLite(f"sqlite:///{tmp_path}/file/metaflow.db")


def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "metaflow.db"
    path.write_text("my notes, which are long enough to be taken for a database header " * 20)
    before = path.read_bytes()
    with pytest.raises(MetadataError, match="move it away"):
        migrate(SQLite(f"sqlite:///{path}"))
    assert path.read_bytes() == before


def test_a_killed_writer_leaves_the_state_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/metaflow.db"
    db = SQLite(url)
    migrate(db)
    program = f"""
        import os, signal
        from metaflow_plugins.sqlite import SQLite

        db = SQLite({url!r})
        with db.transaction():
            db.execute("INSERT INTO flows (name, created_at) VALUES ('half', 1)")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", dedent(program)], check=False)
    assert db.execute("SELECT name FROM flows") == []
    db.execute("INSERT INTO flows (name, created_at) VALUES ('next', 1)")
