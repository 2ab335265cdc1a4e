"""Which databases refer to an artifact store.

What one database refers to, another one can't see. So a database that is not the one in the folder of its store leaves
its mark in the store, and garbage collection removes nothing from a store that bears the mark of another database.
"""

from __future__ import annotations

import os
from typing import IO

from metaflow_core.metadata.database import Database
from metaflow_core.store.interface import Storage

FOLDER = "databases"
BESIDE = "metaflow.db"
_SQLITE = "sqlite:///"


def register(db: Database, storage: Storage) -> None:
    """Leave the mark of the database in the store, unless it is the ``metaflow.db`` in the same folder."""
    if _is_beside(db, storage):
        return

    def write(file: IO[bytes]) -> None:
        file.write(_address(db).encode())

    storage.put(_mark(db), write)


def others(db: Database, storage: Storage) -> list[str]:
    """Other databases that use the store: where each is, and which object is its mark."""
    own = _mark(db)
    found = [
        f"{bytes(storage.read(key)).decode('utf-8', 'replace')} (mark: {key})"
        for key in storage.keys(FOLDER)
        if key != own
    ]
    if not _is_beside(db, storage) and storage.exists(BESIDE):
        found.append(f"{storage.url}/{BESIDE}")
    return found


def born(db: Database) -> int:
    """When the database was made, in microseconds since 1970: also what tells it from others."""
    return int(db.execute("SELECT MIN(applied_at) FROM schema_migrations")[0][0])


def _is_beside(db: Database, storage: Storage) -> bool:
    return db.url == f"{_SQLITE}{storage.url}/{BESIDE}"


def _mark(db: Database) -> str:
    return f"{FOLDER}/{born(db)}"


def _address(db: Database) -> str:
    """Where the database is, without a password."""
    if db.url.startswith(_SQLITE):
        return f"{os.uname().nodename}:{db.url.removeprefix(_SQLITE)}"
    scheme, _, rest = db.url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
