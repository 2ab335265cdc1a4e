"""Brings a database to the schema of this version."""

from __future__ import annotations

import re
import time

from metaflow_core.errors import MetadataError
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.schema import DIALECTS, MIGRATIONS


def version(db: Database) -> int:
    """The number of the last migration that the database has seen; 0 when it is new."""
    if db.dialect == "sqlite":
        exists = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'")
    else:  # in the schemas of the connection's search path
        exists = db.execute("SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL")
    if not exists:
        return 0
    return int(db.execute("SELECT COALESCE(MAX(version), 0) FROM schema_migrations")[0][0])


def statements(script: str, dialect: str) -> list[str]:
    """The statements of a migration as the dialect spells them."""
    if dialect == "postgresql":
        # Texts are in the order of their bytes, as in SQLite, whatever language the database is in.
        script = re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', script)
    return [one for one in script.format(**DIALECTS[dialect]).split(";\n") if one.strip()]


def migrate(db: Database) -> None:
    """Apply the migrations that are missing. ``MetadataError`` when the database is newer than this version."""
    current = version(db)
    if current < len(MIGRATIONS):
        with db.transaction():
            current = version(db)  # another process may have been quicker
            if current == 0:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS schema_migrations"
                    " (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)"
                )
            for number, script in enumerate(MIGRATIONS[current:], start=current + 1):
                for statement in statements(script, db.dialect):
                    db.execute(statement)
                db.execute("INSERT INTO schema_migrations VALUES (?, ?)", (number, time.time_ns() // 1000))
    if current > len(MIGRATIONS):
        raise MetadataError(
            f"The metadata database {db.url} was written by a newer version (schema {current}, this version knows "
            f"{len(MIGRATIONS)}). Upgrade: pip install --upgrade metaflow-tandem. Nothing was changed."
        )
