"""The metadata database and the artifact store that this process works with."""

from __future__ import annotations

import os

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.migrate import migrate
from metaflow_core.plugins import hook
from metaflow_core.store.interface import Storage

SQLITE = "sqlite:///"


class Backend:
    """A database and a store, opened when first used."""

    def __init__(self, metadata_url: str, storage_url: str) -> None:
        self.metadata_url = metadata_url
        self.storage_url = storage_url
        self._pid = os.getpid()
        self._db: Database | None = None
        self._storage: Storage | None = None

    @property
    def db(self) -> Database:
        """The database, at this version's schema. A forked process gets a connection of its own."""
        self._be_this_process()
        if self._db is None:
            db: Database | None = hook().open_database(url=self.metadata_url)
            if db is None:
                raise MetaflowException(
                    f"No installed plugin opens the metadata database {self.metadata_url!r}. "
                    f"Known to work: sqlite:///PATH. `metaflow doctor` lists the plugins."
                )
            migrate(db)
            self._db = db
        return self._db

    @property
    def storage(self) -> Storage:
        """The artifact store."""
        self._be_this_process()
        if self._storage is None:
            storage: Storage | None = hook().open_storage(url=self.storage_url)
            if storage is None:
                raise MetaflowException(
                    f"No installed plugin opens the artifact store {self.storage_url!r}. "
                    f"`metaflow doctor` lists the plugins."
                )
            self._storage = storage
        return self._storage

    def _be_this_process(self) -> None:
        if self._pid != os.getpid():
            self._pid, self._db, self._storage = os.getpid(), None, None

    def close(self) -> None:
        for part in (self._db, self._storage):
            if part is not None:
                part.close()
        self._db = self._storage = None


def open_backend(metadata_url: str | None = None, storage_url: str | None = None) -> Backend:
    """The back end at these URLs; by default what the settings say, else ``.metaflow`` of the project."""
    folder = os.path.join(settings.project_root(), ".metaflow")
    if metadata_url is None:
        metadata_url = settings.get("METADATA_URL") or SQLITE + os.path.join(folder, "metaflow.db")
    if storage_url is None:
        configured = settings.get("DEFAULT_DATASTORE")
        storage_url = folder if configured in (None, "local") else configured
    return Backend(_absolute(metadata_url), _absolute(storage_url))


def _absolute(url: str) -> str:
    """Paths hold from the directory where the program was started, also when it changes to another one."""
    prefix = SQLITE if url.startswith(SQLITE) else ""
    return url if "://" in url and not prefix else prefix + os.path.abspath(url.removeprefix(prefix))
